//! What a takeover says about itself.

use std::fmt;

use sync_core::StateKey;

/// Characters of a text that a report shows.
const SHOWN: usize = 80;

/// What a takeover did.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct TakeoverReport {
    /// Rows taken.
    pub taken: u64,
    /// Rows taken that have a sync order.
    pub ordered: u64,
    /// State keys taken, under the names they had.
    pub state_keys: Vec<StateKey>,
    /// Every row of `operations` that was not taken. About a hundred bytes each.
    pub refused: Vec<RefusedRow>,
    /// Every row of `sync_state` that was not taken.
    pub refused_state: Vec<RefusedState>,
}

/// A row of `operations` that was not taken, with its columns as they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRow {
    /// Where the row is in the old table: SQLite's `rowid`, `PostgreSQL`'s `ctid`.
    pub place: String,
    /// Its id.
    pub id: Found,
    /// Its sync order.
    pub sync_order: Found,
    /// Its time.
    pub ts: Found,
    /// Why it was not taken.
    pub reason: RefusedReason,
}

/// A row of `sync_state` that was not taken.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedState {
    /// Its key.
    pub key: Found,
    /// The length of its value in bytes.
    pub bytes: usize,
    /// Why it was not taken.
    pub reason: RefusedReason,
}

/// Why a row was not taken. The first reason that fits, in the order of the variants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// Its order is 2^53 - 1: the deployed system marks so what its Gatekeeper rejected.
    RejectedUpstream,
    /// The id is not 64 hexadecimal digits.
    BadId,
    /// The time is not a whole number of seconds in 0..=2^53-1.
    BadTs,
    /// The order is not a whole number in 0..2^53-1.
    BadOrder,
    /// The operation is not one JSON object.
    BadJson,
    /// The operation claims another hash than the row's id, or none.
    BadHash,
    /// The function that reads rows refused it, and says why.
    Unreadable(String),
    /// The payload is above the limit.
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A row of the same id, perhaps in other letters, was taken before.
    Duplicate,
    /// The state key is not 1..=256 bytes of UTF-8 without NUL.
    BadKey,
    /// The state value is not text, or bytes, of at most 64 KiB.
    BadValue,
}

/// A value as it was found in a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, or any value that the database gives as text, cut to 80 characters; what is not UTF-8
    /// in it is replaced.
    Text(String),
    /// Bytes: how many.
    Blob(usize),
}

impl Found {
    /// Text, of which only the head is kept.
    pub fn text(text: &[u8]) -> Self {
        // Four bytes a character at most: the rest of a long text need not be looked at.
        let head = text.get(..4 * SHOWN).unwrap_or(text);
        Self::Text(String::from_utf8_lossy(head).chars().take(SHOWN).collect())
    }
}

impl From<Option<&str>> for Found {
    fn from(value: Option<&str>) -> Self {
        value.map_or(Self::Null, |text| Self::text(text.as_bytes()))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Blob(bytes) => write!(f, "{bytes} bytes"),
        }
    }
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
        write!(f, "state {key} ({bytes} bytes): {reason}")
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
            Self::BadJson => f.write_str("the operation is not a JSON object"),
            Self::BadHash => f.write_str("the operation does not claim the id as its hash"),
            Self::Unreadable(why) => f.write_str(why),
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes are above the limit of 1 MiB"),
            Self::Duplicate => f.write_str("the same id was taken before"),
            Self::BadKey => f.write_str("the key is not 1..=256 bytes of UTF-8 without NUL"),
            Self::BadValue => f.write_str("the value is not text or bytes of at most 64 KiB"),
        }
    }
}
