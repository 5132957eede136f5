use std::fmt;
use std::sync::Arc;

use sync_core::{
    Applied, Batch, Bytes, Epoch, Error, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId,
    OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats,
    SyncOrder, SyncState, SyncStore, TimeKey, TimeRange, feed,
};

use tracing::{Instrument as _, Span, field};

use crate::connection::Inner;
use crate::{Altered, Answer, Change, Engine, Query, Space};

/// A handle on one space of a database. A clone is another reference to the same handle.
pub struct Store<E: Engine> {
    inner: Arc<Inner<E>>,
    space: Arc<Space<E::Local>>,
}

impl<E: Engine> Clone for Store<E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            space: Arc::clone(&self.space),
        }
    }
}

impl<E: Engine> fmt::Debug for Store<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("backend", &E::NAME)
            .field("space", self.space.name())
            .finish_non_exhaustive()
    }
}

/// Takes from an answer what its query asks for.
macro_rules! expect {
    ($answer:expr, $pattern:pat => $value:expr) => {
        match $answer {
            $pattern => Ok($value),
            _ => Err(Answer::to_another_query()),
        }
    };
}

impl<E: Engine> Store<E> {
    pub(crate) fn new(inner: Arc<Inner<E>>, name: &SpaceName) -> Self {
        let space = inner.space(name);
        Self { inner, space }
    }

    /// The engine behind the handle, for what only this backend offers.
    pub fn engine(&self) -> &Arc<E> {
        &self.inner.engine
    }

    /// The space, as the handles of this backend share it.
    pub fn shared(&self) -> &Arc<Space<E::Local>> {
        &self.space
    }

    async fn read<T>(
        &self,
        query: Query,
        take: impl FnOnce(Answer) -> Result<T> + Send,
    ) -> Result<T> {
        self.traced(query.operation(), async {
            let answer = self.inner.engine.read(&self.space, query).await?;
            let span = Span::current();
            if !span.is_disabled() {
                let (rows, bytes) = answer.size();
                span.record("rows", rows).record("bytes", bytes);
            }
            take(answer)
        })
        .await
    }

    async fn traced<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        traced::<E, T>(Some(self.space.name()), operation, work).await
    }

    async fn rows<Cursor>(
        &self,
        query: Query,
        cursor: impl Fn(&Row) -> Cursor + Send,
    ) -> Result<Batch<Row, Cursor>> {
        self.read(
            query,
            |answer| expect!(answer, Answer::Rows { rows, more } => Batch::part(rows, more, cursor)),
        )
        .await
    }

    async fn alter(&self, change: Change) -> Result<Altered> {
        let work = self.inner.engine.alter(&self.space, change);
        self.traced(change.operation(), work).await
    }
}

/// Runs an operation in a span of its own, and names backend and operation in its error. Of a page
/// `rows` counts the operations, of an answer the items.
pub(crate) async fn traced<E: Engine, T>(
    space: Option<&SpaceName>,
    operation: &'static str,
    work: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let span = tracing::debug_span!(
        "operation",
        backend = E::NAME,
        space = space.map(SpaceName::as_str),
        operation,
        rows = field::Empty,
        bytes = field::Empty,
        attempts = field::Empty,
    );
    let done = work.instrument(span).await;
    done.map_err(in_operation::<E>(operation))
}

/// Names the backend, and the operation unless an inner layer has.
fn in_operation<E: Engine>(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.of_backend(E::NAME).during(operation)
}

