//! The backend and its stores: one lock around everything.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use event_listener::Event;
use sync_core::{
    Applied, Backend, Batch, Bytes, Capabilities, Description, Durability, Epoch, Error,
    FeedCursor, FeedPage, GetPart, Known, Limit, Migrated, Object, OpId, OrderKey, Page, Payloads,
    Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, Swept, SyncState, SyncStore,
    TimeKey, TimeRange,
};

use crate::codec::{Change, Record};
use crate::journal::{self, Journal};
use crate::space::{Space, object_bytes};

/// A file, and its journal as long as somebody has it open.
#[derive(Clone)]
pub(crate) struct JournalConfig {
    path: PathBuf,
    open: Arc<Mutex<Weak<Shared>>>,
}

struct Shared {
    journal: Mutex<Journal>,
    committed: Event,
}

#[derive(Clone)]
pub(crate) struct JournalBackend(Arc<Shared>);

pub(crate) struct JournalStore {
    shared: Arc<Shared>,
    space: SpaceName,
}

impl JournalConfig {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: Arc::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Shared {
    fn commit(&self, space: &SpaceName, change: Change) -> Result<Option<Applied>> {
        self.commit_on(lock(&self.journal), space, change)
    }

    fn commit_on(
        &self,
        mut journal: MutexGuard<'_, Journal>,
        space: &SpaceName,
        change: Change,
    ) -> Result<Option<Applied>> {
        let space = space.clone();
        let applied = journal.commit(&Record { space, change })?;
        drop(journal);
        self.committed.notify(usize::MAX);
        Ok(applied)
    }
}

impl Backend for JournalBackend {
    type Config = JournalConfig;
    type Store = JournalStore;

    const NAME: &'static str = "journal";

    async fn connect(config: JournalConfig) -> Result<Self> {
        let mut open = lock(&config.open);
        if let Some(shared) = open.upgrade() {
            return Ok(Self(shared));
        }
        let shared = Arc::new(Shared {
            journal: Mutex::new(Journal::open(&config.path)?),
            committed: Event::new(),
        });
        *open = Arc::downgrade(&shared);
        Ok(Self(shared))
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

    async fn describe(&self) -> Result<Description> {
        Ok(Description {
            server: "a journal file".to_owned(),
            ..Description::default()
        })
    }

    async fn open(&self, space: &SpaceName) -> Result<JournalStore> {
        Ok(JournalStore {
            shared: Arc::clone(&self.0),
            space: space.clone(),
        })
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let journal = lock(&self.0.journal);
        let from = after.map_or(Unbounded, Excluded);
        let names = journal.spaces.range::<SpaceName, _>((from, Unbounded));
        Ok(names.take(limit).map(|(name, _)| name.clone()).collect())
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let journal = lock(&self.0.journal);
        let existed = journal.spaces.contains_key(space);
        self.0.commit_on(journal, space, Change::Drop)?;
        Ok(existed)
    }

    /// What was dropped is out of memory already; what is left of it in the file stays there.
    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let mut journal = lock(&self.0.journal);
        let removed = journal.garbage.min(rows as u64);
        journal.garbage -= removed;
        let more = journal.garbage > 0;
        Ok(Swept { removed, more })
    }
}

impl JournalStore {
    fn read<T>(&self, read: impl FnOnce(&Space) -> T) -> T {
        match lock(&self.shared.journal).spaces.get(&self.space) {
            Some(space) => read(space),
            None => read(&Space::default()),
        }
    }

    fn apply_page(&self, mut page: Page) -> Result<Applied> {
        let journal = lock(&self.shared.journal);
        match journal.spaces.get(&self.space) {
            Some(space) => space.check(&page)?,
            None => Space::default().check(&page)?,
        }
        page.preconditions.clear();
        let change = Change::Page(page, Epoch::random()?);
        let applied = self.shared.commit_on(journal, &self.space, change)?;
        Ok(applied.unwrap_or_default())
    }
}

impl SyncState for JournalStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self.read(|space| space.state.get(key).cloned()))
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.read(|space| {
            keys.iter()
                .map(|key| space.state.get(key).cloned())
                .collect()
        }))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let from = after.map_or(Unbounded, Excluded);
        Ok(self.read(|space| {
            let entries = space.state.range::<StateKey, _>((from, Unbounded));
            let fitting = entries
                .filter(|(key, _)| key.as_str().starts_with(prefix))
                .map(|(key, value)| StateEntry {
                    key: key.clone(),
                    value: value.clone(),
                });
            batch(
                fitting,
                limit,
                |entry| entry.value.len(),
                |entry| entry.key.clone(),
            )
        }))
    }
}

