//! What is counted.

use sync_core::{Limit, Page, SyncStoreExt, TimeRange};

use crate::data::{id, object, op, order, page_of, removed, seq};
use crate::failure::{Verdict, ensure, ensure_eq};
use crate::harness::Harness;
use crate::rig::Rig;

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn a_deleted_id_is_gone_everywhere_at_once<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let _ =
        space.apply(Page::new().upserts((0..30).map(|n| op(n).at(order(n)).about(object("a")))))?;
    for n in 0..30 {
        let _ = space.apply(Page::new().delete(removed(id(n))))?;
        let left = 29 - n as usize;
        for space in [&space, &other] {
            ensure!(
                space.get_one(id(n))?.is_none(),
                "get finds what was deleted"
            );
            let rows = space.rows_by_time(TimeRange::ALL, MANY)?;
            ensure_eq!(rows.len(), left, "rows by time");
            ensure_eq!(
                space.keys_by_time(TimeRange::ALL, MANY)?.len(),
                left,
                "keys"
            );
            ensure_eq!(space.rows_by_order(MANY)?.len(), left, "rows by order");
            ensure_eq!(
                space.rows_of_object(&object("a"), MANY)?.len(),
                left,
                "rows by object"
            );
            let stats = space.stats()?;
            ensure_eq!(
                (stats.total, stats.ordered, stats.tombstones),
                (left as u64, left as u64, n + 1),
                "counters"
            );
        }
    }
    Ok(())
}

/// Counters are kept, not counted; after anything at all they are what a count would say.
pub(crate) fn counters_equal_a_recount<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, mut space) = rig.space()?;
    let mut random = fastrand::Rng::with_seed(0x0c39);
    for round in 0..60 {
        let mut page = Page::new();
        page.replace = random.bool();
        page.revive = random.bool();
        page.reset = round % 25 == 24;
        for _ in 0..random.u8(1..12) {
            let id = id(random.u64(0..30));
            match random.u8(0..8) {
                0 | 1 => page.deletes.push(removed(id)),
                2 => page
                    .deletes
                    .push(removed(id).reject().at(order(random.u64(0..9)))),
                3 => page.lifts.push(id),
                4 => page = page.backfill(id, order(random.u64(0..9))),
                _ => {
                    let mut operation = op(random.u64(0..3));
                    operation.id = id;
                    operation.sync_order = random.bool().then(|| order(random.u64(0..9)));
                    page.upserts.push(operation);
                }
            }
        }
        let _ = space.apply(page)?;
        if random.u8(0..6) == 0 {
            let head = space.stats()?.head.value();
            let _ = space.prune(crate::data::seq(random.u64(0..=head)))?;
        }
        if random.u8(0..10) == 0 {
            drop(space);
            space = db.space()?;
        }
        space.audit()?;
    }
    Ok(())
}

/// What a person runs after an incident must not cry wolf.
pub(crate) fn verify_finds_nothing_in_a_sound_space<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    for n in 0..3 {
        let report = rig.run.call("verify", space.store.verify())?;
        ensure!(
            report.is_clean(),
            "findings in a sound space: {:?}",
            report.findings
        );
        let rows = 20 * n;
        ensure_eq!(report.rows, rows, "rows that verify counted");
        let page = page_of(1_000 * n..1_000 * n + 30).backfill(id(1_000 * n), order(n));
        let page = page.upsert(op(1_000 * n + 40).at(order(3)).about(object("a")));
        let _ = space.apply(page)?;
        let gone = (0..11).fold(Page::new(), |page, row| {
            page.delete(removed(id(1_000 * n + row)))
        });
        let _ = space.apply(gone)?;
        let _ = space.prune(seq(20 * n))?;
    }
    Ok(())
}