#[deny(clippy::missing_trait_methods)]
impl<E: Engine> SyncState for Store<E> {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        let values = self.load_many(std::slice::from_ref(key)).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read(
            Query::State(keys.to_vec()),
            |answer| expect!(answer, Answer::Values(values) => values),
        )
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        let query = Query::List {
            prefix: prefix.to_owned(),
            after: after.cloned(),
            limit,
        };
        let key = |entry: &StateEntry| entry.key.clone();
        self.read(
            query,
            |answer| expect!(answer, Answer::State { entries, more } => Batch::part(entries, more, key)),
        )
        .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<E: Engine> SyncStore for Store<E> {
    fn space(&self) -> &SpaceName {
        self.space.name()
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        let written = self.traced("apply", async {
            page.validate()?;
            let span = Span::current();
            let operations = page.operations();
            if !span.is_disabled() {
                let bytes: usize = page.upserts.iter().map(|o| o.payload.len()).sum();
                span.record("rows", operations).record("bytes", bytes);
            }
            let written = self.inner.engine.apply(&self.space, page).await?;
            tracing::debug!(
                backend = E::NAME,
                space = self.space.name().as_str(),
                operations,
                changed = written.changed,
                "applied a page"
            );
            Ok(written)
        });
        Ok(written.await?.applied)
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        if ids.is_empty() {
            return Ok(GetPart {
                rows: Vec::new(),
                next: None,
            });
        }
        let asked = ids.len();
        let query = Query::Get {
            ids: ids.iter().take(limit.max_rows()).copied().collect(),
            max_bytes: limit.max_bytes(),
        };
        self.read(query, |answer| {
            let rows = expect!(answer, Answer::Found(rows) => rows)?;
            let next = (rows.len() < asked).then_some(rows.len());
            Ok(GetPart { rows, next })
        })
        .await
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.read(
            Query::Known(ids.to_vec()),
            |answer| expect!(answer, Answer::Known(known) => known),
        )
        .await
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        let query = Query::Time {
            range,
            after,
            limit,
        };
        self.rows(query, |row| row.operation.time_key()).await
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        let query = Query::Keys {
            range,
            after,
            limit,
        };
        self.read(
            query,
            |answer| expect!(answer, Answer::Keys { keys, more } => Batch::part(keys, more, |key| *key)),
        )
        .await
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        let key = |row: &Row| OrderKey {
            // Only rows with an order are in this walk.
            sync_order: row.operation.sync_order.unwrap_or(SyncOrder::ZERO),
            id: row.operation.id,
        };
        self.rows(Query::Order { after, limit }, key).await
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let query = Query::Object {
            object: object.clone(),
            after,
            limit,
        };
        self.rows(query, |row| row.seq).await
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let query = Query::Feed {
            after,
            limit,
            payloads,
        };
        self.read(query, |answer| {
            let Answer::Feed {
                space,
                entries,
                more,
            } = answer
            else {
                return Err(Answer::to_another_query());
            };
            let span = feed::position(space.as_ref(), after).map_err(Error::new)?;
            Ok(feed::page(span, entries, more))
        })
        .await
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        let _waiting = self.inner.spaces.wait_for(&self.space);
        self.inner.engine.watch(&self.space);
        loop {
            // Listening begins before the look, so that a commit between the two is heard.
            let listener = self.space.listen();
            let look = self.read(Query::AnyAfter(after), |answer| {
                let (space, any) = expect!(answer, Answer::Any { space, any } => (space, any))?;
                Ok(feed::would_answer(space.as_ref(), after, any))
            });
            if look.await? {
                return Ok(());
            }
            listener.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        self.read(
            Query::Stats,
            |answer| expect!(answer, Answer::Stats(stats) => stats.unwrap_or_default()),
        )
        .await
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let mut pruned = Pruned {
            floor: Seq::ZERO,
            dropped: 0,
        };
        match self.alter(Change::RaiseFloor(up_to)).await? {
            Altered::Floor(floor) => pruned.floor = floor,
            _ => return Ok(pruned),
        }
        let mut at = Some(Seq::ZERO);
        while let Some(after) = at {
            // Each piece queues anew: the pages that wait go first.
            let Altered::Pruned { dropped, next } = self.alter(Change::PrunePiece(after)).await?
            else {
                break;
            };
            pruned.dropped += dropped;
            at = next;
        }
        Ok(pruned)
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        match self.alter(Change::NewEpoch).await? {
            Altered::Epoch(epoch) => Ok(Some(epoch)),
            _ => Ok(None),
        }
    }

    async fn check(&self) -> Result<Vec<String>> {
        self.traced("check", self.inner.engine.check(&self.space))
            .await
    }
}
