//! A naive store of one space, in memory, written a second time from the text of the contract.
//!
//! It shares no decision with [`sync_core::rules`]: where a backend asks those, this asks nobody.
//! The suite compares backends with it, and broken stores are made from it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_core::{
    Epoch, Error, ErrorKind, FeedCursor, Known, Object, OpId, Operation, Pruned, Result, Row, Seq,
    StateKey, Stats, SyncOrder, TombstoneReason, Ts,
};

mod apply;
mod read;

/// One space.
///
/// A clone is an independent copy.
#[derive(Clone, Debug, Default)]
pub struct Model {
    epoch: Option<Epoch>,
    head: u64,
    floor: u64,
    rows: BTreeMap<OpId, Row>,
    tombstones: BTreeMap<Seq, Tombstone>,
    state: BTreeMap<StateKey, Bytes>,
    // The same rows and tombstones in the orders they are walked in.
    by_time: BTreeSet<(Ts, OpId)>,
    by_order: BTreeSet<(SyncOrder, OpId)>,
    by_seq: BTreeMap<Seq, OpId>,
    by_object: BTreeSet<(Object, Seq)>,
    newest_tombstone: BTreeMap<OpId, Seq>,
}

/// What a delete left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The id.
    pub id: OpId,
    /// The ts of the row that went.
    pub ts: Option<Ts>,
    /// The object of the row that went.
    pub object: Option<Object>,
    /// Why it went.
    pub reason: TombstoneReason,
    /// The source's position of the removal.
    pub source_seq: Option<SyncOrder>,
    /// An operator took its veto back.
    pub lifted: bool,
}

