//! Our store.

use pollster::block_on;
use sync_bench::{Input, Read, reads};
use sync_core::{Backend, Limit, SpaceName, SyncStore, TimeRange};
use sync_postgres::{PostgresBackend, PostgresStore};

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

    /// Reads through a handle that has read the same before: the first time prepares statements.
    pub(crate) fn reads(&self, input: &Input) -> [Read; 3] {
        let open = || self.store.clone();
        reads(open, input);
        reads(open, input)
    }
}

/// Milliseconds of the second of two runs: the first one prepares statements.
pub(crate) fn millis(work: impl Fn()) -> f64 {
    work();
    sync_bench::millis(work)
}
