//! What a harness and a backend declare is true.

use std::collections::BTreeSet;

use sync_core::Backend;

use crate::data::page_of;
use crate::failure::{Verdict, ensure, ensure_eq};
use crate::harness::{Harness, Power, offers};
use crate::rig::Rig;

pub(crate) fn declared_powers_are_offered_and_no_others<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let declared = rig.run.harness.powers();
    let distinct: BTreeSet<Power> = declared.iter().copied().collect();
    ensure_eq!(
        distinct.len(),
        declared.len(),
        "distinct powers among the declared {declared:?}"
    );
    for power in Power::ALL {
        let offered = offers(rig.run.harness, power)?;
        ensure_eq!(
            offered,
            declared.contains(&power),
            "whether {power} is offered, as declared"
        );
    }
    Ok(())
}

pub(crate) fn declared_capabilities_fit_the_harness<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let capabilities = connection.capabilities();
    let processes = rig.run.harness.powers().contains(&Power::Processes);
    ensure_eq!(
        processes,
        capabilities.multi_process,
        "whether processes can be tried, which the capability multi_process states"
    );
    ensure!(!H::Backend::NAME.is_empty(), "a backend without a name");
    ensure!(
        !connection.describe()?.server.is_empty(),
        "a description that names no database"
    );
    ensure_eq!(
        db.connect()?.capabilities(),
        capabilities,
        "capabilities of a second handle"
    );
    // Capabilities promise nothing about an empty database only.
    let _ = connection.open("space")?.apply(page_of(0..1))?;
    ensure_eq!(
        connection.capabilities(),
        capabilities,
        "capabilities after a page"
    );
    Ok(())
}

/// Errors name where they came from; what a person reads begins with it.
pub(crate) fn errors_name_the_backend_and_the_operation<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let refused = page_of(0..1).expect(crate::data::key("k"), Some("never"));
    let Err(error) = space.apply(refused) else {
        crate::failure::fail!("a page whose precondition does not hold was applied");
    };
    ensure_eq!(
        error.backend(),
        Some(H::Backend::NAME),
        "the backend an error names"
    );
    ensure_eq!(
        error.operation(),
        Some("apply"),
        "the operation an error names"
    );
    Ok(())
}
