use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_core::future::BoxFuture;

use crate::{
    Applied, Batch, Epoch, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId, OrderKey,
    Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, SyncState,
    SyncStore, TimeKey, TimeRange,
};

/// A store of any backend, behind one type.
///
/// A clone is another reference to the same handle. Each call costs one boxed future.
#[derive(Clone)]
pub struct AnyStore(Arc<dyn ErasedStore>);

impl AnyStore {
    /// Erases the type of `store`.
    pub fn new(store: impl SyncStore + 'static) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyStore").field(self.space()).finish()
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncState for AnyStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        self.0.erased_load(key).await
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        self.0.erased_load_many(keys).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        self.0.erased_list(prefix, after, limit).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for AnyStore {
    fn space(&self) -> &SpaceName {
        self.0.erased_space()
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        self.0.erased_apply(page).await
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        self.0.erased_get(ids, limit).await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        self.0.erased_known(ids).await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.0.erased_scan_time(range, after, limit).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.0.erased_scan_keys(range, after, limit).await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.0.erased_scan_order(after, limit).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        self.0.erased_scan_object(object, after, limit).await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.0.erased_feed(after, limit, payloads).await
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        self.0.erased_changed(after).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.0.erased_stats().await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.0.erased_prune(up_to).await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.0.erased_new_epoch().await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.0.erased_check().await
    }
}

/// The object-safe twin of [`SyncStore`]. Its names differ, because under equal names the blanket
/// implementation would call itself.
trait ErasedStore: Send + Sync {
    fn erased_space(&self) -> &SpaceName;
    fn erased_load<'a>(&'a self, key: &'a StateKey) -> BoxFuture<'a, Result<Option<Bytes>>>;
    fn erased_load_many<'a>(
        &'a self,
        keys: &'a [StateKey],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>>>;
    fn erased_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StateKey>,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Batch<StateEntry, StateKey>>>;
    fn erased_apply(&self, page: Page) -> BoxFuture<'_, Result<Applied>>;
    fn erased_get<'a>(&'a self, ids: &'a [OpId], limit: Limit) -> BoxFuture<'a, Result<GetPart>>;
    fn erased_known<'a>(&'a self, ids: &'a [OpId]) -> BoxFuture<'a, Result<Vec<Known>>>;
    fn erased_scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<Row, TimeKey>>>;
    fn erased_scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<TimeKey, TimeKey>>>;
    fn erased_scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<Row, OrderKey>>>;
    fn erased_scan_object<'a>(
        &'a self,
        object: &'a Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Batch<Row, Seq>>>;
    fn erased_feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> BoxFuture<'_, Result<FeedPage>>;
    fn erased_changed(&self, after: FeedCursor) -> BoxFuture<'_, Result<()>>;
    fn erased_stats(&self) -> BoxFuture<'_, Result<Stats>>;
    fn erased_prune(&self, up_to: Seq) -> BoxFuture<'_, Result<Pruned>>;
    fn erased_new_epoch(&self) -> BoxFuture<'_, Result<Option<Epoch>>>;
    fn erased_check(&self) -> BoxFuture<'_, Result<Vec<String>>>;
}

impl<S: SyncStore> ErasedStore for S {
    fn erased_space(&self) -> &SpaceName {
        self.space()
    }

    fn erased_load<'a>(&'a self, key: &'a StateKey) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(self.load(key))
    }

    fn erased_load_many<'a>(
        &'a self,
        keys: &'a [StateKey],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>>> {
        Box::pin(self.load_many(keys))
    }

    fn erased_list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StateKey>,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Batch<StateEntry, StateKey>>> {
        Box::pin(self.list(prefix, after, limit))
    }

    fn erased_apply(&self, page: Page) -> BoxFuture<'_, Result<Applied>> {
        Box::pin(self.apply(page))
    }

    fn erased_get<'a>(&'a self, ids: &'a [OpId], limit: Limit) -> BoxFuture<'a, Result<GetPart>> {
        Box::pin(self.get(ids, limit))
    }

    fn erased_known<'a>(&'a self, ids: &'a [OpId]) -> BoxFuture<'a, Result<Vec<Known>>> {
        Box::pin(self.known(ids))
    }

    fn erased_scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<Row, TimeKey>>> {
        Box::pin(self.scan_time(range, after, limit))
    }

    fn erased_scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<TimeKey, TimeKey>>> {
        Box::pin(self.scan_keys(range, after, limit))
    }

    fn erased_scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> BoxFuture<'_, Result<Batch<Row, OrderKey>>> {
        Box::pin(self.scan_order(after, limit))
    }

    fn erased_scan_object<'a>(
        &'a self,
        object: &'a Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> BoxFuture<'a, Result<Batch<Row, Seq>>> {
        Box::pin(self.scan_object(object, after, limit))
    }

    fn erased_feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> BoxFuture<'_, Result<FeedPage>> {
        Box::pin(self.feed(after, limit, payloads))
    }

    fn erased_changed(&self, after: FeedCursor) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.changed(after))
    }

    fn erased_stats(&self) -> BoxFuture<'_, Result<Stats>> {
        Box::pin(self.stats())
    }

    fn erased_prune(&self, up_to: Seq) -> BoxFuture<'_, Result<Pruned>> {
        Box::pin(self.prune(up_to))
    }

    fn erased_new_epoch(&self) -> BoxFuture<'_, Result<Option<Epoch>>> {
        Box::pin(self.new_epoch())
    }

    fn erased_check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.check())
    }
}
