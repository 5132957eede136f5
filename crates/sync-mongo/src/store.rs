use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sync_core::{
    Applied, Batch, Bytes, Epoch, Error, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::backend::Inner;
use crate::database::Database;
use crate::error::{is_retryable_read, named};
use crate::patience::Patience;
use crate::scan::nothing;
use crate::signal::{self, Signal};
use crate::snapshot::Snapshot;
use crate::space::Space;
use crate::transaction::Transaction;
use crate::{NAME, apply, check, feed, scan, state, sweep};

/// How often a read is tried whose connection, or whose primary, went away.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);

/// A handle on one space of a database. A clone is another reference to the same handle.
#[derive(Clone)]
pub struct MongoStore {
    inner: Arc<Inner>,
    space: SpaceName,
    /// Shared by all handles of the space within this backend.
    signal: Arc<Signal>,
}

impl MongoStore {
    pub(crate) fn new(inner: Arc<Inner>, space: SpaceName) -> Self {
        let signal = inner.signals.of(&space);
        Self {
            inner,
            space,
            signal,
        }
    }

    /// Runs `read` on one snapshot of the database, with the space as it is there.
    async fn read<T, R>(&self, operation: &'static str, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: for<'s> Fn(&'s mut Snapshot, Option<&'s Space>) -> BoxFuture<'s, Result<T>>
            + Send
            + Sync
            + 'static,
    {
        let (inner, name) = (Arc::clone(&self.inner), self.space.clone());
        let work = async move {
            let mut pause = PAUSE;
            for _ in 1..ATTEMPTS {
                match attempt(&inner.database, operation, &name, &read).await {
                    Err(error) if is_retryable_read(&error) => tokio::time::sleep(pause).await,
                    answer => return answer.map_err(named(operation)),
                }
                pause *= 2;
            }
            attempt(&inner.database, operation, &name, &read)
                .await
                .map_err(named(operation))
        };
        self.inner.executor.run(operation, work).await
    }

    /// Runs `write` when it is this writer's turn, to its end, and wakes the space's waiters.
    async fn write<T, W>(&self, operation: &'static str, write: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'s> FnOnce(&'s Inner, &'s SpaceName) -> BoxFuture<'s, Result<T>> + Send + 'static,
    {
        let (inner, name) = (Arc::clone(&self.inner), self.space.clone());
        let signal = Arc::clone(&self.signal);
        let work = async move {
            let turn = signal.turn.lock().await;
            let written = write(&inner, &name).await.map_err(named(operation));
            drop(turn);
            // Also after an error: its outcome may be unknown, and a look costs little.
            signal.notify();
            written
        };
        self.inner.executor.finish(operation, work).await
    }
}

async fn attempt<T, R>(
    database: &Arc<Database>,
    operation: &'static str,
    name: &SpaceName,
    read: &R,
) -> Result<T>
where
    R: for<'s> Fn(&'s mut Snapshot, Option<&'s Space>) -> BoxFuture<'s, Result<T>> + Send + Sync,
{
    let mut snapshot = Snapshot::new(database, operation);
    let space = Space::load(&mut snapshot, name).await?;
    read(&mut snapshot, space.as_ref()).await
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncState for MongoStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let values = self.load_many(std::slice::from_ref(key)).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Arc<[StateKey]> = keys.into();
        self.read("load", move |snapshot, space| {
            let keys = Arc::clone(&keys);
            Box::pin(async move {
                match space {
                    Some(space) => state::load_many(snapshot, space, &keys).await,
                    None => Ok(vec![None; keys.len()]),
                }
            })
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let (prefix, after): (Arc<str>, _) = (prefix.into(), after.cloned());
        self.read("list", move |snapshot, space| {
            let (prefix, after) = (Arc::clone(&prefix), after.clone());
            Box::pin(async move {
                match space {
                    Some(space) => {
                        state::list(snapshot, space, &prefix, after.as_ref(), limit).await
                    }
                    None => Ok(nothing()),
                }
            })
        })
        .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for MongoStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        page.validate().map_err(named("apply"))?;
        self.write("apply", move |inner, name| {
            Box::pin(async move {
                let operations = page.operations();
                let written = apply::apply(inner, &inner.database, name, page).await?;
                if written.garbage {
                    inner.schedule_sweep();
                }
                tracing::debug!(
                    backend = NAME,
                    space = name.as_str(),
                    operations,
                    changed = written.changed,
                    "applied a page"
                );
                Ok(written.applied)
            })
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
        let ids: Arc<[OpId]> = ids.into();
        self.read("get", move |snapshot, space| {
            let ids = Arc::clone(&ids);
            Box::pin(async move { scan::get(snapshot, space, &ids, max_bytes).await })
        })
        .await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Arc<[OpId]> = ids.into();
        self.read("known", move |snapshot, space| {
            let ids = Arc::clone(&ids);
            Box::pin(async move { scan::known(snapshot, space, &ids).await })
        })
        .await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.read("scan_time", move |snapshot, space| {
            Box::pin(async move {
                match space {
                    Some(space) => scan::scan_time(snapshot, space, range, after, limit).await,
                    None => Ok(nothing()),
                }
            })
        })
        .await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.read("scan_keys", move |snapshot, space| {
            Box::pin(async move {
                match space {
                    Some(space) => scan::scan_keys(snapshot, space, range, after, limit).await,
                    None => Ok(nothing()),
                }
            })
        })
        .await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.read("scan_order", move |snapshot, space| {
            Box::pin(async move {
                match space {
                    Some(space) => scan::scan_order(snapshot, space, after, limit).await,
                    None => Ok(nothing()),
                }
            })
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
        self.read("scan_object", move |snapshot, space| {
            let object = object.clone();
            Box::pin(async move {
                match space {
                    Some(space) => scan::scan_object(snapshot, space, &object, after, limit).await,
                    None => Ok(nothing()),
                }
            })
        })
        .await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.read("feed", move |snapshot, space| {
            Box::pin(feed::feed(snapshot, space, after, limit, payloads))
        })
        .await?
        .map_err(|refused| named("feed")(Error::new(refused)))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        let _watched = signal::watch(&self.inner, &self.signal);
        loop {
            // Listening begins before the look, so that a commit between the two is heard.
            let listener = self.signal.event.listen();
            let look = self.read("changed", move |snapshot, space| {
                Box::pin(feed::would_answer(snapshot, space, after))
            });
            if look.await? {
                return Ok(());
            }
            listener.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        self.read("stats", |_, space| {
            Box::pin(std::future::ready(Ok(space
                .map(Space::stats)
                .unwrap_or_default())))
        })
        .await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let floor = self
            .write("prune", move |inner, name| {
                Box::pin(sweep::raise_floor(&inner.database, name, up_to))
            })
            .await?;
        let Some(floor) = floor else {
            return Ok(Pruned {
                floor: Seq::ZERO,
                dropped: 0,
            });
        };
        let (mut dropped, mut after) = (0, Seq::ZERO);
        loop {
            // Each piece queues anew: the pages that wait go first.
            let piece = self
                .write("prune", move |inner, name| {
                    Box::pin(sweep::prune_piece(&inner.database, name, after))
                })
                .await?;
            dropped += piece.dropped;
            match piece.next {
                Some(last) => after = last,
                None => return Ok(Pruned { floor, dropped }),
            }
        }
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.write("new_epoch", |inner, name| {
            Box::pin(new_epoch(&inner.database, name))
        })
        .await
    }

    async fn check(&self) -> Result<Vec<String>> {
        let (inner, name) = (Arc::clone(&self.inner), self.space.clone());
        self.inner
            .executor
            .run("check", async move {
                check::check(&inner.database, &name)
                    .await
                    .map_err(named("check"))
            })
            .await
    }
}

async fn new_epoch(database: &Database, name: &SpaceName) -> Result<Option<Epoch>> {
    let mut patience = Patience::new(database);
    loop {
        let mut transaction = Transaction::begin(database, "new_epoch").await?;
        let written = begin_epoch(&mut transaction, name).await;
        let locked = transaction.locked;
        let ended = match written {
            Ok(Some(epoch)) => transaction.commit().await.map(|()| Some(epoch)),
            other => {
                transaction.abort().await;
                other
            }
        };
        match ended {
            Ok(epoch) => return Ok(epoch),
            Err(error) => patience.after(named("new_epoch")(error), locked).await?,
        }
    }
}

async fn begin_epoch(transaction: &mut Transaction<'_>, name: &SpaceName) -> Result<Option<Epoch>> {
    let Some(mut space) = Space::lock(transaction, name).await? else {
        return Ok(None);
    };
    space.epoch = Epoch::random()?;
    space.save(transaction, name).await?;
    Ok(Some(space.epoch))
}