impl Model {
    /// A space that does not exist yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        Stats {
            epoch: self.epoch,
            total: self.rows.len() as u64,
            ordered: self.by_order.len() as u64,
            tombstones: self.tombstones.len() as u64,
            head: seq(self.head),
            floor: seq(self.floor),
        }
    }

    /// What is known of one id.
    pub fn known(&self, id: OpId) -> Known {
        if let Some(row) = self.rows.get(&id) {
            return Known::Live {
                ts: row.operation.ts,
                seq: row.seq,
                sync_order: row.operation.sync_order,
            };
        }
        match self.standing_tombstone(id) {
            Some((seq, tombstone)) => Known::Tombstoned {
                reason: tombstone.reason,
                seq,
                source_seq: tombstone.source_seq,
            },
            None => Known::Unknown,
        }
    }

    /// The row of one id.
    pub fn row(&self, id: OpId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// The tombstones, by seq.
    pub fn tombstones(&self) -> impl Iterator<Item = (Seq, &Tombstone)> {
        self.tombstones
            .iter()
            .map(|(seq, tombstone)| (*seq, tombstone))
    }

    /// The state, by key.
    pub fn state(&self) -> &BTreeMap<StateKey, Bytes> {
        &self.state
    }

    /// Raises the floor and drops the tombstones at or below it, except those of an operator that
    /// were not lifted.
    pub fn prune(&mut self, up_to: Seq) -> Pruned {
        self.floor = self.floor.max(up_to.value().min(self.head));
        let below = self.tombstones.range(..=seq(self.floor));
        let gone: Vec<Seq> = below
            .filter(|(_, tombstone)| {
                tombstone.lifted || tombstone.reason != TombstoneReason::Operator
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in &gone {
            self.forget_tombstone(*seq);
        }
        Pruned {
            floor: seq(self.floor),
            dropped: gone.len() as u64,
        }
    }

    /// Begins a new epoch over the same rows.
    pub fn new_epoch(&mut self) -> Result<Option<Epoch>> {
        if self.epoch.is_some() {
            self.epoch = Some(Epoch::random()?);
        }
        Ok(self.epoch)
    }

    /// Makes `head` the newest seq, as if that many had been minted.
    pub fn set_head(&mut self, head: Seq) {
        self.head = head.value();
    }

    /// Names the history, as a store does that takes its epoch from elsewhere.
    pub fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = Some(epoch);
    }

    /// Drops the tombstone at `seq` and leaves the floor where it is, which no store may do.
    pub fn forget_tombstone(&mut self, seq: Seq) {
        if let Some(tombstone) = self.tombstones.remove(&seq)
            && self.newest_tombstone.get(&tombstone.id) == Some(&seq)
        {
            self.newest_tombstone.remove(&tombstone.id);
        }
    }

    /// Puts a tombstone back that was dropped, which no store may do.
    pub fn put_tombstone(&mut self, seq: Seq, tombstone: Tombstone) {
        self.newest_tombstone.entry(tombstone.id).or_insert(seq);
        self.tombstones.insert(seq, tombstone);
    }

    /// Drops every tombstone and leaves the floor where it is, which no store may do.
    pub fn forget_tombstones(&mut self) {
        self.tombstones.clear();
        self.newest_tombstone.clear();
    }

    /// Lets every lifted tombstone stand again, which no store may do.
    pub fn forget_lifts(&mut self) {
        for tombstone in self.tombstones.values_mut() {
            tombstone.lifted = false;
        }
    }

    /// Moves a row to another sync order, which no store may do.
    pub fn move_order(&mut self, id: OpId, sync_order: SyncOrder) {
        if let Some(row) = self.rows.get_mut(&id)
            && let Some(before) = row.operation.sync_order.replace(sync_order)
        {
            self.by_order.remove(&(before, id));
            self.by_order.insert((sync_order, id));
        }
    }

    /// The tombstone that stands for an id without a row.
    fn standing_tombstone(&self, id: OpId) -> Option<(Seq, &Tombstone)> {
        let seq = *self.newest_tombstone.get(&id)?;
        let tombstone = self.tombstones.get(&seq)?;
        (!tombstone.lifted).then_some((seq, tombstone))
    }

    /// A cursor that may be read from, as (floor when the reader began, seq).
    fn check_cursor(&self, cursor: FeedCursor) -> Result<(Seq, Seq)> {
        let FeedCursor::After {
            epoch,
            floor,
            seq: seen,
        } = cursor
        else {
            return Ok((seq(self.floor), Seq::ZERO));
        };
        let refusal = if self.epoch != Some(epoch) {
            ErrorKind::WrongEpoch {
                current: self.epoch,
            }
        } else if seen.value() > self.head {
            ErrorKind::AheadOfLog {
                head: seq(self.head),
            }
        } else if seen.value() < self.floor && floor.value() < self.floor {
            ErrorKind::Pruned {
                floor: seq(self.floor),
            }
        } else {
            return Ok((floor, seen));
        };
        Err(Error::new(refusal))
    }

    fn insert_row(&mut self, operation: Operation) {
        let seq = self.mint();
        self.by_time.insert((operation.ts, operation.id));
        if let Some(order) = operation.sync_order {
            self.by_order.insert((order, operation.id));
        }
        if let Some(object) = &operation.object {
            self.by_object.insert((object.clone(), seq));
        }
        self.by_seq.insert(seq, operation.id);
        self.rows.insert(operation.id, Row { operation, seq });
    }

    fn remove_row(&mut self, id: OpId) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        let operation = &row.operation;
        self.by_time.remove(&(operation.ts, id));
        if let Some(order) = operation.sync_order {
            self.by_order.remove(&(order, id));
        }
        if let Some(object) = &operation.object {
            self.by_object.remove(&(object.clone(), row.seq));
        }
        self.by_seq.remove(&row.seq);
        Some(row)
    }

    fn insert_tombstone(&mut self, tombstone: Tombstone) {
        let seq = self.mint();
        self.newest_tombstone.insert(tombstone.id, seq);
        self.tombstones.insert(seq, tombstone);
    }

    /// The next seq. The page was refused before where there is none.
    fn mint(&mut self) -> Seq {
        self.head += 1;
        seq(self.head)
    }
}

/// Nothing in a model exceeds the highest position: `apply` refuses the page that would.
fn seq(value: u64) -> Seq {
    Seq::new(value).unwrap_or(Seq::MAX)
}
