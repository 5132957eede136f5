//! Our store.

use std::path::Path;

use pollster::block_on;
use sync_bench::{Input, Read, millis, reads};
use sync_core::{Backend, Durability, Limit, SpaceName, SyncStore, TimeRange};
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

pub(crate) struct Ours {
    config: SqliteConfig,
    pub(crate) store: SqliteStore,
}

impl Ours {
    pub(crate) fn create(path: &Path, durability: Durability) -> Self {
        let config = SqliteConfig::new(path).durability(durability);
        block_on(SqliteBackend::migrate(&config)).unwrap();
        let store = open(&config);
        Self { config, store }
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
    pub(crate) fn cold_reads(self, input: &Input) -> [Read; 3] {
        let Self { config, store } = self;
        drop(store);
        let mut opened = Vec::new();
        let open = || {
            let store = open(&config);
            opened.push(store.clone());
            store
        };
        reads(open, input)
    }
}

fn open(config: &SqliteConfig) -> SqliteStore {
    block_on(async {
        let backend = SqliteBackend::connect(config.clone()).await.unwrap();
        let space = SpaceName::new("bench").unwrap();
        backend.open(&space).await.unwrap()
    })
}
