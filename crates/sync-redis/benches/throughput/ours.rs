//! Our store.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, Limit, OpId, Operation, Page, Payloads, Seq, SpaceName, SyncStore,
    TimeRange, Ts, limits,
};
use sync_redis::redis::Client;
use sync_redis::{RedisBackend, RedisConfig, RedisStore};

use crate::input::Input;
use crate::raw::memory;
use crate::table::Read;

pub(crate) struct Ours {
    url: String,
    prefix: String,
    backend: RedisBackend,
    store: RedisStore,
}

impl Ours {
    pub(crate) fn create(url: &str) -> Self {
        let prefix = format!("ours{:016x}", fastrand::u64(..));
        let config = RedisConfig::from_url(url).unwrap().prefix(&prefix).unwrap();
        let (backend, store) = block_on(async {
            RedisBackend::migrate(&config).await.unwrap();
            let backend = RedisBackend::connect(config).await.unwrap();
            let store = backend.open(&space()).await.unwrap();
            (backend, store)
        });
        Self {
            url: url.to_owned(),
            prefix,
            backend,
            store,
        }
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

    /// The orders of a log that is stored in this space without them.
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

    /// What the space takes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let mut connection = Client::open(&*self.url).unwrap().get_connection().unwrap();
        ["meta", "rows", "time", "seq", "order"]
            .map(|key| memory(&mut connection, &format!("{}:{{bench}}:{key}", self.prefix)))
            .iter()
            .sum()
    }

    /// Reads through a handle that has read before.
    pub(crate) fn reads(&self, input: &Input) -> Vec<Read> {
        let store = &self.store;
        let epoch = block_on(store.stats()).unwrap().epoch.unwrap();
        let ids = input.some_ids();
        let get = millis(|| {
            let part = block_on(store.get(&ids, limits::READ_BYTES)).unwrap();
            assert_eq!(part.rows.iter().flatten().count(), 500);
        });
        let middle = input.middle() as u64;
        let range = TimeRange {
            from: Ts::new(input.operations.first().unwrap().ts.value() + middle).unwrap(),
            ..TimeRange::ALL
        };
        let time = millis(|| {
            let batch = block_on(store.scan_time(range, None, Limit::rows(500))).unwrap();
            assert_eq!(batch.items.len(), 500);
        });
        let cursor = FeedCursor::After {
            epoch,
            floor: Seq::ZERO,
            seq: Seq::new(middle).unwrap(),
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
        .map(|(name, millis)| Read { name, millis })
        .into()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        assert!(block_on(self.backend.drop_space(&space())).unwrap());
        let mut connection = Client::open(&*self.url).unwrap().get_connection().unwrap();
        let mut unlink = sync_redis::redis::cmd("UNLINK");
        for key in ["schema", "spaces"] {
            unlink.arg(format!("{}:{key}", self.prefix));
        }
        unlink.exec(&mut connection).unwrap();
    }
}

/// Milliseconds for the keys of a space with so many rows, in pages of 10,000.
pub(crate) fn scan_keys(url: &str, rows: usize) -> f64 {
    let ours = Ours::create(url);
    let mut random = fastrand::Rng::with_seed(7);
    for from in (0..rows as u64).step_by(5_000) {
        let operations = (from..(from + 5_000).min(rows as u64)).map(|n| {
            let mut id = [0; 32];
            random.fill(&mut id);
            Operation::new(OpId::new(id), Ts::new(n).unwrap(), "")
        });
        ours.apply(Page::new().upserts(operations));
    }
    millis(|| {
        let (mut after, mut found) = (None, 0);
        loop {
            let keys = ours
                .store
                .scan_keys(TimeRange::ALL, after, Limit::rows(10_000));
            let batch = block_on(keys).unwrap();
            found += batch.items.len();
            after = batch.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, rows);
    })
}

fn space() -> SpaceName {
    SpaceName::new("bench").unwrap()
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
