use bytes::Bytes;

use crate::play::StoredTombstone;
use crate::{
    Epoch, FeedCursor, Object, OpId, Row, Seq, StateKey, SyncOrder, TimeKey, TombstoneReason, Ts,
    limits,
};

/// How much one read may return: rows, and bytes of payloads, objects and values.
///
/// A read always returns at least one row where there is one, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    rows: usize,
    bytes: usize,
}

impl Limit {
    /// At most `rows` rows and 16 MiB. 0 rows means 1: a read always makes progress.
    pub const fn rows(rows: usize) -> Self {
        Self {
            rows: if rows == 0 { 1 } else { rows },
            bytes: limits::READ_BYTES,
        }
    }

    /// The same number of rows and at most `bytes` bytes.
    #[must_use]
    pub const fn bytes(self, bytes: usize) -> Self {
        Self {
            rows: self.rows,
            bytes,
        }
    }

    /// The most rows; at least 1.
    pub const fn max_rows(&self) -> usize {
        self.rows
    }

    /// The most bytes; only a single row may be larger.
    pub const fn max_bytes(&self) -> usize {
        self.bytes
    }

    /// How many rows a backend asks its database for: one more than the most, which tells whether
    /// the walk goes on. A limit above `u32::MAX` rows asks for `u32::MAX`.
    pub fn fetch_rows(&self) -> u32 {
        u32::try_from(self.rows)
            .unwrap_or(u32::MAX)
            .saturating_add(1)
    }
}

impl Default for Limit {
    /// 1,000 rows and 16 MiB.
    fn default() -> Self {
        Self::rows(1_000)
    }
}

/// The byte budget of one read: everything for the first row, then what is left of `max_bytes`.
#[derive(Clone, Debug)]
pub struct Budget {
    left: usize,
    first: bool,
}

impl Budget {
    /// A budget of `max_bytes`, none of which is spent.
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            left: max_bytes,
            first: true,
        }
    }

    /// Counts `bytes` and answers true, or answers false where they do not fit any more.
    pub fn takes(&mut self, bytes: usize) -> bool {
        if bytes > self.left && !self.first {
            return false;
        }
        self.first = false;
        self.left = self.left.saturating_sub(bytes);
        true
    }

    /// The bytes that are left.
    pub const fn left(&self) -> usize {
        self.left
    }
}

/// Both ends of a range of claimed times, included. An inverted range holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The lowest ts.
    pub from: Ts,
    /// The highest ts.
    pub to: Ts,
}

impl TimeRange {
    /// Every ts.
    pub const ALL: Self = Self {
        from: Ts::ZERO,
        to: Ts::MAX,
    };

    /// Where a walk over the range begins: after this ts and these id bytes. No bytes sort before
    /// every id.
    pub fn first_after<'a>(&self, after: Option<&'a TimeKey>) -> (Ts, &'a [u8]) {
        match after {
            Some(key) if key.ts >= self.from => (key.ts, key.id.as_bytes()),
            _ => (self.from, &[]),
        }
    }
}

/// One page of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Batch<Item, Cursor> {
    /// The items, in the order of the walk.
    pub items: Vec<Item>,
    /// What to pass as `after` for the next page. Only `None` means the end.
    pub next: Option<Cursor>,
}

impl<Item, Cursor> Batch<Item, Cursor> {
    /// The end of a walk that has nothing left.
    pub const fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }

    /// Takes items up to the row limit and the byte budget, where `weight` is what an item counts
    /// of the budget. The first item that does not fit is read and tells that there is one.
    pub fn fill<E>(
        items: impl IntoIterator<Item = Result<Item, E>>,
        limit: Limit,
        weight: impl Fn(&Item) -> usize,
        cursor: impl Fn(&Item) -> Cursor,
    ) -> Result<Self, E> {
        let mut taken = Vec::new();
        let mut budget = Budget::new(limit.max_bytes());
        for item in items {
            let item = item?;
            if taken.len() == limit.max_rows() || !budget.takes(weight(&item)) {
                return Ok(Self::part(taken, true, cursor));
            }
            taken.push(item);
        }
        Ok(Self::part(taken, false, cursor))
    }

    /// Items that were cut at the limit already, and whether some are left.
    pub fn part(items: Vec<Item>, more: bool, cursor: impl Fn(&Item) -> Cursor) -> Self {
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// One part of the answer to a [`get`](crate::SyncStore::get).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct GetPart {
    /// The rows of the first ids asked for, in request order; `None` for an id that is not live.
    pub rows: Vec<Option<Row>>,
    /// How many ids were answered, where some are left to ask again. Only `None` means the end.
    pub next: Option<usize>,
}

