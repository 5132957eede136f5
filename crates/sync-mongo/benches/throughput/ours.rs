//! Our store.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_bench::apply;
use sync_core::{
    Backend, Limit, OpId, Operation, Page, SpaceName, SyncOrder, SyncStore, TimeRange, Ts,
};
use sync_mongo::{MongoBackend, MongoStore};

use crate::server::TestDatabase;

pub(crate) struct Ours {
    backend: MongoBackend,
    pub(crate) store: MongoStore,
    /// Dropped after the store.
    _database: TestDatabase,
}

impl Ours {
    pub(crate) fn create(database: TestDatabase) -> Self {
        let config = database.config();
        let space = SpaceName::new("bench").unwrap();
        let (backend, store) = block_on(async {
            let _ = MongoBackend::migrate(&config).await.unwrap();
            let backend = MongoBackend::connect(config).await.unwrap();
            let store = backend.open(&space).await.unwrap();
            // The first page creates the space, which no later one does.
            let _ = store.apply(Page::new().reset()).await.unwrap();
            (backend, store)
        });
        Self {
            backend,
            store,
            _database: database,
        }
    }

    /// Small operations with random ids.
    pub(crate) fn fill(&self, rows: usize) {
        let mut random = fastrand::Rng::with_seed(11);
        let all: Vec<u64> = (0..rows as u64).collect();
        for numbers in all.chunks(10_000) {
            let operations = numbers.iter().map(|&n| {
                let mut id = [0; 32];
                random.fill(&mut id);
                let ts = Ts::new(1_700_000_000 + n).unwrap();
                let operation = Operation::new(OpId::new(id), ts, "payload");
                operation.at(SyncOrder::new(n + 1).unwrap())
            });
            apply(&self.store, Page::new().upserts(operations));
        }
    }

    /// How long all keys take in one call.
    pub(crate) fn scan_keys(&self, rows: usize) -> Duration {
        let began = Instant::now();
        let limit = Limit::rows(rows + 1);
        let batch = block_on(self.store.scan_keys(TimeRange::ALL, None, limit)).unwrap();
        assert_eq!(batch.items.len(), rows);
        began.elapsed()
    }

    /// What the database takes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        let description = block_on(self.backend.describe()).unwrap();
        description.bytes.unwrap_or_default()
    }
}