impl SyncStore for JournalStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        let by = |error: Error| error.of_backend(JournalBackend::NAME).during("apply");
        self.apply_page(page).map_err(by)
    }

    async fn get(&self, ids: &[OpId], max_bytes: usize) -> Result<GetPart> {
        Ok(self.read(|space| {
            let mut budget = Budget::new(Limit::rows(usize::MAX).bytes(max_bytes));
            let mut rows = Vec::new();
            for id in ids {
                let row = space.rows.get(id);
                if !budget.takes(row.map_or(0, row_bytes)) {
                    let next = Some(rows.len());
                    return GetPart { rows, next };
                }
                rows.push(row.cloned());
            }
            GetPart { rows, next: None }
        }))
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        Ok(self.read(|space| ids.iter().map(|id| space.known(*id)).collect()))
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        Ok(self.read(|space| {
            let rows = keys(space, range, after).filter_map(|key| space.rows.get(&key.id).cloned());
            batch(rows, limit, row_bytes, |row| row.operation.time_key())
        }))
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        Ok(self.read(|space| batch(keys(space, range, after), limit, |_| 0, |key| *key)))
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        let from = after.map_or(Unbounded, |key| Excluded((key.sync_order, key.id)));
        Ok(self.read(|space| {
            let ordered = space.by_order.range((from, Unbounded));
            let rows = ordered.filter_map(|(_, id)| space.rows.get(id).cloned());
            batch(rows, limit, row_bytes, |row| OrderKey {
                sync_order: row.operation.sync_order.unwrap_or_default(),
                id: row.operation.id,
            })
        }))
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let from = Excluded((object.clone(), after.unwrap_or(Seq::ZERO)));
        let to = Included((object.clone(), Seq::MAX));
        Ok(self.read(|space| {
            let seqs = space.by_object.range((from, to));
            let rows = seqs.filter_map(|(_, seq)| space.rows.get(space.by_seq.get(seq)?).cloned());
            batch(rows, limit, row_bytes, |row| row.seq)
        }))
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.read(|space| space.feed(after, limit, payloads))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        loop {
            // Listening begins before the look, so that no commit falls between the two.
            let committed = self.shared.committed.listen();
            match self.feed(after, Limit::rows(1), Payloads::Skip).await {
                Ok(page) if page.entries.is_empty() => committed.await,
                _ => return Ok(()),
            }
        }
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(self.read(Space::stats))
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let before = self.read(Space::stats);
        if before.epoch.is_some() {
            self.shared.commit(&self.space, Change::Prune(up_to))?;
        }
        let after = self.read(Space::stats);
        Ok(Pruned {
            floor: after.floor,
            dropped: before.tombstones.saturating_sub(after.tombstones),
        })
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        if self.read(|space| space.epoch.is_none()) {
            return Ok(None);
        }
        let epoch = Epoch::random()?;
        self.shared.commit(&self.space, Change::NewEpoch(epoch))?;
        Ok(Some(epoch))
    }

    async fn check(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// What a read may still take.
pub(crate) struct Budget {
    rows: usize,
    bytes: usize,
    begun: bool,
}

impl Budget {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            rows: limit.max_rows(),
            bytes: limit.max_bytes(),
            begun: false,
        }
    }

    /// Whether the next item fits; the first always does.
    pub(crate) fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.rows > 0 && (!self.begun || bytes <= self.bytes);
        if fits {
            self.rows -= 1;
            self.bytes = self.bytes.saturating_sub(bytes);
            self.begun = true;
        }
        fits
    }
}

fn batch<Item, Cursor>(
    found: impl Iterator<Item = Item>,
    limit: Limit,
    bytes_of: impl Fn(&Item) -> usize,
    cursor_of: impl Fn(&Item) -> Cursor,
) -> Batch<Item, Cursor> {
    let mut budget = Budget::new(limit);
    let mut items = Vec::new();
    for item in found {
        if !budget.takes(bytes_of(&item)) {
            let next = items.last().map(cursor_of);
            return Batch { items, next };
        }
        items.push(item);
    }
    Batch { items, next: None }
}

fn keys(space: &Space, range: TimeRange, after: Option<TimeKey>) -> impl Iterator<Item = TimeKey> {
    let first = (range.from, OpId::new([0; 32]));
    let from = match after.map(|key| (key.ts, key.id)) {
        Some(after) if after >= first => Excluded(after),
        _ => Included(first),
    };
    let keys = space.by_time.range((from, Unbounded));
    keys.map(|(ts, id)| TimeKey { ts: *ts, id: *id })
        .take_while(move |key| key.ts <= range.to)
}

fn row_bytes(row: &Row) -> usize {
    row.operation.payload.len() + object_bytes(row.operation.object.as_ref())
}

/// What is behind the lock is whole: nothing panics between two steps of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
