//! A store in memory that changes in the middle of a walk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sync_store::memory::{MemoryBackend, MemoryConfig, MemoryStore};
use sync_store::{
    Applied, Backend as _, Batch, Bytes, Epoch, Error, FeedCursor, FeedPage, GetPart, Known, Limit,
    Object, OpId, OrderKey, Page, Payloads, Pruned, Row, Seq, SpaceName, StateEntry, StateKey,
    Stats, SyncState, SyncStore, TimeKey, TimeRange,
};

/// A method that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// `feed`
    Feed,
    /// `scan_time`
    ScanTime,
    /// `scan_keys`
    ScanKeys,
    /// `scan_order`
    ScanOrder,
    /// `known`
    Known,
    /// `list`
    List,
    /// `check`
    Check,
}

/// What happens before a call: the store in memory, the call, and how many of its kind came before.
type Meanwhile = dyn Fn(&MemoryStore, Call, usize) + Send + Sync;

/// A store in memory. Before each call that reads, another writer gets its turn.
pub struct Interrupted {
    store: MemoryStore,
    meanwhile: Box<Meanwhile>,
    calls: Mutex<HashMap<Call, usize>>,
}

impl Interrupted {
    /// An empty store. `meanwhile` gets the store itself, so that what it does interrupts nothing.
    pub fn new(
        meanwhile: impl Fn(&MemoryStore, Call, usize) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let space = SpaceName::new("default")?;
        Ok(Self {
            store: pollster::block_on(MemoryBackend::new(MemoryConfig::default()).open(&space))?,
            meanwhile: Box::new(meanwhile),
            calls: Mutex::default(),
        })
    }

    fn before(&self, call: Call) -> &MemoryStore {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = calls.entry(call).or_default();
        let earlier = *count;
        *count += 1;
        drop(calls);
        (self.meanwhile)(&self.store, call, earlier);
        &self.store
    }
}

impl SyncState for Interrupted {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>, Error> {
        self.store.load(key).await
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>, Error> {
        self.store.load_many(keys).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>, Error> {
        self.before(Call::List).list(prefix, after, limit).await
    }
}

impl SyncStore for Interrupted {
    fn space(&self) -> &SpaceName {
        self.store.space()
    }

    async fn apply(&self, page: Page) -> Result<Applied, Error> {
        self.store.apply(page).await
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart, Error> {
        self.store.get(ids, limit).await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>, Error> {
        self.before(Call::Known).known(ids).await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>, Error> {
        let store = self.before(Call::ScanTime);
        store.scan_time(range, after, limit).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>, Error> {
        let store = self.before(Call::ScanKeys);
        store.scan_keys(range, after, limit).await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>, Error> {
        self.before(Call::ScanOrder).scan_order(after, limit).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>, Error> {
        self.store.scan_object(object, after, limit).await
    }

    async fn feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> Result<FeedPage, Error> {
        self.before(Call::Feed).feed(after, limit, payloads).await
    }

    async fn changed(&self, after: FeedCursor) -> Result<(), Error> {
        self.store.changed(after).await
    }

    async fn stats(&self) -> Result<Stats, Error> {
        self.store.stats().await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned, Error> {
        self.store.prune(up_to).await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>, Error> {
        self.store.new_epoch().await
    }

    async fn check(&self) -> Result<Vec<String>, Error> {
        self.before(Call::Check).check().await
    }
}
