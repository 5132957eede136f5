//! What the handles of one database share: the disk, in this process's memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use event_listener::Event;
use sync_conformance::model::Model;
use sync_core::{Error, ErrorKind, Migrated, Result, Seq, SpaceName};

use crate::fault::Fault;

/// The schema this backend reads and writes.
pub(crate) const SCHEMA: u32 = 1;

/// What a restart finds again.
#[derive(Clone, Default)]
pub(crate) struct Content {
    pub(crate) spaces: BTreeMap<SpaceName, Model>,
    /// Rows, tombstones and state entries that resets and drops left behind.
    pub(crate) garbage: u64,
}

/// One database, with at most one thing wrong.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) fault: Option<Fault>,
    content: Mutex<Content>,
    pub(crate) schema: AtomicU32,
    pub(crate) committed: Event,
    commits: AtomicU64,
    /// Handles that are open: with none, the next one is a restart.
    pub(crate) handles: AtomicUsize,
    /// Transactions of others that are open, and the head when the first began.
    pub(crate) strangers: AtomicUsize,
    pub(crate) head_of_strangers: AtomicU64,
    /// What some of the broken stores keep outside the transaction.
    pub(crate) sequence: AtomicU64,
    pub(crate) busy: AtomicBool,
    pub(crate) drift: AtomicU64,
}

impl Disk {
    pub(crate) fn new(fault: Option<Fault>, schema: u32) -> Arc<Self> {
        Arc::new(Self {
            fault,
            schema: AtomicU32::new(schema),
            ..Self::default()
        })
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.content)
    }

    /// Reads the space's model, or that of a space that does not exist.
    pub(crate) fn read<T>(&self, space: &SpaceName, read: impl FnOnce(&Model) -> T) -> T {
        match self.content().spaces.get(space) {
            Some(model) => read(model),
            None => read(&Model::new()),
        }
    }

    /// Changes the space's model, which stays where it exists afterwards, in one transaction.
    pub(crate) fn write<T>(
        &self,
        space: &SpaceName,
        write: impl FnOnce(&mut Model) -> Result<T>,
    ) -> Result<T> {
        let mut content = self.content();
        if let Some(model) = content.spaces.get_mut(space) {
            return write(model);
        }
        let mut model = Model::new();
        let written = write(&mut model);
        let rolled_back = !matches!(
            self.fault,
            Some(Fault::RefusedPageCreatesTheSpace | Fault::PreconditionCheckedAfterTheRows)
        );
        if written.is_err() && rolled_back {
            return written;
        }
        if model.stats().epoch.is_some() {
            content.spaces.insert(space.clone(), model);
        }
        written
    }

    /// Returns when nobody has committed for a while: whatever came meanwhile is missed.
    pub(crate) fn wait_until_quiet(&self) {
        let mut before = None;
        loop {
            let commits = self.commits.load(Ordering::SeqCst);
            if before == Some(commits) {
                return;
            }
            before = Some(commits);
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn notify(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
        if self.has(Fault::OneWaiterIsWoken) {
            self.committed.notify(1);
        } else {
            self.committed.notify(usize::MAX);
        }
    }

    pub(crate) fn check_schema(&self) -> Result<()> {
        let found = self.schema.load(Ordering::SeqCst);
        match self.fault {
            Some(Fault::ConnectMigrates) if found == 0 => {
                self.schema.store(SCHEMA, Ordering::SeqCst);
                return Ok(());
            }
            Some(Fault::NewerSchemaAccepted) if found > SCHEMA => return Ok(()),
            _ => {}
        }
        if found == SCHEMA {
            return Ok(());
        }
        Err(mismatch(found))
    }

    pub(crate) fn migrate(&self) -> Result<Migrated> {
        let from = self.schema.load(Ordering::SeqCst);
        if self.has(Fault::MigratesAgain) && from == SCHEMA {
            *self.content() = Content::default();
        }
        if from > SCHEMA && !self.has(Fault::NewerSchemaMigratedDown) {
            return Err(mismatch(from));
        }
        if self.has(Fault::MigratesWithoutALock) {
            thread::sleep(Duration::from_millis(5));
            self.schema.store(SCHEMA, Ordering::SeqCst);
            return Ok(Migrated { from, to: SCHEMA });
        }
        // Under the lock of the content, which a migration changes.
        let _content = self.content();
        let from = self.schema.swap(SCHEMA, Ordering::SeqCst);
        Ok(Migrated { from, to: SCHEMA })
    }

    /// A transaction of somebody else in the same database begins.
    pub(crate) fn stranger_begins(&self) {
        let content = self.content();
        let heads = content.spaces.values().map(|model| model.stats().head);
        let head = heads.max().map_or(0, Seq::value);
        self.head_of_strangers.store(head, Ordering::SeqCst);
        self.strangers.fetch_add(1, Ordering::SeqCst);
    }
}

fn mismatch(found: u32) -> Error {
    Error::new(ErrorKind::SchemaMismatch {
        found,
        supported: SCHEMA,
    })
}

/// A panic of one test says nothing about what another one reads.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
