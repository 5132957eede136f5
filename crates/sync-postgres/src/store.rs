use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use event_listener::Event;
use futures_util::FutureExt;
use sync_core::{
    Applied, Batch, Bytes, Epoch, Error, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::apply::Job;
use crate::backend::{Inner, OnConnection};
use crate::driver::Work;
use crate::error::named;
use crate::pool::Connection;
use crate::space::Space;
use crate::{NAME, PostgresConfig, apply, check, feed, scan, space, state, sweep};

/// A handle on one space of a database. A clone is another reference to the same handle.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<Inner>,
    space: SpaceName,
    /// Wakes the space's waiters when a page of this backend was committed.
    event: Arc<Event>,
    /// Pages of new operations alone that came one after the other.
    streak: Arc<AtomicU8>,
}

impl PostgresStore {
    pub(crate) fn new(inner: Arc<Inner>, space: SpaceName) -> Self {
        let event = inner.signals.of(&space);
        Self {
            inner,
            space,
            event,
            streak: Arc::default(),
        }
    }

    /// Runs `read` on the space.
    async fn read<I: Send + Sync + 'static, T: Send + 'static>(
        &self,
        operation: &'static str,
        input: I,
        read: OnConnection<(SpaceName, I), T>,
    ) -> Result<T> {
        let input = (self.space.clone(), input);
        self.inner.read(operation, input, read).await
    }

    /// Runs `write` on the space, and wakes its waiters.
    async fn write<I: Send + Sync + 'static, T: Send + 'static>(
        &self,
        operation: &'static str,
        input: I,
        write: OnConnection<(SpaceName, I), T>,
    ) -> Result<T> {
        self.inner
            .write(operation, self.space.clone(), input, write)
            .await
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncState for PostgresStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let values = self.load_many(std::slice::from_ref(key)).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read("load", keys.to_vec(), |connection, _, (name, keys)| {
            state::load(connection, name, keys).boxed()
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let input = (prefix.to_owned(), after.cloned(), limit);
        self.read("list", input, |connection, _, (name, input)| {
            let (prefix, after, limit) = input;
            state::list(connection, name, prefix, after.as_ref(), *limit).boxed()
        })
        .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for PostgresStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        page.validate().map_err(named("apply"))?;
        let (inner, event) = (Arc::clone(&self.inner), Arc::clone(&self.event));
        let streak = Arc::clone(&self.streak);
        let handle = inner.driver.handle();
        let job = Job::new(self.space.clone(), page, streak, handle);
        let applying = async move {
            let written = apply::apply(&inner.pool, &inner.config, &job).await;
            // Also after an error: its outcome may be unknown, and a look costs little.
            event.notify(usize::MAX);
            let written = written?;
            if written.garbage {
                inner.schedule_sweep();
            }
            tracing::debug!(
                backend = NAME,
                space = job.name.as_str(),
                operations = job.page().operations(),
                changed = written.changed,
                "applied a page"
            );
            Ok(written.applied)
        };
        self.inner.driver.run(Work::Write, "apply", applying).await
    }

    async fn get(&self, ids: &[OpId], max_bytes: usize) -> Result<GetPart> {
        if ids.is_empty() {
            return Ok(GetPart {
                rows: Vec::new(),
                next: None,
            });
        }
        let input = (ids.to_vec(), max_bytes);
        self.read("get", input, |connection, _, (name, (ids, max_bytes))| {
            scan::get(connection, name, ids, *max_bytes).boxed()
        })
        .await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read("known", ids.to_vec(), |connection, _, (name, ids)| {
            scan::known(connection, name, ids).boxed()
        })
        .await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        let input = (range, after, limit);
        self.read("scan_time", input, |connection, _, (name, input)| {
            let (range, after, limit) = *input;
            scan::scan_time(connection, name, range, after, limit).boxed()
        })
        .await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        let input = (range, after, limit);
        self.read("scan_keys", input, |connection, _, (name, input)| {
            let (range, after, limit) = *input;
            scan::scan_keys(connection, name, range, after, limit).boxed()
        })
        .await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.read(
            "scan_order",
            (after, limit),
            |connection, _, (name, input)| {
                let (after, limit) = *input;
                scan::scan_order(connection, name, after, limit).boxed()
            },
        )
        .await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let input = (object.clone(), after, limit);
        self.read("scan_object", input, |connection, _, (name, input)| {
            let (object, after, limit) = input;
            scan::scan_object(connection, name, object, *after, *limit).boxed()
        })
        .await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let input = (after, limit, payloads);
        self.read("feed", input, |connection, _, (name, input)| {
            let (after, limit, payloads) = *input;
            feed::feed(connection, name, after, limit, payloads).boxed()
        })
        .await?
        .map_err(|refused| named("feed")(Error::new(refused)))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        let _watched = self.inner.watcher.watch();
        loop {
            // Listening begins before the look, so that a commit between the two is heard.
            let listener = self.event.listen();
            let look: OnConnection<(SpaceName, FeedCursor), bool> =
                |connection, _, (name, after)| feed::would_answer(connection, name, *after).boxed();
            if self.read("changed", after, look).await? {
                return Ok(());
            }
            listener.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        let found = self
            .read("stats", (), |connection, _, (name, ())| {
                scan::space(connection, name).boxed()
            })
            .await?;
        Ok(found.as_ref().map(Space::stats).unwrap_or_default())
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let floor = self
            .write("prune", up_to, |connection, config, (name, up_to)| {
                sweep::raise_floor(connection, config, name, *up_to).boxed()
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
                .write("prune", after, |connection, config, (name, after)| {
                    sweep::prune_piece(connection, config, name, *after).boxed()
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
        self.write("new_epoch", (), |connection, config, (name, ())| {
            new_epoch(connection, config, name).boxed()
        })
        .await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.read("check", (), |connection, _, (name, ())| {
            check::check(connection, name).boxed()
        })
        .await
    }
}

async fn new_epoch(
    connection: &Connection,
    config: &PostgresConfig,
    name: &SpaceName,
) -> Result<Option<Epoch>> {
    let Some((found, space)) = sweep::begin(connection, name).await? else {
        return Ok(None);
    };
    let epoch = Epoch::random()?;
    let row = (space.incarnation, epoch, space.floor);
    space::save(connection, name, &found, row).await?;
    apply::commit(connection, config, name).await?;
    Ok(Some(epoch))
}
