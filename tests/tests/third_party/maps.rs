//! A space in memory: its rows, tombstones and state, and the orders they are read in.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound::{Excluded, Included, Unbounded};

use sync_core::play::{InsertedRow, LiveRow, NewTombstone, StoredTombstone, Tables};
use sync_core::{
    Bytes, FeedEntry, FeedKind, Known, Limit, Object, OpId, Operation, OrderKey, Result, Row, Seq,
    StateEntry, StateKey, SyncOrder, TimeKey, TimeRange, Ts, rules,
};
use sync_kit::Answer;

#[derive(Default)]
pub(crate) struct Maps {
    pub(crate) rows: BTreeMap<OpId, Row>,
    pub(crate) state: BTreeMap<StateKey, Bytes>,
    by_time: BTreeSet<(Ts, OpId)>,
    by_order: BTreeSet<(SyncOrder, OpId)>,
    by_object: BTreeSet<(Object, Seq)>,
    by_seq: BTreeMap<Seq, OpId>,
    /// Tombstones, as the feed shows them.
    pub(crate) tombstones: BTreeMap<Seq, FeedEntry>,
    /// The newest tombstone of an id.
    newest: BTreeMap<OpId, Seq>,
}

impl Maps {
    pub(crate) fn rows(
        &self,
        ids: impl Iterator<Item = OpId>,
        limit: Limit,
    ) -> Result<Answer, Infallible> {
        let rows = ids.filter_map(|id| self.rows.get(&id).cloned());
        Answer::rows(rows.map(Ok), limit)
    }

    pub(crate) fn ordered(&self, after: Option<OrderKey>) -> impl Iterator<Item = OpId> {
        let from = after.map_or(Unbounded, |key| Excluded((key.sync_order, key.id)));
        self.by_order.range((from, Unbounded)).map(|(_, id)| *id)
    }

    pub(crate) fn about(&self, object: &Object, after: Option<Seq>) -> impl Iterator<Item = OpId> {
        let from = Excluded((object.clone(), after.unwrap_or(Seq::ZERO)));
        let to = Included((object.clone(), Seq::MAX));
        let seqs = self.by_object.range((from, to));
        seqs.filter_map(|(_, seq)| self.by_seq.get(seq).copied())
    }

    /// Rows and tombstones after a seq.
    pub(crate) fn after(
        &self,
        seq: Seq,
    ) -> (impl Iterator<Item = &Row>, impl Iterator<Item = &FeedEntry>) {
        let above = (Excluded(seq), Unbounded);
        let live = self.by_seq.range(above);
        let dead = self.tombstones.range(above);
        (
            live.filter_map(|(_, id)| self.rows.get(id)),
            dead.map(|(_, entry)| entry),
        )
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<StateKey>,
    ) -> impl Iterator<Item = StateEntry> {
        let from = after.map_or(Unbounded, Excluded);
        let state = self.state.range::<StateKey, _>((from, Unbounded));
        let fitting = state.filter(move |(key, _)| key.as_str().starts_with(prefix));
        fitting.map(|(key, value)| StateEntry {
            key: key.clone(),
            value: value.clone(),
        })
    }

    /// Tombstones that a prune up to `floor` drops.
    pub(crate) fn prunable(&self, floor: Seq) -> impl Iterator<Item = &FeedEntry> {
        let tombstones = self.tombstones.range(..=floor);
        tombstones
            .map(|(_, entry)| entry)
            .filter(|entry| is_prunable(entry))
    }

    pub(crate) fn prune(&mut self, floor: Seq) {
        self.tombstones
            .retain(|seq, entry| *seq > floor || !is_prunable(entry));
        self.newest
            .retain(|_, seq| self.tombstones.contains_key(seq));
    }

    pub(crate) fn weight(&self) -> u64 {
        (self.rows.len() + self.tombstones.len() + self.state.len()) as u64
    }

