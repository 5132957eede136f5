use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    Applied, Batch, Epoch, ErrorKind, FeedCursor, FeedEntry, FeedPage, GetPart, Known, Limit,
    Object, OpId, OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry,
    StateKey, Stats, SyncState, SyncStore, TimeKey, TimeRange,
};

/// A store that tells of each of its calls: for metrics.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use sync_core::{Observation, Observed, SyncStore};
///
/// async fn count_rows(store: impl SyncStore) -> sync_core::Result<usize> {
///     let rows = AtomicUsize::new(0);
///     let observed = Observed::new(store, |call: &Observation<'_>| {
///         rows.fetch_add(call.rows, Ordering::Relaxed);
///     });
///     observed.stats().await?;
///     Ok(rows.load(Ordering::Relaxed))
/// }
/// ```
#[derive(Clone)]
pub struct Observed<S, F> {
    store: S,
    observer: F,
}

/// One call of a store, when it is done. A call whose future is dropped is not told of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Observation<'a> {
    /// The space.
    pub space: &'a SpaceName,
    /// The method's name.
    pub operation: &'static str,
    /// How long it took. For `changed` that is the time it waited.
    pub elapsed: Duration,
    /// Items of the answer; of `apply`, operations of the page.
    pub rows: usize,
    /// What the byte budget counts of the answer; of `apply`, the page's payloads.
    pub bytes: usize,
    /// Why it failed, where it did.
    pub error: Option<&'a ErrorKind>,
}

impl<S, F> Observed<S, F> {
    /// Tells `observer` of each call of `store`, on the task that made it.
    pub const fn new(store: S, observer: F) -> Self {
        Self { store, observer }
    }

    /// The store behind it.
    pub const fn inner(&self) -> &S {
        &self.store
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Observed<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl<S: SyncStore, F: Fn(&Observation<'_>) + Send + Sync> Observed<S, F> {
    async fn observe<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
        size: impl FnOnce(&T) -> (usize, usize) + Send,
    ) -> Result<T> {
        let began = Instant::now();
        let done = call.await;
        let (rows, bytes) = done.as_ref().map_or((0, 0), size);
        (self.observer)(&Observation {
            space: self.store.space(),
            operation,
            elapsed: began.elapsed(),
            rows,
            bytes,
            error: done.as_ref().err().map(crate::Error::kind),
        });
        done
    }
}

fn rows<C>(batch: &Batch<Row, C>) -> (usize, usize) {
    let bytes = batch.items.iter().map(Row::weight).sum();
    (batch.items.len(), bytes)
}

fn nothing<T>(_: &T) -> (usize, usize) {
    (0, 0)
}

#[deny(clippy::missing_trait_methods)]
impl<S: SyncStore, F: Fn(&Observation<'_>) + Send + Sync> SyncState for Observed<S, F> {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let size = |value: &Option<Bytes>| {
            let bytes = value.as_ref().map_or(0, Bytes::len);
            (usize::from(value.is_some()), bytes)
        };
        self.observe("load", self.store.load(key), size).await
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        let size = |values: &Vec<Option<Bytes>>| {
            let bytes = values.iter().flatten().map(Bytes::len).sum();
            (values.len(), bytes)
        };
        self.observe("load_many", self.store.load_many(keys), size)
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let size = |batch: &Batch<StateEntry, StateKey>| {
            let bytes = batch.items.iter().map(|entry| entry.value.len()).sum();
            (batch.items.len(), bytes)
        };
        self.observe("list", self.store.list(prefix, after, limit), size)
            .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: SyncStore, F: Fn(&Observation<'_>) + Send + Sync> SyncStore for Observed<S, F> {
    fn space(&self) -> &SpaceName {
        self.store.space()
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        let bytes = page.upserts.iter().map(|o| o.payload.len()).sum();
        let size = (page.operations(), bytes);
        self.observe("apply", self.store.apply(page), |_| size)
            .await
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        let size = |part: &GetPart| {
            let bytes = part.rows.iter().flatten().map(Row::weight).sum();
            (part.rows.len(), bytes)
        };
        self.observe("get", self.store.get(ids, limit), size).await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        let size = |known: &Vec<Known>| (known.len(), 0);
        self.observe("known", self.store.known(ids), size).await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        let call = self.store.scan_time(range, after, limit);
        self.observe("scan_time", call, rows).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        let size = |batch: &Batch<TimeKey, TimeKey>| (batch.items.len(), 0);
        let call = self.store.scan_keys(range, after, limit);
        self.observe("scan_keys", call, size).await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        let call = self.store.scan_order(after, limit);
        self.observe("scan_order", call, rows).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let call = self.store.scan_object(object, after, limit);
        self.observe("scan_object", call, rows).await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let size = |page: &FeedPage| {
            let bytes = page.entries.iter().map(FeedEntry::weight).sum();
            (page.entries.len(), bytes)
        };
        let call = self.store.feed(after, limit, payloads);
        self.observe("feed", call, size).await
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        self.observe("changed", self.store.changed(after), nothing)
            .await
    }

    async fn stats(&self) -> Result<Stats> {
        self.observe("stats", self.store.stats(), nothing).await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.observe("prune", self.store.prune(up_to), nothing)
            .await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.observe("new_epoch", self.store.new_epoch(), nothing)
            .await
    }

    async fn check(&self) -> Result<Vec<String>> {
        let size = |found: &Vec<String>| (found.len(), 0);
        self.observe("check", self.store.check(), size).await
    }
}
