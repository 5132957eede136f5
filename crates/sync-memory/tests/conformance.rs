//! The suite on `sync-memory`.

use std::sync::{Arc, Mutex, PoisonError};

use sync_conformance::{BoundaryHook, Database, Harness, Power};
use sync_core::{Backend, Migrated, Result, Seq, SpaceName};
use sync_memory::{MemoryBackend, MemoryConfig};

#[derive(Default)]
struct MemoryHarness;

/// A database and the hook that its pages meet, where a case has set one.
struct MemoryDatabase {
    backend: MemoryBackend,
    hook: Arc<Mutex<Option<BoundaryHook>>>,
}

impl Harness for MemoryHarness {
    type Backend = MemoryBackend;
    type Database = MemoryDatabase;

    fn powers(&self) -> &[Power] {
        &[Power::SetHead, Power::Boundaries]
    }

    fn fresh(&self) -> Result<MemoryDatabase> {
        let hook = Arc::new(Mutex::new(None::<BoundaryHook>));
        let set = Arc::clone(&hook);
        let config = MemoryConfig::new().on_boundary(Arc::new(move |boundary| {
            let hook = set.lock().unwrap_or_else(PoisonError::into_inner).clone();
            hook.map_or(Ok(()), |hook| hook(boundary))
        }));
        Ok(MemoryDatabase {
            backend: MemoryBackend::new(config),
            hook,
        })
    }
}

impl Database for MemoryDatabase {
    type Backend = MemoryBackend;

    async fn connect(&self) -> Result<MemoryBackend> {
        Ok(self.backend.clone())
    }

    async fn migrate(&self) -> Result<Migrated> {
        MemoryBackend::migrate(&MemoryConfig::new()).await
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        self.backend.set_head(space, head)
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<MemoryBackend> {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
        Ok(self.backend.clone())
    }
}

sync_conformance::suite!(MemoryHarness);
