use std::time::Duration;

use sync_core::{Digest, Operation, Page};

use crate::Input;

/// Writes the log page by page through the bare driver and through the store, in turns: what each took,
/// the driver first. Who begins alternates with the page and with the number of the `pair`, so that a
/// drift of the machine favours neither.
pub fn interleave<'i>(
    input: &'i Input,
    page: usize,
    pair: usize,
    mut raw: impl FnMut(&'i [Operation], &'i [Digest]) -> Duration,
    mut ours: impl FnMut(Page) -> Duration,
) -> (Duration, Duration) {
    let (mut raw_time, mut ours_time) = (Duration::ZERO, Duration::ZERO);
    for (n, (operations, digests)) in input.pages(page).enumerate() {
        let prepared = Page::new().upserts(operations.iter().cloned());
        if (n + pair).is_multiple_of(2) {
            raw_time += raw(operations, digests);
            ours_time += ours(prepared);
        } else {
            ours_time += ours(prepared);
            raw_time += raw(operations, digests);
        }
    }
    (raw_time, ours_time)
}
