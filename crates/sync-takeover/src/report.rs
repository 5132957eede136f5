//! What a takeover says about itself.

use std::fmt;

use sync_core::{StateKey, SyncOrder};
use sync_mdip::Invalid;

use crate::old::OldValue;

/// What one run of a takeover found and did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct TakeoverReport {
    /// Rows that the old table of operations has.
    pub rows: u64,
    /// Rows and state entries that earlier runs had brought, and this one left alone.
    pub skipped: u64,
    /// Rows that this run inserted.
    pub taken: u64,
    /// Rows that the space had already, with the same record.
    pub present: u64,
    /// Rows that got a sync order from this run, inserted or not.
    pub ordered: u64,
    /// Rows that this run brought without their sync order, because the space's orders are of
    /// another index.
    pub orders_left: u64,
    /// State keys that the space has from this run, under the names they had.
    pub state_keys: Vec<StateKey>,
    /// Every row of `operations` that was not taken, also those that an earlier run came past:
    /// about a hundred bytes each. What the store itself answers ([`OtherRecord`],
    /// [`OtherOrder`], [`Tombstoned`]) is told by the run that asked it.
    ///
    /// [`OtherRecord`]: RefusedReason::OtherRecord
    /// [`OtherOrder`]: RefusedReason::OtherOrder
    /// [`Tombstoned`]: RefusedReason::Tombstoned
    pub refused: Vec<RefusedRow>,
    /// Every row of `sync_state` that was not taken.
    pub refused_state: Vec<RefusedState>,
}

/// A row of `operations` that was not taken, with its columns as they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRow {
    /// Where the row is in the old table: SQLite's `rowid`, `PostgreSQL`'s `ctid`.
    pub place: String,
    /// Its id. Of a long text the first 80 characters.
    pub id: OldValue,
    /// Its sync order.
    pub sync_order: OldValue,
    /// Its time.
    pub ts: OldValue,
    /// Why it was not taken.
    pub reason: RefusedReason,
}

/// A row of `sync_state` that was not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedState {
    /// Its key, where that is text: the first 80 characters.
    pub key: Option<String>,
    /// The length of its value in bytes.
    pub bytes: usize,
    /// Why it was not taken.
    pub reason: RefusedReason,
}

/// Why a row was not taken. The first reason that fits, in the order of the variants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// Its order is 2^53 - 1: the mediator marks so what its Gatekeeper rejected.
    RejectedUpstream,
    /// The id is not 64 hexadecimal digits.
    BadId,
    /// The time is not a whole number of seconds in 0..=2^53-1.
    BadTs,
    /// The order is not a whole number in 0..2^53-1.
    BadOrder,
    /// The operation is no record that hydration would store.
    BadRecord(Invalid),
    /// The operation claims another hash than the row's id.
    BadHash,
    /// The space has another record under the id, which stays.
    OtherRecord,
    /// The space has the row with another sync order, which stays.
    OtherOrder {
        /// The order in the space.
        stored: SyncOrder,
    },
    /// The space has a tombstone for the id, which stays.
    Tombstoned,
    /// The state key is not 1..=256 bytes of UTF-8 without NUL.
    BadKey,
    /// The state value is not text, or bytes, of at most 64 KiB.
    BadValue,
    /// The space has another value under the key, which stays.
    OtherValue,
}

impl fmt::Display for RefusedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            id,
            sync_order,
            ts,
            reason,
        } = self;
        write!(
            f,
            "row {place} (id {id}, order {sync_order}, time {ts}): {reason}"
        )
    }
}

impl fmt::Display for RefusedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, bytes, reason } = self;
        match key {
            Some(key) => write!(f, "state {key:?} ({bytes} bytes): {reason}"),
            None => write!(f, "state without a key ({bytes} bytes): {reason}"),
        }
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RejectedUpstream => f.write_str("marked as rejected upstream"),
            Self::BadId => f.write_str("the id is not 64 hexadecimal digits"),
            Self::BadTs => f.write_str("the time is not a whole number in 0..=9007199254740991"),
            Self::BadOrder => {
                f.write_str("the order is not a whole number in 0..=9007199254740990")
            }
            Self::BadRecord(why) => write!(f, "{}: {why}", why.code()),
            Self::BadHash => f.write_str("the operation claims another hash than the id"),
            Self::OtherRecord => f.write_str("the space has another record under this id"),
            Self::OtherOrder { stored } => write!(f, "the space has the row with order {stored}"),
            Self::Tombstoned => f.write_str("the space has a tombstone for this id"),
            Self::BadKey => f.write_str("the key is not 1..=256 bytes of UTF-8 without NUL"),
            Self::BadValue => f.write_str("the value is not text or bytes of at most 64 KiB"),
            Self::OtherValue => f.write_str("the space has another value under this key"),
        }
    }
}
