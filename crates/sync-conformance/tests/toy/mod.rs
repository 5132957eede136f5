//! A backend over the model: what the suite is tried on, and what broken stores are made from.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_listener::Event;
use sync_conformance::model::Model;
use sync_conformance::{BoundaryHook, COMMIT, COMMITTED, Database, Harness, Power};
use sync_core::{
    Applied, Backend, Batch, Bytes, Capabilities, Description, Durability, Epoch, Error, ErrorKind,
    FeedCursor, FeedPage, GetPart, Known, Limit, Migrated, Object, OpId, OrderKey, Page, Payloads,
    Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, Swept, SyncState, SyncStore,
    TimeKey, TimeRange,
};

/// What the handles of one database share.
#[derive(Default)]
pub(crate) struct Shared {
    spaces: Mutex<BTreeMap<SpaceName, Model>>,
    committed: Event,
}

#[derive(Clone)]
pub(crate) struct Toy {
    shared: Arc<Shared>,
    hook: Option<BoundaryHook>,
}

#[derive(Clone)]
pub(crate) struct ToyStore {
    shared: Arc<Shared>,
    hook: Option<BoundaryHook>,
    space: SpaceName,
}

impl ToyStore {
    fn spaces(&self) -> MutexGuard<'_, BTreeMap<SpaceName, Model>> {
        lock(&self.shared.spaces)
    }

    /// Reads the space's model, or that of a space that does not exist.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Model) -> T) -> T {
        match self.spaces().get(&self.space) {
            Some(model) => read(model),
            None => read(&Model::new()),
        }
    }

    /// Changes the space's model where it exists afterwards, and wakes whoever waits.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Model) -> Result<T>) -> Result<T> {
        let mut spaces = self.spaces();
        let written = if let Some(model) = spaces.get_mut(&self.space) {
            write(model)?
        } else {
            let mut model = Model::new();
            let written = write(&mut model)?;
            if model.stats().epoch.is_some() {
                spaces.insert(self.space.clone(), model);
            }
            written
        };
        drop(spaces);
        self.shared.committed.notify(usize::MAX);
        Ok(written)
    }

    fn at(&self, boundary: &'static str) -> Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(boundary))
    }
}

impl SyncState for ToyStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self.read(|model| model.load(key)))
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        Ok(self.read(|model| keys.iter().map(|key| model.load(key)).collect()))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        Ok(self.read(|model| model.list(prefix, after, limit)))
    }
}

impl SyncStore for ToyStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        self.at("rows")?;
        self.at(COMMIT)?;
        let applied = self
            .write(|model| model.apply(&page))
            .map_err(|error| error.of_backend(Toy::NAME).during("apply"))?;
        self.at(COMMITTED)
            .map_err(|cause| Error::new(ErrorKind::UnknownOutcome).with_source(cause))?;
        Ok(applied)
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        Ok(self.read(|model| model.get(ids, limit)))
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        Ok(self.read(|model| ids.iter().map(|id| model.known(*id)).collect()))
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        Ok(self.read(|model| model.scan_time(range, after, limit)))
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        Ok(self.read(|model| model.scan_keys(range, after, limit)))
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        Ok(self.read(|model| model.scan_order(after, limit)))
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        Ok(self.read(|model| model.scan_object(object, after, limit)))
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.read(|model| model.feed(after, limit, payloads))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        loop {
            let committed = self.shared.committed.listen();
            match self.feed(after, Limit::rows(1), Payloads::Skip).await {
                Ok(page) if page.entries.is_empty() => committed.await,
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(self.read(Model::stats))
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.write(|model| Ok(model.prune(up_to)))
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.write(Model::new_epoch)
    }

    async fn check(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

impl Backend for Toy {
    type Config = Arc<Shared>;
    type Store = ToyStore;

    const NAME: &'static str = "toy";

    async fn connect(shared: Arc<Shared>) -> Result<Self> {
        Ok(Self { shared, hook: None })
    }

    async fn migrate(_shared: &Arc<Shared>) -> Result<Migrated> {
        Ok(Migrated { from: 1, to: 1 })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            multi_process: false,
            notify_delay: Duration::from_millis(250),
        }
    }

    async fn describe(&self) -> Result<Description> {
        Ok(Description {
            server: "a toy".to_owned(),
            ..Description::default()
        })
    }

    async fn open(&self, space: &SpaceName) -> Result<ToyStore> {
        Ok(ToyStore {
            shared: Arc::clone(&self.shared),
            hook: self.hook.clone(),
            space: space.clone(),
        })
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let spaces = lock(&self.shared.spaces);
        let names = spaces
            .keys()
            .filter(|name| after.is_none_or(|after| *name > after));
        Ok(names.take(limit).cloned().collect())
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let existed = lock(&self.shared.spaces).remove(space).is_some();
        self.shared.committed.notify(usize::MAX);
        Ok(existed)
    }

    async fn sweep(&self, _rows: usize) -> Result<Swept> {
        Ok(Swept {
            removed: 0,
            more: false,
        })
    }
}

/// One database: what its handles share, and a copy kept aside.
#[derive(Default)]
pub(crate) struct ToyDatabase {
    shared: Arc<Shared>,
    aside: Mutex<BTreeMap<SpaceName, Model>>,
}

impl Database for ToyDatabase {
    type Backend = Toy;

    async fn connect(&self) -> Result<Toy> {
        Toy::connect(Arc::clone(&self.shared)).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        Toy::migrate(&self.shared).await
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        if let Some(model) = lock(&self.shared.spaces).get_mut(space) {
            model.set_head(head);
        }
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        lock(&self.aside).clone_from(&lock(&self.shared.spaces));
        Ok(())
    }

    fn put_back(&self) -> Result<()> {
        lock(&self.shared.spaces).clone_from(&lock(&self.aside));
        Ok(())
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<Toy> {
        Ok(Toy {
            shared: Arc::clone(&self.shared),
            hook: Some(hook),
        })
    }
}

#[derive(Default)]
pub(crate) struct ToyHarness;

impl Harness for ToyHarness {
    type Backend = Toy;
    type Database = ToyDatabase;

    fn powers(&self) -> &[Power] {
        &[Power::SetHead, Power::Copies, Power::Boundaries]
    }

    fn fresh(&self) -> Result<ToyDatabase> {
        Ok(ToyDatabase::default())
    }
}

/// A panic of one test says nothing about the map another one reads.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