    pub(crate) fn keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
    ) -> impl Iterator<Item = TimeKey> {
        let first = (range.from, OpId::new([0; 32]));
        let from = match after.map(|key| (key.ts, key.id)) {
            Some(after) if after >= first => Excluded(after),
            _ => Included(first),
        };
        let keys = self.by_time.range((from, Unbounded));
        keys.map(|(ts, id)| TimeKey { ts: *ts, id: *id })
            .take_while(move |key| key.ts <= range.to)
    }

    pub(crate) fn known(&self, id: &OpId) -> Known {
        match self.rows.get(id) {
            Some(row) => Known::of_row(row),
            None => Known::of_tombstone(self.newest_tombstone(id)),
        }
    }

    fn newest_tombstone(&self, id: &OpId) -> Option<StoredTombstone> {
        let seq = *self.newest.get(id)?;
        match self.tombstones.get(&seq)?.kind {
            FeedKind::Tombstone {
                reason,
                source_seq,
                lifted: false,
            } => Some(StoredTombstone {
                seq,
                reason,
                source_seq,
            }),
            _ => None,
        }
    }

    fn tombstone_mut(&mut self, seq: Seq) -> Option<(&mut Option<SyncOrder>, &mut bool)> {
        match &mut self.tombstones.get_mut(&seq)?.kind {
            FeedKind::Tombstone {
                source_seq, lifted, ..
            } => Some((source_seq, lifted)),
            FeedKind::Live { .. } => None,
        }
    }
}

impl Tables for Maps {
    type Handle = ();

    fn reset(&mut self) -> Result<()> {
        *self = Self::default();
        Ok(())
    }

    fn row(&mut self, id: &OpId, _: bool) -> Result<Option<LiveRow<()>>> {
        Ok(self.rows.get(id).map(|row| LiveRow {
            handle: (),
            digest: row.operation.digest(),
            sync_order: row.operation.sync_order,
            ts: row.operation.ts,
            object: row.operation.object.clone(),
        }))
    }

    fn tombstone(&mut self, id: &OpId) -> Result<Option<StoredTombstone>> {
        Ok(self.newest_tombstone(id))
    }

    fn insert(&mut self, row: &InsertedRow<'_>) -> Result<()> {
        let (id, seq) = (row.operation.id, row.seq);
        let operation = Operation {
            sync_order: row.sync_order,
            ..row.operation.clone()
        };
        self.by_time.insert((operation.ts, id));
        self.by_order
            .extend(row.sync_order.map(|order| (order, id)));
        let object = operation.object.clone();
        self.by_object.extend(object.map(|object| (object, seq)));
        self.by_seq.insert(seq, id);
        self.rows.insert(id, Row { operation, seq });
        Ok(())
    }

    fn remove(&mut self, id: &OpId, _: &LiveRow<()>) -> Result<()> {
        if let Some(Row { operation, seq }) = self.rows.remove(id) {
            self.by_time.remove(&(operation.ts, *id));
            self.by_seq.remove(&seq);
            if let Some(order) = operation.sync_order {
                self.by_order.remove(&(order, *id));
            }
            if let Some(object) = operation.object {
                self.by_object.remove(&(object, seq));
            }
        }
        Ok(())
    }

    fn set_order(&mut self, id: &OpId, _: &LiveRow<()>, order: SyncOrder) -> Result<()> {
        if let Some(row) = self.rows.get_mut(id) {
            row.operation.sync_order = Some(order);
            self.by_order.insert((order, *id));
        }
        Ok(())
    }

    fn add_tombstone(&mut self, new: NewTombstone) -> Result<()> {
        let entry = FeedEntry {
            seq: new.seq,
            id: new.id,
            ts: new.ts,
            object: new.object,
            kind: FeedKind::Tombstone {
                reason: new.reason,
                source_seq: new.source_seq,
                lifted: false,
            },
        };
        self.newest.insert(new.id, new.seq);
        self.tombstones.insert(new.seq, entry);
        Ok(())
    }

    fn raise_tombstone(
        &mut self,
        _: &OpId,
        tombstone: &StoredTombstone,
        raised: SyncOrder,
    ) -> Result<()> {
        if let Some((source_seq, _)) = self.tombstone_mut(tombstone.seq) {
            *source_seq = Some(raised);
        }
        Ok(())
    }

    fn lift_tombstone(&mut self, _: &OpId, tombstone: &StoredTombstone) -> Result<()> {
        if let Some((_, lifted)) = self.tombstone_mut(tombstone.seq) {
            *lifted = true;
        }
        Ok(())
    }

    fn state(&mut self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self.state.get(key).cloned())
    }

    fn set_state(&mut self, key: &StateKey, value: Option<&Bytes>) -> Result<()> {
        match value {
            Some(value) => self.state.insert(key.clone(), value.clone()),
            None => self.state.remove(key),
        };
        Ok(())
    }
}

fn is_prunable(entry: &FeedEntry) -> bool {
    match entry.kind {
        FeedKind::Tombstone { reason, lifted, .. } => !rules::outlives_prune(reason, lifted),
        FeedKind::Live { .. } => false,
    }
}
