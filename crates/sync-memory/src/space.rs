use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use sync_core::rules::{self, IdState};
use sync_core::{
    Digest, Epoch, Object, OpId, Operation, OrderKey, Row, Seq, StateKey, Stats, SyncOrder,
    TimeKey, TombstoneReason, Ts,
};

/// Everything one space holds, at one moment.
///
/// All maps are persistent: a clone costs O(1) and shares what neither side changes afterwards. A
/// page is applied to a clone, and a reader keeps the snapshot it took.
///
/// The counters of a space are the lengths of its maps, so they cannot drift from them.
#[derive(Clone)]
pub(crate) struct Space {
    pub(crate) epoch: Epoch,
    pub(crate) head: Seq,
    pub(crate) floor: Seq,
    pub(crate) rows: OrdMap<OpId, Arc<Stored>>,
    pub(crate) by_time: OrdSet<TimeKey>,
    pub(crate) by_order: OrdSet<OrderKey>,
    pub(crate) by_object: OrdMap<(Object, Seq), OpId>,
    /// The feed: one entry for each row and for each tombstone.
    pub(crate) log: OrdMap<Seq, Entry>,
    /// Of each id that is gone: its newest tombstone, by seq. Not those of ids that came back, and
    /// not lifted ones.
    pub(crate) newest: OrdMap<OpId, Seq>,
    pub(crate) state: OrdMap<StateKey, Bytes>,
}

/// A row, with the digest it was inserted with.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) row: Row,
    pub(crate) digest: Digest,
}

/// What the feed has under a seq.
#[derive(Clone)]
pub(crate) enum Entry {
    Live(OpId),
    Tombstone(Tombstone),
}

/// What a delete leaves.
#[derive(Clone)]
pub(crate) struct Tombstone {
    pub(crate) id: OpId,
    pub(crate) ts: Option<Ts>,
    pub(crate) object: Option<Object>,
    pub(crate) reason: TombstoneReason,
    pub(crate) source_seq: Option<SyncOrder>,
    pub(crate) lifted: bool,
}

