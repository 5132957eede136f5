//! The one write: a page, all or nothing.

mod inserts;
mod script;
mod watched;

use std::sync::Arc;

use sync_core::{Page, Result};
use sync_kit::{Written, digests};

use crate::space::Space;

/// Operations and bytes of payloads from which a page is packed beside the driver's thread.
const LARGE: usize = 1 << 20;

/// Applies a page, in one of two ways.
///
/// Any page can be [one script](script), which looks everything up and decides. A page that is expected
/// to bring new operations only is first tried [under `WATCH`](watched), which costs the server about
/// half as much; where anything is not as expected, nothing was written, and the script takes over.
pub(crate) async fn apply(space: Space, page: Page) -> Result<Written> {
    let page = Arc::new(page);
    if is_expected_new(&space, &page) {
        let digests = digests::begin(&page, space.engine.driver.handle());
        let watched_or_script = async move |space: Space| {
            if let Some(written) = watched::apply(&space, &page, &digests).await? {
                return Ok(written);
            }
            let digests = Some(digests.await);
            let (digests, command) = script::prepare(&space, &page, digests).await?;
            script::apply(&space, &page, &digests, command).await
        };
        space.in_turn(watched_or_script).await
    } else {
        // The command is put together before the page has its turn.
        let (digests, command) = script::prepare(&space, &page, None).await?;
        let script =
            async move |space: Space| script::apply(&space, &page, &digests, command).await;
        space.in_turn(script).await
    }
}

/// Whether the page may be one of new operations only, and the ones before it were.
fn is_expected_new(space: &Space, page: &Page) -> bool {
    let due = space.local().streak.is_due(1) || space.engine.faults().expects_new();
    due && watched::is_possible(page)
}

/// Operations and bytes of payloads.
fn weight(page: &Page) -> usize {
    let bytes: usize = page.upserts.iter().map(|upsert| upsert.payload.len()).sum();
    bytes + page.operations()
}