/// What a store knows of an id, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A row.
    Live {
        /// Its claimed time.
        ts: Ts,
        /// Its seq.
        seq: Seq,
        /// Its order, where known.
        sync_order: Option<SyncOrder>,
    },
    /// No row, and a tombstone that stands.
    Tombstoned {
        /// Why.
        reason: TombstoneReason,
        /// The tombstone's seq.
        seq: Seq,
        /// The source's position of the removal, where known.
        source_seq: Option<SyncOrder>,
    },
    /// Neither.
    Unknown,
}

impl Known {
    /// What is known of the id of a live row.
    pub const fn of_row(row: &Row) -> Self {
        Self::Live {
            ts: row.operation.ts,
            seq: row.seq,
            sync_order: row.operation.sync_order,
        }
    }

    /// What is known of an id without a row, from its newest tombstone that was not lifted.
    pub fn of_tombstone(tombstone: Option<StoredTombstone>) -> Self {
        tombstone.map_or(Self::Unknown, |tombstone| Self::Tombstoned {
            reason: tombstone.reason,
            seq: tombstone.seq,
            source_seq: tombstone.source_seq,
        })
    }
}

/// Whether a feed page carries payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payloads {
    /// Entries without payloads.
    Skip,
    /// Live entries with their payloads, within the byte budget.
    Include,
}

/// One page of the [feed](crate::SyncStore::feed).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct FeedPage {
    /// The entries, by rising seq.
    pub entries: Vec<FeedEntry>,
    /// Where the reader now stands. The same again where the page is empty.
    pub next: FeedCursor,
    /// Whether entries were left when the page was read.
    pub more: bool,
}

/// A row or a tombstone, as the feed shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place in this store's history.
    pub seq: Seq,
    /// The id.
    pub id: OpId,
    /// The row's ts; absent only for the tombstone of an operation that was never here.
    pub ts: Option<Ts>,
    /// The row's object.
    pub object: Option<Object>,
    /// Which of the two it is.
    pub kind: FeedKind,
}

impl FeedEntry {
    /// The entry of a live row.
    pub fn of_row(Row { operation, seq }: Row, payloads: Payloads) -> Self {
        Self {
            seq,
            id: operation.id,
            ts: Some(operation.ts),
            object: operation.object,
            kind: FeedKind::Live {
                sync_order: operation.sync_order,
                payload: (payloads == Payloads::Include).then_some(operation.payload),
            },
        }
    }

    /// What the byte budget counts of it: its object, and its payload where it carries one.
    pub fn weight(&self) -> usize {
        let payload = match &self.kind {
            FeedKind::Live { payload, .. } => payload.as_ref().map_or(0, Bytes::len),
            FeedKind::Tombstone { .. } => 0,
        };
        payload
            + self
                .object
                .as_ref()
                .map_or(0, |object| object.as_bytes().len())
    }
}

/// What a feed entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// A row that stands now.
    Live {
        /// Its order now. Setting it made no entry of its own.
        sync_order: Option<SyncOrder>,
        /// Its payload, where the reader asked for payloads.
        payload: Option<Bytes>,
    },
    /// A delete.
    Tombstone {
        /// Why.
        reason: TombstoneReason,
        /// The source's position of the removal, where known.
        source_seq: Option<SyncOrder>,
        /// Its veto was taken back by an operator.
        lifted: bool,
    },
}

/// What a space holds, from counters that the writing transactions keep.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The name of the space's history; `None` where the space does not exist yet.
    pub epoch: Option<Epoch>,
    /// Rows.
    pub total: u64,
    /// Rows with a sync order.
    pub ordered: u64,
    /// Tombstones in the feed: those that stand, those of revived ids, and lifted ones.
    pub tombstones: u64,
    /// The newest seq; 0 before the first.
    pub head: Seq,
    /// The seq up to which tombstones were pruned, except those that a
    /// [prune](crate::SyncStore::prune) spares.
    pub floor: Seq,
}

/// What a prune did.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The floor now.
    pub floor: Seq,
    /// Tombstones dropped by this call. Those it spared are not counted.
    pub dropped: u64,
}

/// A state key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The key.
    pub key: StateKey,
    /// The value, which the byte budget counts.
    pub value: Bytes,
}

#[cfg(test)]
mod tests;
