//! Futures that are not ready at once, so that a test can drop them or step between.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sync_core::{
    Applied, Batch, Bytes, Epoch, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncState, SyncStore, TimeKey, TimeRange,
};

/// Is pending once.
pub(crate) async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls `future` at most `polls` times, and drops it where it was not ready then.
pub(crate) fn poll_times<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
    }
    None
}

/// A store whose calls pause before they act, and before they answer.
pub(crate) struct PausingStore<St>(pub(crate) St);

async fn paused<T>(call: impl Future<Output = T>) -> T {
    pause().await;
    let answer = call.await;
    pause().await;
    answer
}

impl<St: SyncStore> SyncState for PausingStore<St> {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        paused(self.0.load(key)).await
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        paused(self.0.load_many(keys)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        paused(self.0.list(prefix, after, limit)).await
    }
}

impl<St: SyncStore> SyncStore for PausingStore<St> {
    fn space(&self) -> &SpaceName {
        self.0.space()
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        paused(self.0.apply(page)).await
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        paused(self.0.get(ids, limit)).await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        paused(self.0.known(ids)).await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        paused(self.0.scan_time(range, after, limit)).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        paused(self.0.scan_keys(range, after, limit)).await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        paused(self.0.scan_order(after, limit)).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        paused(self.0.scan_object(object, after, limit)).await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        paused(self.0.feed(after, limit, payloads)).await
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        paused(self.0.changed(after)).await
    }

    async fn stats(&self) -> Result<Stats> {
        paused(self.0.stats()).await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        paused(self.0.prune(up_to)).await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        paused(self.0.new_epoch()).await
    }

    async fn check(&self) -> Result<Vec<String>> {
        paused(self.0.check()).await
    }
}
