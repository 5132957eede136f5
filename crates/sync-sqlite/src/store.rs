use std::fmt;
use std::sync::Arc;

use event_listener::Event;
use rusqlite::{Connection, TransactionBehavior};
use sync_core::{
    Applied, Batch, Bytes, Epoch, Error, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::backend::Inner;
use crate::digests::Digested;
use crate::error::{failed, named};
use crate::space::{self, Space};
use crate::{NAME, apply, check, feed, scan, state, sweep};

/// A handle on one space of a database file. A clone is another reference to the same handle.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    space: SpaceName,
    /// Wakes the space's waiters when a page of this backend was committed.
    event: Arc<Event>,
}

impl SqliteStore {
    pub(crate) fn new(inner: Arc<Inner>, space: SpaceName) -> Self {
        let event = inner.signals.of(&space);
        Self {
            inner,
            space,
            event,
        }
    }

    /// Runs `read` on one snapshot of the file, with the space as it is there.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&Connection, Option<&Space>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let name = self.space.clone();
        let work = move |connection: &mut Connection| {
            let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let space = Space::load(&snapshot, &name)?;
            read(&snapshot, space.as_ref())
        };
        self.inner
            .readers
            .run(operation, move |connection| {
                work(connection).map_err(failed(operation))
            })
            .await
    }

    /// Runs `write` on the writer's connection and wakes the space's waiters.
    async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        write: impl FnOnce(&mut Connection, &Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (inner, event) = (Arc::clone(&self.inner), Arc::clone(&self.event));
        self.inner
            .writer
            .run(operation, move |connection| {
                let written = write(connection, &inner).map_err(named(operation));
                // Also after an error: its outcome may be unknown, and a look costs little.
                event.notify(usize::MAX);
                written
            })
            .await
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncState for SqliteStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let values = self.load_many(std::slice::from_ref(key)).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.to_vec();
        self.read("load", move |connection, space| {
            let value = |key: &StateKey| match space {
                Some(space) => state::load(connection, space, key.as_str()),
                None => Ok(None),
            };
            keys.iter().map(value).collect()
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.read("list", move |connection, space| match space {
            Some(space) => state::list(connection, space, &prefix, after.as_ref(), limit),
            None => Ok(nothing()),
        })
        .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for SqliteStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        page.validate().map_err(named("apply"))?;
        let name = self.space.clone();
        let page = Arc::new(Digested::new(page));
        if page.is_long() {
            let page = Arc::clone(&page);
            self.inner.readers.spawn(move |_| page.hash_ahead());
        }
        self.write("apply", move |connection, inner| {
            let written = apply::apply(connection, &inner.config, &name, &page);
            page.finish();
            let written = written?;
            if written.garbage {
                inner.schedule_sweep();
            }
            tracing::debug!(
                backend = NAME,
                space = name.as_str(),
                operations = page.page().operations(),
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
        self.read("get", move |connection, space| {
            scan::get(connection, space, &ids, max_bytes)
        })
        .await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = ids.to_vec();
        self.read("known", move |connection, space| {
            scan::known(connection, space, &ids)
        })
        .await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.read("scan_time", move |connection, space| match space {
            Some(space) => scan::scan_time(connection, space, range, after, limit),
            None => Ok(nothing()),
        })
        .await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.read("scan_keys", move |connection, space| match space {
            Some(space) => scan::scan_keys(connection, space, range, after, limit),
            None => Ok(nothing()),
        })
        .await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.read("scan_order", move |connection, space| match space {
            Some(space) => scan::scan_order(connection, space, after, limit),
            None => Ok(nothing()),
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
        self.read("scan_object", move |connection, space| match space {
            Some(space) => scan::scan_object(connection, space, &object, after, limit),
            None => Ok(nothing()),
        })
        .await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        self.read("feed", move |connection, space| {
            feed::feed(connection, space, after, limit, payloads)
        })
        .await?
        .map_err(|refused| named("feed")(Error::new(refused)))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        let _watched = self.inner.watcher.watch();
        loop {
            // Listening begins before the look, so that a commit between the two is heard.
            let listener = self.event.listen();
            let look = move |connection: &Connection, space: Option<&Space>| {
                feed::would_answer(connection, space, after)
            };
            if self.read("changed", look).await? {
                return Ok(());
            }
            listener.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        self.read("stats", |_, space| {
            Ok(space.map(Space::stats).unwrap_or_default())
        })
        .await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let name = self.space.clone();
        let floor = self
            .write("prune", move |connection, inner| {
                sweep::raise_floor(connection, &name, inner.config.durability, up_to)
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
            let name = self.space.clone();
            let piece = self
                .write("prune", move |connection, inner| {
                    sweep::prune_piece(connection, &name, inner.config.durability, after)
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
        let name = self.space.clone();
        self.write("new_epoch", move |connection, inner| {
            let begun = space::begin(connection, &name, inner.config.durability)
                .map_err(failed("new_epoch"))?;
            let (transaction, Some(mut space)) = begun else {
                return Ok(None);
            };
            space.epoch = Epoch::random()?;
            space.save(&transaction, inner.config.durability)?;
            space::commit(transaction, "new_epoch")?;
            Ok(Some(space.epoch))
        })
        .await
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.read("check", check::check).await
    }
}

/// The walk over a space that does not exist.
fn nothing<Item, Cursor>() -> Batch<Item, Cursor> {
    Batch {
        items: Vec::new(),
        next: None,
    }
}
