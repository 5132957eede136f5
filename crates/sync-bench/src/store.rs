use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{FeedCursor, Limit, Operation, Page, Payloads, Seq, SyncStore, TimeRange};

use crate::Input;

/// A read, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// What was read.
    pub name: &'static str,
    /// Milliseconds.
    pub millis: f64,
}

/// Applies one page and says how long it took.
pub fn apply(store: &impl SyncStore, page: Page) -> Duration {
    let began = Instant::now();
    let _ = block_on(store.apply(page)).unwrap();
    began.elapsed()
}

/// The whole log once more.
pub fn replay(store: &impl SyncStore, input: &Input, page: usize) -> Duration {
    let pages = input.pages(page);
    pages
        .map(|(operations, _)| apply(store, upserts(operations, true)))
        .sum()
}

/// The orders of a log that is first stored in this space, which is empty, without them.
pub fn backfill(store: &impl SyncStore, input: &Input, page: usize) -> Duration {
    for (operations, _) in input.pages(page) {
        apply(store, upserts(operations, false));
    }
    let backfills = input.pages(page).map(|(operations, _)| {
        operations.iter().fold(Page::new(), |page, operation| {
            page.backfill(operation.id, operation.sync_order.unwrap())
        })
    });
    backfills.map(|page| apply(store, page)).sum()
}

/// Three reads of 500 rows, each through a handle that `open` answers.
pub fn reads<S: SyncStore>(mut open: impl FnMut() -> S, input: &Input) -> [Read; 3] {
    let ids = input.some_ids();
    let range = TimeRange {
        from: input.middle_ts(),
        ..TimeRange::ALL
    };
    let get = millis(|| {
        let part = block_on(open().get(&ids, Limit::rows(ids.len()))).unwrap();
        assert_eq!(part.rows.iter().flatten().count(), 500);
    });
    let time = millis(|| {
        let batch = block_on(open().scan_time(range, None, Limit::rows(500))).unwrap();
        assert_eq!(batch.items.len(), 500);
    });
    let cursor = FeedCursor::After {
        epoch: block_on(open().stats()).unwrap().epoch.unwrap(),
        floor: Seq::ZERO,
        seq: Seq::new(input.middle() as u64).unwrap(),
    };
    let feed = millis(|| {
        let page = block_on(open().feed(cursor, Limit::rows(500), Payloads::Include)).unwrap();
        assert_eq!(page.entries.len(), 500);
    });
    [
        ("get 500", get),
        ("scan_time 500", time),
        ("feed 500", feed),
    ]
    .map(|(name, millis)| Read { name, millis })
}

/// How long something takes.
pub fn millis(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e3
}

fn upserts(operations: &[Operation], ordered: bool) -> Page {
    Page::new().upserts(operations.iter().map(|operation| Operation {
        sync_order: operation.sync_order.filter(|_| ordered),
        ..operation.clone()
    }))
}
