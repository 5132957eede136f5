//! A store behind a reference or a shared pointer is a store.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Applied, Batch, Epoch, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId, OrderKey,
    Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, SyncState,
    SyncStore, TimeKey, TimeRange,
};

macro_rules! forward {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        impl<S: SyncStore + ?Sized> SyncState for $pointer {
            async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
                (**self).load(key).await
            }

            async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
                (**self).load_many(keys).await
            }

            async fn list(
                &self,
                prefix: &str,
                after: Option<&StateKey>,
                limit: Limit,
            ) -> Result<Batch<StateEntry, StateKey>> {
                (**self).list(prefix, after, limit).await
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl<S: SyncStore + ?Sized> SyncStore for $pointer {
            fn space(&self) -> &SpaceName {
                (**self).space()
            }

            async fn apply(&self, page: Page) -> Result<Applied> {
                (**self).apply(page).await
            }

            async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
                (**self).get(ids, limit).await
            }

            async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
                (**self).known(ids).await
            }

            async fn scan_time(
                &self,
                range: TimeRange,
                after: Option<TimeKey>,
                limit: Limit,
            ) -> Result<Batch<Row, TimeKey>> {
                (**self).scan_time(range, after, limit).await
            }

            async fn scan_keys(
                &self,
                range: TimeRange,
                after: Option<TimeKey>,
                limit: Limit,
            ) -> Result<Batch<TimeKey, TimeKey>> {
                (**self).scan_keys(range, after, limit).await
            }

            async fn scan_order(
                &self,
                after: Option<OrderKey>,
                limit: Limit,
            ) -> Result<Batch<Row, OrderKey>> {
                (**self).scan_order(after, limit).await
            }

            async fn scan_object(
                &self,
                object: &Object,
                after: Option<Seq>,
                limit: Limit,
            ) -> Result<Batch<Row, Seq>> {
                (**self).scan_object(object, after, limit).await
            }

            async fn feed(
                &self,
                after: FeedCursor,
                limit: Limit,
                payloads: Payloads,
            ) -> Result<FeedPage> {
                (**self).feed(after, limit, payloads).await
            }

            async fn changed(&self, after: FeedCursor) -> Result<()> {
                (**self).changed(after).await
            }

            async fn stats(&self) -> Result<Stats> {
                (**self).stats().await
            }

            async fn prune(&self, up_to: Seq) -> Result<Pruned> {
                (**self).prune(up_to).await
            }

            async fn new_epoch(&self) -> Result<Option<Epoch>> {
                (**self).new_epoch().await
            }

            async fn check(&self) -> Result<Vec<String>> {
                (**self).check().await
            }
        }
    };
}

forward!(&S);
forward!(Arc<S>);
forward!(Box<S>);
