use std::fmt;
use std::sync::Arc;

use sync_core::{
    Applied, Batch, Bytes, Epoch, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::NAME;
use crate::apply::{self, Job};
use crate::error::{corrupt, named};
use crate::reply::stats;
use crate::scripts::Script;
use crate::space::Space;
use crate::{check, feed, scan, state, sweep};

/// A handle on one space. A clone is another reference to the same handle.
#[derive(Clone)]
pub struct RedisStore {
    space: Arc<Space>,
}

impl RedisStore {
    pub(crate) fn new(space: Space) -> Self {
        Self {
            space: Arc::new(space),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("space", &self.space.name)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncState for RedisStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let values = self.load_many(std::slice::from_ref(key)).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.to_vec();
        self.space
            .run(
                "load",
                |space| async move { state::load(&space, &keys).await },
            )
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.space
            .run("list", |space| async move {
                state::list(&space, &prefix, after.as_ref(), limit).await
            })
            .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for RedisStore {
    fn space(&self) -> &SpaceName {
        &self.space.name
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        page.validate().map_err(named("apply"))?;
        let operations = page.operations();
        let job = Job::new(&self.space, page).await.map_err(named("apply"))?;
        self.space
            .run("apply", |space| async move {
                let written = apply::apply(&space, job).await;
                // Also after an error: its outcome may be unknown, and a look costs little.
                space.shared.event.notify(usize::MAX);
                let written = written?;
                tracing::debug!(
                    backend = NAME,
                    space = space.name.as_str(),
                    operations,
                    changed = written.changed,
                    "applied a page"
                );
                Ok(written.applied)
            })
            .await
    }

    async fn get(&self, ids: &[OpId], max_bytes: usize) -> Result<GetPart> {
        if ids.is_empty() {
            return Ok(GetPart {
                rows: Vec::new(),
                next: None,
            });
        }
        let ids = ids.to_vec();
        self.space
            .run("get", |space| async move {
                scan::get(&space, &ids, max_bytes).await
            })
            .await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids.to_vec();
        self.space
            .run(
                "known",
                |space| async move { scan::known(&space, &ids).await },
            )
            .await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.space
            .run("scan_time", |space| async move {
                scan::scan_time(&space, range, after, limit).await
            })
            .await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.space
            .run("scan_keys", |space| async move {
                scan::scan_keys(&space, range, after, limit).await
            })
            .await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.space
            .run("scan_order", |space| async move {
                scan::scan_order(&space, after, limit).await
            })
            .await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let object = object.clone();
        self.space
            .run("scan_object", |space| async move {
                scan::scan_object(&space, &object, after, limit).await
            })
            .await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.space
            .run("feed", |space| async move {
                feed::feed(&space, after, limit, payloads).await
            })
            .await
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        loop {
            let watcher = &self.space.inner.watcher;
            watcher.watch(&self.space.name, &self.space.keys);
            // Listening begins before the look, so that a commit between the two is heard.
            let listener = self.space.shared.event.listen();
            let answers = self
                .space
                .run("changed", |space| async move {
                    feed::would_answer(&space, after).await
                })
                .await?;
            if answers {
                return Ok(());
            }
            listener.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        self.space
            .run("stats", |space| async move {
                let mut answer = space.look("stats", Script::Stats, &[]).await?;
                Ok(stats(answer.value()?)?.unwrap_or_default())
            })
            .await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.space
            .run(
                "prune",
                |space| async move { sweep::prune(&space, up_to).await },
            )
            .await
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.space
            .run("new_epoch", |space| async move {
                let _turn = space.shared.turn.lock().await;
                let mut answer = space.change("new_epoch", Script::Epoch, &[]).await?;
                space.shared.event.notify(usize::MAX);
                let epoch = answer.optional()?;
                let epoch = epoch.map(|epoch| Epoch::try_from(&epoch[..]));
                epoch.transpose().map_err(corrupt)
            })
            .await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.space
            .run("check", |space| async move { check::check(&space).await })
            .await
    }
}
