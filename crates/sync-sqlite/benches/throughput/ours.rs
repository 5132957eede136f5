//! Our store.

use std::path::Path;
use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{
    Backend, Durability, FeedCursor, Limit, Operation, Page, Payloads, Seq, SpaceName, SyncStore,
    TimeRange, limits,
};
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

use crate::input::Input;
use crate::table::ColdRead;

pub(crate) struct Ours {
    config: SqliteConfig,
    store: SqliteStore,
}

impl Ours {
    pub(crate) fn create(path: &Path, durability: Durability) -> Self {
        let config = SqliteConfig::new(path).durability(durability);
        block_on(SqliteBackend::migrate(&config)).unwrap();
        let store = open(&config, "bench");
        Self { config, store }
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

    /// The orders of a log that is stored in this file without them.
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

    /// Reads through handles that were opened for them, opening included, closing not.
    pub(crate) fn cold_reads(self, input: &Input) -> Vec<ColdRead> {
        let Self { config, store } = self;
        let epoch = block_on(store.stats()).unwrap().epoch.unwrap();
        drop(store);
        let open = || open(&config, "bench");
        let ids = input.some_ids();
        let mut opened = Vec::new();
        let mut open = || {
            opened.push(open());
            opened[opened.len() - 1].clone()
        };
        let get = millis(|| {
            let part = block_on(open().get(&ids, limits::READ_BYTES)).unwrap();
            assert_eq!(part.rows.iter().flatten().count(), 500);
        });
        let range = TimeRange {
            from: input.operations[input.middle()].ts,
            ..TimeRange::ALL
        };
        let time = millis(|| {
            let batch = block_on(open().scan_time(range, None, Limit::rows(500))).unwrap();
            assert_eq!(batch.items.len(), 500);
        });
        let seq = Seq::new(input.middle() as u64).unwrap();
        let cursor = FeedCursor::After {
            epoch,
            floor: Seq::ZERO,
            seq,
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
        .map(|(name, millis)| ColdRead { name, millis })
        .into()
    }
}

fn open(config: &SqliteConfig, space: &str) -> SqliteStore {
    block_on(async {
        let backend = SqliteBackend::connect(config.clone()).await.unwrap();
        backend.open(&SpaceName::new(space).unwrap()).await.unwrap()
    })
}

fn upserts(operations: &[Operation], ordered: bool) -> Page {
    Page::new().upserts(operations.iter().map(|operation| Operation {
        sync_order: operation.sync_order.filter(|_| ordered),
        ..operation.clone()
    }))
}

fn millis(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64() * 1e3
}
