//! Our store.

use pollster::block_on;
use sync_bench::{Input, Read, apply, millis, reads};
use sync_core::{Backend, Limit, OpId, Operation, Page, SpaceName, SyncStore, TimeRange, Ts};
use sync_redis::redis::Client;
use sync_redis::{RedisBackend, RedisConfig, RedisStore};

use crate::raw::memory;

pub(crate) struct Ours {
    url: String,
    prefix: String,
    backend: RedisBackend,
    pub(crate) store: RedisStore,
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

    /// What the space takes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let mut connection = Client::open(&*self.url).unwrap().get_connection().unwrap();
        ["meta", "rows", "time", "seq", "order"]
            .map(|key| memory(&mut connection, &format!("{}:{{bench}}:{key}", self.prefix)))
            .iter()
            .sum()
    }

    /// Reads through a handle that has written.
    pub(crate) fn reads(&self, input: &Input) -> [Read; 3] {
        reads(|| self.store.clone(), input)
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
        apply(&ours.store, Page::new().upserts(operations));
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
