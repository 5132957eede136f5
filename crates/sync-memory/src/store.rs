use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use sync_core::{
    Applied, Backend, Batch, Epoch, Error, ErrorKind, FeedCursor, FeedPage, GetPart, Known, Limit,
    Object, OpId, OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, Stats, SyncStore,
    TimeKey, TimeRange,
};

use crate::MemoryBackend;
use crate::apply::{Written, apply};
use crate::backend::Database;
use crate::batch::{batch, keyed, nothing, size, take};
use crate::check::check;
use crate::feed::{feed, has_news};
use crate::slot::Slot;
use crate::space::Space;

/// What a page sweeps of what resets and drops left behind, besides as many entries as it has
/// operations itself: garbage cannot grow faster than it is swept.
const SWEPT_BY_A_PAGE: usize = 1_000;

/// A handle on one space of a [`MemoryBackend`]. A clone is another handle on the same space.
#[derive(Clone)]
pub struct MemoryStore {
    space: SpaceName,
    slot: Arc<Slot>,
    database: Arc<Database>,
}

impl MemoryStore {
    pub(crate) fn new(space: SpaceName, slot: Arc<Slot>, database: Arc<Database>) -> Self {
        Self {
            space,
            slot,
            database,
        }
    }

    /// The current snapshot, in O(1). It stays as it is, whatever is written meanwhile.
    pub(crate) fn read(&self) -> Option<Arc<Space>> {
        self.slot.read()
    }

    fn write(&self, page: Page) -> Result<Applied> {
        page.validate()?;
        let boundaries = &self.database.boundaries;
        let reset = page.reset;
        let operations = page.operations();
        let writer = self.slot.write();
        let mut next = match writer.current() {
            Some(space) => space.clone(),
            None => Space::new(Epoch::random()?),
        };
        let Written { applied, changed } = apply(&mut next, page, boundaries)?;
        if !changed {
            return Ok(applied);
        }
        boundaries.at("commit")?;
        let before = writer.commit(Some(next));
        if reset {
            self.database.discard(before);
        } else {
            drop(before);
            self.database.sweep(operations + SWEPT_BY_A_PAGE);
        }
        boundaries
            .at("committed")
            .map_err(|error| Error::new(ErrorKind::UnknownOutcome).with_source(error))?;
        Ok(applied)
    }

    fn raise_floor(&self, up_to: Seq) {
        let writer = self.slot.write();
        let Some(current) = writer.current() else {
            return;
        };
        let floor = up_to.min(current.head);
        if floor > current.floor {
            let next = Space {
                floor,
                ..current.clone()
            };
            writer.commit(Some(next));
        }
    }

    fn drop_pruned(&self) -> Pruned {
        let writer = self.slot.write();
        let Some(current) = writer.current() else {
            return Pruned {
                floor: Seq::ZERO,
                dropped: 0,
            };
        };
        let mut next = current.clone();
        let floor = next.floor;
        let dropped = next.drop_pruned();
        if dropped > 0 {
            writer.commit(Some(next));
        }
        Pruned { floor, dropped }
    }
}

#[deny(clippy::missing_trait_methods)]
impl SyncStore for MemoryStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        self.write(page).map_err(during("apply"))
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        let space = self.read();
        let rows = ids.iter().map(|id| space.as_ref()?.row(id));
        let (rows, more) = take(rows, limit, |row| row.as_ref().map_or(0, size));
        let next = more.then_some(rows.len());
        Ok(GetPart { rows, next })
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        let space = self.read();
        let known = |id| {
            space
                .as_ref()
                .map_or(Known::Unknown, |space| known(space, id))
        };
        Ok(ids.iter().map(known).collect())
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        let Some(space) = self.read() else {
            return Ok(nothing());
        };
        let rows = in_range(&space, range, after).filter_map(|key| space.row(&key.id));
        Ok(batch(rows, limit, size, |row| row.operation.time_key()))
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        let Some(space) = self.read() else {
            return Ok(nothing());
        };
        Ok(batch(
            in_range(&space, range, after),
            limit,
            |_| 0,
            |key| *key,
        ))
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        let Some(space) = self.read() else {
            return Ok(nothing());
        };
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = space
            .by_order
            .range((lower, Bound::Unbounded))
            .filter_map(|key| Some((*key, space.row(&key.id)?)));
        Ok(keyed(batch(
            rows,
            limit,
            |(_, row)| size(row),
            |(key, _)| *key,
        )))
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        let Some(space) = self.read() else {
            return Ok(nothing());
        };
        let lower = match after {
            Some(seq) => Bound::Excluded((object.clone(), seq)),
            None => Bound::Included((object.clone(), Seq::ZERO)),
        };
        let rows = space
            .by_object
            .range((lower, Bound::Unbounded))
            .take_while(|((of, _), _)| of == object)
            .filter_map(|(_, id)| space.row(id));
        Ok(batch(rows, limit, size, |row| row.seq))
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        feed(self.read().as_deref(), after, limit, payloads).map_err(during("feed"))
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        loop {
            // Listening begins before the look, so that a commit in between is heard.
            let commit = self.slot.listen();
            if has_news(self.read().as_deref(), after) {
                return Ok(());
            }
            commit.await;
        }
    }

    async fn stats(&self) -> Result<Stats> {
        Ok(self
            .read()
            .map_or_else(Stats::default, |space| space.stats()))
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.raise_floor(up_to);
        Ok(self.drop_pruned())
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        let writer = self.slot.write();
        let Some(current) = writer.current() else {
            return Ok(None);
        };
        let epoch = Epoch::random().map_err(during("new_epoch"))?;
        let next = Space {
            epoch,
            ..current.clone()
        };
        writer.commit(Some(next));
        Ok(Some(epoch))
    }

    async fn check(&self) -> Result<Vec<String>> {
        Ok(self.read().map_or_else(Vec::new, |space| check(&space)))
    }
}

fn in_range(
    space: &Space,
    range: TimeRange,
    after: Option<TimeKey>,
) -> impl Iterator<Item = TimeKey> + '_ {
    let first = TimeKey {
        ts: range.from,
        id: OpId::new([0; 32]),
    };
    let lower = match after {
        Some(after) if after >= first => Bound::Excluded(after),
        _ => Bound::Included(first),
    };
    space
        .time_keys(lower)
        .take_while(move |key| key.ts <= range.to)
}

fn known(space: &Space, id: &OpId) -> Known {
    if let Some(stored) = space.rows.get(id) {
        return Known::Live {
            ts: stored.row.operation.ts,
            seq: stored.row.seq,
            sync_order: stored.row.operation.sync_order,
        };
    }
    match space.tombstone_of(id) {
        Some((seq, tombstone)) => Known::Tombstoned {
            reason: tombstone.reason,
            seq,
            source_seq: tombstone.source_seq,
        },
        None => Known::Unknown,
    }
}

fn during(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.of_backend(MemoryBackend::NAME).during(operation)
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
