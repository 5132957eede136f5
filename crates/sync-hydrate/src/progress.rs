use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use sync_core::{SyncOrder, Totals};

use crate::Spent;

/// How far a [`Hydrator`](crate::Hydrator) is, and what it did since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it works on.
    pub phase: Phase,
    /// The position of the log up to which the phase has come; none in a snapshot.
    pub cursor: Option<SyncOrder>,
    /// The position of the log at which the phase ends, as far as known.
    pub checkpoint: Option<SyncOrder>,
    /// Pages read from the source.
    pub pages: u64,
    /// Operations, removals and invalid records read from the source, repetitions included.
    pub records: u64,
    /// What the pages did to the store.
    pub totals: Totals,
    /// Operations that were left out because they are private to the source.
    pub private: u64,
    /// Operations that were left out because nothing shows that they are public.
    pub unshown: u64,
    /// Invalid records, by reason.
    pub invalid: BTreeMap<Cow<'static, str>, u64>,
    /// Pages that were not stored because another hydrator had stored them first.
    pub conflicts: u64,
    /// How often the source had begun a new history, and the space with it.
    pub resets: u64,
    /// Rows that the last run of backfill left without order; known when one has ended.
    pub unordered: Option<u64>,
    /// What the source spent its time on.
    pub spent: Spent,
    /// Time until the store had answered each page. What the source does meanwhile on the thread
    /// of the caller is in it.
    pub stored: Duration,
}

/// A part of hydration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing was read yet.
    #[default]
    New,
    /// What the source holds.
    Snapshot,
    /// What it accepted and removed since.
    Changes,
    /// Backfill, first pass: the last removal of each operation.
    Collect,
    /// Backfill, second pass: orders.
    Order,
    /// Backfill, the end: operations that were removed.
    Settle,
    /// Everything the source had is stored, and its order is known as far as its log reaches.
    Current,
}

/// What one step of hydration was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advance {
    /// A page of the snapshot. There is more to do.
    Snapshot,
    /// A page of changes, or a page that another hydrator had stored first. There is more to do.
    Changes,
    /// The source has nothing more; what it published too recently to be settled is read again,
    /// page by page. There is more to do, and [backfill](crate::Hydrator::backfill) may do its part
    /// first.
    Again,
    /// The source has nothing more now.
    AtTip,
}

/// What one step of backfill was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackfillStep {
    /// A page. There is more to do.
    Page,
    /// Nothing is left to do now.
    Done,
}

impl Phase {
    /// The phase's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Snapshot => "snapshot",
            Self::Changes => "changes",
            Self::Collect => "collect",
            Self::Order => "order",
            Self::Settle => "settle",
            Self::Current => "current",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
