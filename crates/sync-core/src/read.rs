use bytes::Bytes;

use crate::{
    Epoch, FeedCursor, Object, OpId, Row, Seq, StateKey, SyncOrder, TombstoneReason, Ts, limits,
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
    /// The seq up to which tombstones were pruned.
    pub floor: Seq,
}

/// What a prune did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The floor now.
    pub floor: Seq,
    /// Tombstones dropped by this call.
    pub dropped: u64,
}

/// A state key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// The key.
    pub key: StateKey,
    /// The value.
    pub value: Bytes,
}
