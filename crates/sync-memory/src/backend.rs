use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_core::{
    Backend, Capabilities, Description, Durability, Migrated, Result, SpaceName, Swept,
};

use crate::boundary::Boundaries;
use crate::slot::{Slot, lock};
use crate::space::Space;
use crate::{MemoryConfig, MemoryStore};

/// A database in this process's memory.
///
/// A clone is a second handle on the same database. The data goes with the last handle, be it a
/// backend or a store.
#[derive(Clone)]
pub struct MemoryBackend {
    database: Arc<Database>,
}

/// What all handles share.
pub(crate) struct Database {
    /// A slot stays once its space was opened, whether the space exists or not.
    slots: Mutex<BTreeMap<SpaceName, Arc<Slot>>>,
    /// What resets and drops left behind; no space has it as its current snapshot.
    garbage: Mutex<Vec<Arc<Space>>>,
    pub(crate) boundaries: Boundaries,
}

impl MemoryBackend {
    /// A new, empty database, as [`connect`](Backend::connect) gives one, without `await`.
    pub fn new(config: MemoryConfig) -> Self {
        let database = Database {
            slots: Mutex::default(),
            garbage: Mutex::default(),
            boundaries: config.boundaries,
        };
        Self {
            database: Arc::new(database),
        }
    }

    /// For tests: raises the head of a space, so that its next seq is the one after `head`.
    ///
    /// [`NotFound`](sync_core::ErrorKind::NotFound) where the space does not exist,
    /// [`InvalidInput`](sync_core::ErrorKind::InvalidInput) where `head` is below the space's.
    #[cfg(any(test, feature = "fault-injection"))]
    pub fn set_head(&self, space: &SpaceName, head: sync_core::Seq) -> Result<()> {
        use sync_core::{Error, ErrorKind};

        let here = |error: Error| error.of_backend(Self::NAME).during("set_head");
        let slot = self.database.slot(space);
        let writer = slot.write();
        let current = writer
            .current()
            .ok_or_else(|| here(Error::new(ErrorKind::NotFound)))?;
        if head < current.head {
            let message = format!("{head} is below the current head, {}", current.head);
            return Err(here(Error::invalid("head", message)));
        }
        let next = Space {
            head,
            ..current.clone()
        };
        writer.commit(Some(next));
        Ok(())
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for MemoryBackend {
    type Config = MemoryConfig;
    type Store = MemoryStore;

    const NAME: &'static str = "memory";

    /// Gives a new, empty database each time.
    async fn connect(config: MemoryConfig) -> Result<Self> {
        Ok(Self::new(config))
    }

    /// Has nothing to do: what lives as long as the process has the process's schema.
    async fn migrate(_config: &MemoryConfig) -> Result<Migrated> {
        Ok(Migrated { from: 1, to: 1 })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            multi_process: false,
            notify_delay: Duration::ZERO,
        }
    }

    async fn describe(&self) -> Result<Description> {
        Ok(Description {
            server: "memory of this process".to_owned(),
            ..Description::default()
        })
    }

    async fn open(&self, space: &SpaceName) -> Result<MemoryStore> {
        let slot = self.database.slot(space);
        Ok(MemoryStore::new(
            space.clone(),
            slot,
            Arc::clone(&self.database),
        ))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let slots = lock(&self.database.slots);
        let existing = slots
            .range::<SpaceName, _>((lower, Bound::Unbounded))
            .filter(|(_, slot)| slot.read().is_some())
            .map(|(name, _)| name.clone());
        Ok(existing.take(limit).collect())
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let dropped = self.database.slot(space).write().commit(None);
        let existed = dropped.is_some();
        self.database.discard(dropped);
        Ok(existed)
    }

    /// Sweeps what pages have not swept yet: each page that writes takes a piece with it.
    async fn sweep(&self, rows: usize) -> Result<Swept> {
        Ok(self.database.sweep(rows))
    }
}

impl Database {
    fn slot(&self, space: &SpaceName) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(space.clone()).or_default())
    }

    /// Leaves a snapshot to the sweep, because dropping a whole one takes as long as it is large.
    pub(crate) fn discard(&self, space: Option<Arc<Space>>) {
        let space = space.filter(|space| !space.is_empty());
        lock(&self.garbage).extend(space);
    }

    /// Takes at most `rows` entries out of what resets and drops left behind.
    pub(crate) fn sweep(&self, rows: usize) -> Swept {
        let mut garbage = lock(&self.garbage);
        let mut removed = 0;
        while removed < rows {
            let Some(space) = garbage.last_mut() else {
                break;
            };
            // Where a reader still holds the snapshot, a copy is swept and the reader's goes
            // with the reader.
            let space = Arc::make_mut(space);
            removed += space.shrink(rows - removed);
            if space.is_empty() {
                garbage.pop();
            }
        }
        Swept {
            removed: removed as u64,
            more: !garbage.is_empty(),
        }
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = lock(&self.database.slots);
        f.debug_struct("MemoryBackend")
            .field("opened", &slots.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
