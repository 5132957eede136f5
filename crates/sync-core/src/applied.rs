use crate::{Seq, SyncOrder};

/// What a page did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Applied {
    /// One outcome for each lift, in input order.
    pub lifts: Vec<LiftOutcome>,
    /// One outcome for each delete, in input order.
    pub deletes: Vec<DeleteOutcome>,
    /// One outcome for each upsert, in input order.
    pub upserts: Vec<UpsertOutcome>,
    /// One outcome for each backfill, in input order.
    pub backfills: Vec<BackfillOutcome>,
    /// The seqs the page minted, or `None` where it minted none.
    pub seqs: Option<SeqRange>,
}

/// What became of one lift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiftOutcome {
    /// The tombstone's veto is gone; the id is unknown again.
    Lifted,
    /// No tombstone stood for the id.
    NotTombstoned,
}

/// What became of one delete. The first line that fits, in the order of the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The row is of another object than the one named, and was left alone.
    OtherObject,
    /// The row's order is at or above the delete's source seq; it was left alone.
    Superseded,
    /// The row is gone. New seq.
    Deleted,
    /// A tombstone stood already and keeps the higher source seq. No new seq.
    AlreadyDeleted,
    /// The id was unknown and now has a tombstone. New seq.
    Rejected,
    /// The id is unknown; nothing was written.
    Unknown,
}

/// What became of one upsert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpsertOutcome {
    /// Another record stands under the id; nothing was set, the order neither.
    Divergent,
    /// Another record stood under the id and was deleted for this one. Two new seqs.
    Replaced,
    /// The same record stands, with the same order or the input had none.
    Unchanged,
    /// The same record stood without order and now has one. No seq, no feed entry.
    Ordered,
    /// The same record stands with another order, which stays.
    OrderConflict {
        /// The order that stands.
        stored: SyncOrder,
    },
    /// A tombstone stands against it.
    Tombstoned,
    /// A new row. New seq.
    Inserted,
}

/// What became of one backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackfillOutcome {
    /// The row had this order already.
    Unchanged,
    /// The row had none and now has it. No seq, no feed entry.
    Ordered,
    /// The row has another order, which stays.
    OrderConflict {
        /// The order that stands.
        stored: SyncOrder,
    },
    /// A tombstone stands for the id.
    Tombstoned,
    /// The id is unknown. A backfill never inserts.
    Unknown,
}

/// The seqs one page minted, both ends included.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqRange {
    /// The first.
    pub first: Seq,
    /// The last; the space's head after the page.
    pub last: Seq,
}

/// How often each outcome occurred in a page.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows that came: [`UpsertOutcome::Inserted`].
    pub inserted: u64,
    /// Rows replaced by another record: [`UpsertOutcome::Replaced`].
    pub replaced: u64,
    /// Rows that got their order, by upsert or backfill.
    pub ordered: u64,
    /// Upserts and backfills that changed nothing.
    pub unchanged: u64,
    /// Upserts and backfills that named another order than the stored one.
    pub order_conflicts: u64,
    /// [`UpsertOutcome::Divergent`].
    pub divergent: u64,
    /// Upserts and backfills that met a tombstone.
    pub tombstoned: u64,
    /// Rows that went: [`DeleteOutcome::Deleted`].
    pub deleted: u64,
    /// Unknown ids that got a tombstone.
    pub rejected: u64,
    /// [`DeleteOutcome::AlreadyDeleted`].
    pub already_deleted: u64,
    /// [`DeleteOutcome::Superseded`].
    pub superseded: u64,
    /// [`DeleteOutcome::OtherObject`].
    pub other_object: u64,
    /// Deletes and backfills of unknown ids.
    pub unknown: u64,
    /// Tombstones whose veto was taken back.
    pub lifted: u64,
}

impl Applied {
    /// Counts the outcomes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for outcome in &self.lifts {
            if *outcome == LiftOutcome::Lifted {
                totals.lifted += 1;
            }
        }
        for outcome in &self.deletes {
            *match outcome {
                DeleteOutcome::OtherObject => &mut totals.other_object,
                DeleteOutcome::Superseded => &mut totals.superseded,
                DeleteOutcome::Deleted => &mut totals.deleted,
                DeleteOutcome::AlreadyDeleted => &mut totals.already_deleted,
                DeleteOutcome::Rejected => &mut totals.rejected,
                DeleteOutcome::Unknown => &mut totals.unknown,
            } += 1;
        }
        for outcome in &self.upserts {
            *match outcome {
                UpsertOutcome::Divergent => &mut totals.divergent,
                UpsertOutcome::Replaced => &mut totals.replaced,
                UpsertOutcome::Unchanged => &mut totals.unchanged,
                UpsertOutcome::Ordered => &mut totals.ordered,
                UpsertOutcome::OrderConflict { .. } => &mut totals.order_conflicts,
                UpsertOutcome::Tombstoned => &mut totals.tombstoned,
                UpsertOutcome::Inserted => &mut totals.inserted,
            } += 1;
        }
        for outcome in &self.backfills {
            *match outcome {
                BackfillOutcome::Unchanged => &mut totals.unchanged,
                BackfillOutcome::Ordered => &mut totals.ordered,
                BackfillOutcome::OrderConflict { .. } => &mut totals.order_conflicts,
                BackfillOutcome::Tombstoned => &mut totals.tombstoned,
                BackfillOutcome::Unknown => &mut totals.unknown,
            } += 1;
        }
        totals
    }
}

impl SeqRange {
    /// How many seqs the page minted.
    pub fn count(&self) -> u64 {
        self.last.value() - self.first.value() + 1
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.inserted += other.inserted;
        self.replaced += other.replaced;
        self.ordered += other.ordered;
        self.unchanged += other.unchanged;
        self.order_conflicts += other.order_conflicts;
        self.divergent += other.divergent;
        self.tombstoned += other.tombstoned;
        self.deleted += other.deleted;
        self.rejected += other.rejected;
        self.already_deleted += other.already_deleted;
        self.superseded += other.superseded;
        self.other_object += other.other_object;
        self.unknown += other.unknown;
        self.lifted += other.lifted;
    }
}
