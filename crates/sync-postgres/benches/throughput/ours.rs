//! Our store.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, Limit, Operation, Page, Payloads, Seq, SpaceName, SyncStore, TimeRange,
    limits,
};
use sync_postgres::{PostgresBackend, PostgresStore};

use crate::input::Input;
use crate::raw::{Admin, config};

pub(crate) struct Ours {
    pub(crate) store: PostgresStore,
}

impl Ours {
    pub(crate) fn create(admin: &Admin, schema: &str) -> Self {
        admin.drop_schema(schema);
        let config = config(schema);
        let _ = block_on(PostgresBackend::migrate(&config)).unwrap();
        let backend = block_on(PostgresBackend::connect(config)).unwrap();
        let store = block_on(backend.open(&SpaceName::new("bench").unwrap())).unwrap();
        Self { store }
    }

    /// Applies one page and says how long it took.
    pub(crate) fn apply(&self, page: Page) -> Duration {
        let began = Instant::now();
        let _ = block_on(self.store.apply(page)).unwrap();
        began.elapsed()
    }

    /// The whole log once more.
    pub(crate) fn replay(&self, input: &Input, page: usize) -> Duration {
        input
            .pages(page)
            .map(|(operations, _)| self.apply(upserts(operations, true)))
            .sum()
    }

    /// The orders of a log that is stored without them.
    pub(crate) fn backfill(&self, input: &Input, page: usize) -> Duration {
        for (operations, _) in input.pages(page) {
            self.apply(upserts(operations, false));
        }
        let backfills = input.pages(page).map(|(operations, _)| {
            operations.iter().fold(Page::new(), |page, operation| {
                page.backfill(operation.id, operation.sync_order.unwrap())
            })
        });
        backfills.map(|page| self.apply(page)).sum()
    }

    /// Milliseconds for 25,000 keys.
    pub(crate) fn scan_keys(&self) -> f64 {
        millis(|| {
            let batch = block_on(
                self.store
                    .scan_keys(TimeRange::ALL, None, Limit::rows(25_000)),
            );
            assert_eq!(batch.unwrap().items.len(), 25_000);
        })
    }

    /// Milliseconds of reads of 500 rows.
    pub(crate) fn reads(&self, input: &Input) -> [(&'static str, f64); 3] {
        let store = &self.store;
        let epoch = block_on(store.stats()).unwrap().epoch.unwrap();
        let ids = input.some_ids();
        let get = millis(|| {
            let part = block_on(store.get(&ids, limits::READ_BYTES)).unwrap();
            assert_eq!(part.rows.iter().flatten().count(), 500);
        });
        let range = TimeRange {
            from: input.operations[input.middle()].ts,
            ..TimeRange::ALL
        };
        let time = millis(|| {
            let batch = block_on(store.scan_time(range, None, Limit::rows(500))).unwrap();
            assert_eq!(batch.items.len(), 500);
        });
        let cursor = FeedCursor::After {
            epoch,
            floor: Seq::ZERO,
            seq: Seq::new(input.middle() as u64).unwrap(),
        };
        let feed = millis(|| {
            let page = block_on(store.feed(cursor, Limit::rows(500), Payloads::Include)).unwrap();
            assert_eq!(page.entries.len(), 500);
        });
        [
            ("get 500", get),
            ("scan_time 500", time),
            ("feed 500", feed),
        ]
    }
}

fn upserts(operations: &[Operation], ordered: bool) -> Page {
    Page::new().upserts(operations.iter().map(|operation| Operation {
        sync_order: operation.sync_order.filter(|_| ordered),
        ..operation.clone()
    }))
}

/// Milliseconds of the second of two runs: the first one prepares statements.
pub(crate) fn millis(work: impl Fn()) -> f64 {
    work();
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e3
}
