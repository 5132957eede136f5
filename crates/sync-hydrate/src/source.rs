//! What hydration asks of an upstream index.

mod error;

use std::borrow::Cow;
use std::time::Duration;

use sync_core::{Bytes, Object, OpId, Operation, SyncOrder};

pub use self::error::{SourceError, SourceErrorKind};

/// An upstream index: it exports what it holds, and a log of what it accepted and removed.
///
/// The implementation parses and verifies each record on its own, so that one bad record is one
/// [`InvalidRecord`] and the rest of its page is kept.
pub trait Source: Send + Sync {
    /// The name by which a space remembers the source. It holds no secret, and does not depend on how
    /// the source is reached.
    fn name(&self) -> &str;

    /// One page of what the source holds, after `after` or from the beginning.
    ///
    /// - A page may hold more or fewer operations than `limit`: its unit is the source's.
    /// - Every page of one snapshot answers the checkpoint of its first page.
    fn snapshot(
        &self,
        after: Option<&SnapshotCursor>,
        limit: u32,
    ) -> impl Future<Output = Result<SnapshotPage, SourceError>> + Send;

    /// One page of the log, after position `after`; position 0 is the beginning.
    ///
    /// - At most `limit` rows of the log, in their order. Rows that concern no operation are left out,
    ///   so an empty page may still [advance](ChangesPage::next).
    fn changes(
        &self,
        after: SyncOrder,
        limit: u32,
    ) -> impl Future<Output = Result<ChangesPage, SourceError>> + Send;
}

/// The source's name for one history of its log. After it changes, earlier positions mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceEpoch(String);

/// Where the next page of a snapshot begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// [`SnapshotPage::next`] of the page before; its meaning is the source's own.
    pub cursor: String,
    /// The position of the log at which the snapshot began.
    pub checkpoint: SyncOrder,
}

/// A page of a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotPage {
    /// The history that answered.
    pub epoch: SourceEpoch,
    /// The newest position of the log when the snapshot began: changes after it are read next.
    pub checkpoint: SyncOrder,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
    /// The operations, none with a sync order.
    pub operations: Vec<SourceOperation>,
    /// Records that are no operations.
    pub invalid: Vec<InvalidRecord>,
    /// What it took.
    pub spent: Spent,
}

/// A page of the log.
#[derive(Clone, Debug)]
pub struct ChangesPage {
    /// The history that answered.
    pub epoch: SourceEpoch,
    /// The position of the last row of the page, of any kind; `after` where there was none.
    pub next: SyncOrder,
    /// The newest position of the log when the page was read.
    pub checkpoint: SyncOrder,
    /// Whether there are rows after `next`.
    pub more: bool,
    /// The rows that concern operations, by rising position, each position above `after`.
    pub changes: Vec<Change>,
    /// What it took.
    pub spent: Spent,
}

/// A row of the log that concerns an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The source accepted an operation; its sync order is the row's position.
    Added(SourceOperation),
    /// The source removed an operation.
    Removed {
        /// The row's position.
        seq: SyncOrder,
        /// The operation.
        id: OpId,
        /// What it was about.
        object: Object,
    },
    /// The row's record is no operation, or the row cannot be read.
    Invalid(InvalidRecord),
}

/// An operation, and who may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOperation {
    /// The operation.
    pub operation: Operation,
    /// Who may have it, as far as its page shows.
    pub visibility: Visibility,
}

/// Who may have an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Everyone.
    Public,
    /// The source alone.
    Private,
    /// Those who have the operation that created the object, which the page does not show.
    AsItsObject,
}

/// A record that is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRecord {
    /// The stable name of the reason.
    pub reason: Cow<'static, str>,
    /// The row's position, where it has a readable one.
    pub seq: Option<SyncOrder>,
    /// What it would be about, where that can be read.
    pub object: Option<Object>,
    /// The first 4 KiB of the record.
    pub start: Bytes,
    /// The SHA-256 of the whole record.
    pub sha256: [u8; 32],
}

/// The time that a page took. Parts that ran in parallel are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for the source, and reading its answer.
    pub fetch: Duration,
    /// Reading records: keys, canonical forms.
    pub parse: Duration,
    /// Hashes and signatures.
    pub verify: Duration,
}

impl SourceEpoch {
    /// An epoch by its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SourceEpoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Change {
    /// The row's position, where it is known.
    pub fn seq(&self) -> Option<SyncOrder> {
        match self {
            Self::Added(added) => added.operation.sync_order,
            Self::Removed { seq, .. } => Some(*seq),
            Self::Invalid(record) => record.seq,
        }
    }
}

impl InvalidRecord {
    /// How much of a record is kept.
    pub const START_BYTES: usize = 4096;
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.fetch += other.fetch;
        self.parse += other.parse;
        self.verify += other.verify;
    }
}
