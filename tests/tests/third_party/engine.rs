//! The backend: an engine for the kit, with one lock around everything.

use std::ops::Bound::{Excluded, Unbounded};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sync_core::{Capabilities, Durability, Epoch, Migrated, Page, Result, SpaceName, Swept};
use sync_kit::{Altered, Answer, Change, Engine, Query, Space as Shared, Spaces, Written};

use crate::codec::{Entry, Record};
use crate::journal::{self, Journal};
use crate::space::Space;

pub(crate) type JournalBackend = sync_kit::Connection<JournalEngine>;

/// A file, and its journal as long as somebody has it open.
#[derive(Clone)]
pub(crate) struct JournalConfig {
    pub(crate) path: PathBuf,
    open: Arc<Mutex<Weak<Opened>>>,
}

/// An open journal, and the spaces of every connection to it.
struct Opened {
    journal: Mutex<Journal>,
    connections: Mutex<Vec<Weak<Spaces<()>>>>,
}

pub(crate) struct JournalEngine(Arc<Opened>);

impl JournalConfig {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Arc::default(),
        }
    }
}

impl JournalEngine {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.0.journal)
    }

    /// Writes `entry` down, does what it says, and wakes the space's waiters.
    fn commit(
        &self,
        mut journal: MutexGuard<'_, Journal>,
        space: &SpaceName,
        entry: Entry,
    ) -> Result<Written> {
        let space = space.clone();
        let record = Record { space, entry };
        let written = journal.commit(&record)?;
        drop(journal);
        for spaces in lock(&self.0.connections).iter().filter_map(Weak::upgrade) {
            spaces.notify(record.space.as_str());
        }
        Ok(written)
    }
}

impl Engine for JournalEngine {
    const NAME: &'static str = "journal";
    type Config = JournalConfig;
    type Local = ();

    async fn connect(config: JournalConfig, spaces: Arc<Spaces<()>>) -> Result<Arc<Self>> {
        let mut open = lock(&config.open);
        let opened = if let Some(opened) = open.upgrade() {
            opened
        } else {
            Arc::new(Opened {
                journal: Mutex::new(Journal::open(&config.path)?),
                connections: Mutex::default(),
            })
        };
        *open = Arc::downgrade(&opened);
        lock(&opened.connections).push(Arc::downgrade(&spaces));
        Ok(Arc::new(Self(opened)))
    }

    async fn migrate(config: &JournalConfig) -> Result<Migrated> {
        journal::migrate(&config.path)
    }

    /// The journal is handed to the operating system, and not forced to the disk. It begins no new
    /// epoch after a crash of the machine either, so it promises less than `Process`.
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            multi_process: false,
            notify_delay: Duration::from_millis(250),
        }
    }

    fn local(&self, _: &SpaceName) {}

    async fn read(self: &Arc<Self>, space: &Arc<Shared<()>>, query: Query) -> Result<Answer> {
        let journal = self.journal();
        let space = journal.spaces.get(space.name());
        Ok(space.map_or_else(|| Answer::nothing(&query), |space| space.answer(&query)))
    }

    async fn apply(self: &Arc<Self>, space: &Arc<Shared<()>>, mut page: Page) -> Result<Written> {
        let journal = self.journal();
        match journal.spaces.get(space.name()) {
            Some(found) => found.check(&page)?,
            None => Space::default().check(&page)?,
        }
        page.preconditions.clear();
        let entry = Entry::Page(page, Epoch::random()?);
        self.commit(journal, space.name(), entry)
    }

    async fn alter(self: &Arc<Self>, space: &Arc<Shared<()>>, change: Change) -> Result<Altered> {
        let journal = self.journal();
        let Some(found) = journal.spaces.get(space.name()).map(Space::stats) else {
            return Ok(Altered::Absent);
        };
        let (entry, altered) = match change {
            Change::NewEpoch => {
                let epoch = Epoch::random()?;
                (Entry::NewEpoch(epoch), Altered::Epoch(epoch))
            }
            Change::RaiseFloor(up_to) => {
                let floor = found.floor.max(up_to.min(found.head));
                (Entry::Floor(floor), Altered::Floor(floor))
            }
            Change::PrunePiece(_) => {
                let dropped = journal.spaces.get(space.name()).map_or(0, Space::prunable);
                let next = None;
                (Entry::Prune, Altered::Pruned { dropped, next })
            }
        };
        self.commit(journal, space.name(), entry)?;
        Ok(altered)
    }

    async fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> Result<Vec<SpaceName>> {
        let journal = self.journal();
        let from = after.map_or(Unbounded, Excluded);
        let names = journal.spaces.range((from, Unbounded));
        Ok(names.take(limit).map(|(name, _)| name.clone()).collect())
    }

    async fn drop_space(self: &Arc<Self>, space: &Arc<Shared<()>>) -> Result<bool> {
        let journal = self.journal();
        let existed = journal.spaces.contains_key(space.name());
        self.commit(journal, space.name(), Entry::Drop)?;
        Ok(existed)
    }

    /// What was dropped is out of memory already; what is left of it in the file stays there.
    async fn sweep_piece(self: &Arc<Self>, rows: usize) -> Result<Swept> {
        let mut journal = self.journal();
        let removed = journal.garbage.min(rows as u64);
        journal.garbage -= removed;
        let more = journal.garbage > 0;
        Ok(Swept { removed, more })
    }
}

/// What is behind the lock is whole: nothing panics between two steps of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