impl Space {
    /// A space that nothing was written to yet.
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            head: Seq::ZERO,
            floor: Seq::ZERO,
            rows: OrdMap::new(),
            by_time: OrdSet::new(),
            by_order: OrdSet::new(),
            by_object: OrdMap::new(),
            log: OrdMap::new(),
            newest: OrdMap::new(),
            state: OrdMap::new(),
        }
    }

    /// The same space in a new history, with nothing in it. Seqs and the floor go on.
    pub(crate) fn reset(&self, epoch: Epoch) -> Self {
        Self {
            head: self.head,
            floor: self.floor,
            ..Self::new(epoch)
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: Some(self.epoch),
            total: self.rows.len() as u64,
            ordered: self.by_order.len() as u64,
            tombstones: self.log.len().saturating_sub(self.rows.len()) as u64,
            head: self.head,
            floor: self.floor,
        }
    }

    /// The tombstone that keeps `id` away, with its seq.
    pub(crate) fn tombstone_of(&self, id: &OpId) -> Option<(Seq, &Tombstone)> {
        let seq = *self.newest.get(id)?;
        match self.log.get(&seq)? {
            Entry::Tombstone(tombstone) => Some((seq, tombstone)),
            Entry::Live(_) => None,
        }
    }

    /// The state of `id`, for the rules. `before` is the head before the page that asks;
    /// `of_row` takes from a row what the rule needs.
    pub(crate) fn standing<'a, T>(
        &'a self,
        id: &OpId,
        before: Seq,
        of_row: impl FnOnce(&'a Stored) -> T,
    ) -> IdState<T> {
        if let Some(stored) = self.rows.get(id) {
            return IdState::Live(of_row(stored));
        }
        match self.tombstone_of(id) {
            Some((seq, tombstone)) => IdState::Tombstoned(rules::Tombstone {
                reason: tombstone.reason,
                source_seq: tombstone.source_seq,
                by_this_page: seq > before,
            }),
            None => IdState::Unknown,
        }
    }

    /// Rows by (ts, id), from `lower` on.
    pub(crate) fn time_keys(&self, lower: Bound<TimeKey>) -> impl Iterator<Item = TimeKey> + '_ {
        self.by_time.range((lower, Bound::Unbounded)).copied()
    }

    pub(crate) fn row(&self, id: &OpId) -> Option<Row> {
        self.rows.get(id).map(|stored| stored.row.clone())
    }

    /// Adds a row. A tombstone of its id no longer keeps the id away; its feed entry stays.
    pub(crate) fn insert(&mut self, operation: Operation, digest: Digest, seq: Seq) {
        let id = operation.id;
        self.newest.remove(&id);
        self.by_time.insert(operation.time_key());
        if let Some(sync_order) = operation.sync_order {
            self.by_order.insert(OrderKey { sync_order, id });
        }
        if let Some(object) = operation.object.clone() {
            self.by_object.insert((object, seq), id);
        }
        self.log.insert(seq, Entry::Live(id));
        let row = Row { operation, seq };
        self.rows.insert(id, Arc::new(Stored { row, digest }));
    }

    /// Takes a row and its entry in the feed away.
    pub(crate) fn remove(&mut self, id: &OpId) -> Option<Arc<Stored>> {
        let stored = self.rows.remove(id)?;
        let Row { operation, seq } = &stored.row;
        self.by_time.remove(&operation.time_key());
        if let Some(sync_order) = operation.sync_order {
            self.by_order.remove(&OrderKey {
                sync_order,
                id: *id,
            });
        }
        if let Some(object) = operation.object.clone() {
            self.by_object.remove(&(object, *seq));
        }
        self.log.remove(seq);
        Some(stored)
    }

    /// Gives a row that has none its order.
    pub(crate) fn set_order(&mut self, id: OpId, sync_order: SyncOrder) {
        if let Some(stored) = self.rows.get_mut(&id) {
            Arc::make_mut(stored).row.operation.sync_order = Some(sync_order);
            self.by_order.insert(OrderKey { sync_order, id });
        }
    }

    /// Adds a tombstone, which keeps its id away from now on.
    pub(crate) fn add_tombstone(&mut self, tombstone: Tombstone, seq: Seq) {
        self.newest.insert(tombstone.id, seq);
        self.log.insert(seq, Entry::Tombstone(tombstone));
    }

    /// The tombstone that keeps `id` away, to change it.
    pub(crate) fn tombstone_of_mut(&mut self, id: &OpId) -> Option<&mut Tombstone> {
        let seq = *self.newest.get(id)?;
        match self.log.get_mut(&seq)? {
            Entry::Tombstone(tombstone) => Some(tombstone),
            Entry::Live(_) => None,
        }
    }

    /// Drops the tombstones at or below the floor, except an operator's that were not lifted.
    /// How many.
    pub(crate) fn drop_pruned(&mut self) -> u64 {
        let pruned: Vec<(Seq, OpId)> = self
            .log
            .range(..=self.floor)
            .filter_map(|(seq, entry)| match entry {
                Entry::Tombstone(Tombstone {
                    reason: TombstoneReason::Operator,
                    lifted: false,
                    ..
                })
                | Entry::Live(_) => None,
                Entry::Tombstone(tombstone) => Some((*seq, tombstone.id)),
            })
            .collect();
        for (seq, id) in &pruned {
            self.drop_tombstone(*seq, id);
        }
        pruned.len() as u64
    }

    fn drop_tombstone(&mut self, seq: Seq, id: &OpId) {
        self.log.remove(&seq);
        if self.newest.get(id) == Some(&seq) {
            self.newest.remove(id);
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.state.is_empty()
    }

    /// Takes at most `at_most` rows, tombstones and state entries out of a space that has
    /// no readers left. How many.
    pub(crate) fn shrink(&mut self, at_most: usize) -> usize {
        for removed in 0..at_most {
            if let Some((seq, entry)) = self.log.get_min().cloned() {
                match entry {
                    Entry::Live(id) => drop(self.remove(&id)),
                    Entry::Tombstone(tombstone) => self.drop_tombstone(seq, &tombstone.id),
                }
            } else if let Some((key, _)) = self.state.get_min().cloned() {
                self.state.remove(&key);
            } else {
                return removed;
            }
        }
        at_most
    }
}
