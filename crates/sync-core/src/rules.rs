//! The table of outcomes: what one input does to one id.
//!
//! Pure functions from the state of an id to an [outcome](crate::UpsertOutcome). A backend looks the
//! state up, asks here, and writes what the outcome says; [`play`](crate::play) does that for a whole
//! page. A backend that has to decide inside its database (a script, a statement) is held to the same
//! table by the conformance suite.

use crate::{
    BackfillOutcome, Delete, DeleteOutcome, Digest, LiftOutcome, Object, SyncOrder,
    TombstoneReason, UpsertOutcome,
};

/// The state of an id: a row, of which `Row` says as much as the rule needs, the newest
/// tombstone, or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdState<Row> {
    /// No row, and no tombstone or one that was lifted.
    Unknown,
    /// A row. Tombstones from before it no longer matter.
    Live(Row),
    /// No row, and a tombstone that was not lifted.
    Tombstoned(Tombstone),
}

/// What the rules ask of a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Why the id is gone.
    pub reason: TombstoneReason,
    /// The highest source seq of the deletes that met it.
    pub source_seq: Option<SyncOrder>,
    /// The page that now brings the id has written this tombstone itself.
    pub by_this_page: bool,
}

/// What a delete asks of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletable<'a> {
    /// The row's object, as its bytes; `None` where it has none.
    pub object: Option<&'a [u8]>,
    /// The row's order.
    pub sync_order: Option<SyncOrder>,
}

/// What an upsert asks of a row, and what it brings itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Digest of ts, object and payload.
    pub digest: Digest,
    /// The order.
    pub sync_order: Option<SyncOrder>,
}

/// What the page allows its upserts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// See [`Page::replace`](crate::Page::replace).
    pub replace: bool,
    /// See [`Page::revive`](crate::Page::revive).
    pub revive: bool,
}

impl From<&crate::Page> for Policy {
    fn from(page: &crate::Page) -> Self {
        Self {
            replace: page.replace,
            revive: page.revive,
        }
    }
}

/// Whether a prune leaves this tombstone: an operator's, until it is lifted.
///
/// No page passes such a tombstone, so it is the newest one of its id and the id has no row.
pub fn outlives_prune(reason: TombstoneReason, lifted: bool) -> bool {
    reason == TombstoneReason::Operator && !lifted
}

/// The outcome of a lift.
pub fn lift<Row>(state: &IdState<Row>) -> LiftOutcome {
    match state {
        IdState::Tombstoned(_) => LiftOutcome::Lifted,
        IdState::Live(_) | IdState::Unknown => LiftOutcome::NotTombstoned,
    }
}

/// The outcome of a delete.
pub fn delete(state: &IdState<Deletable<'_>>, delete: &Delete) -> DeleteOutcome {
    match state {
        IdState::Live(row) => {
            let named = delete.object.as_ref().map(Object::as_bytes);
            if named.is_some() && named != row.object {
                DeleteOutcome::OtherObject
            } else if at_or_above(row.sync_order, delete.source_seq) {
                DeleteOutcome::Superseded
            } else {
                DeleteOutcome::Deleted
            }
        }
        IdState::Tombstoned(_) => DeleteOutcome::AlreadyDeleted,
        IdState::Unknown if delete.reject => DeleteOutcome::Rejected,
        IdState::Unknown => DeleteOutcome::Unknown,
    }
}

/// The source seq a tombstone has after another delete of its id: the higher one.
pub fn merged_source_seq(
    stored: Option<SyncOrder>,
    incoming: Option<SyncOrder>,
) -> Option<SyncOrder> {
    stored.max(incoming)
}

/// The outcome of an upsert.
pub fn upsert(state: &IdState<Record>, input: Record, policy: Policy) -> UpsertOutcome {
    match state {
        IdState::Live(row) if row.digest != input.digest => {
            if policy.replace {
                UpsertOutcome::Replaced
            } else {
                UpsertOutcome::Divergent
            }
        }
        IdState::Live(row) => match (row.sync_order, input.sync_order) {
            (_, None) => UpsertOutcome::Unchanged,
            (None, Some(_)) => UpsertOutcome::Ordered,
            (Some(stored), Some(order)) if stored == order => UpsertOutcome::Unchanged,
            (Some(stored), Some(_)) => UpsertOutcome::OrderConflict { stored },
        },
        IdState::Tombstoned(tombstone) if keeps_away(tombstone, input.sync_order, policy) => {
            UpsertOutcome::Tombstoned
        }
        IdState::Tombstoned(_) | IdState::Unknown => UpsertOutcome::Inserted,
    }
}

/// The order of a row that replaces one with `stored`: the input's, else the stored one, because
/// a source that brings another record without saying where did not move the id.
pub fn replaced_order(stored: Option<SyncOrder>, incoming: Option<SyncOrder>) -> Option<SyncOrder> {
    incoming.or(stored)
}

/// The outcome of a backfill with `order`, from the order of the live row.
pub fn backfill(state: &IdState<Option<SyncOrder>>, order: SyncOrder) -> BackfillOutcome {
    match state {
        IdState::Live(None) => BackfillOutcome::Ordered,
        IdState::Live(Some(stored)) if *stored == order => BackfillOutcome::Unchanged,
        IdState::Live(Some(stored)) => BackfillOutcome::OrderConflict { stored: *stored },
        IdState::Tombstoned(_) => BackfillOutcome::Tombstoned,
        IdState::Unknown => BackfillOutcome::Unknown,
    }
}

/// Whether a tombstone keeps its id away from an upsert with `order`. It yields only to a page that may
/// pass it, and then only above its source seq; an operator's yields to none.
pub fn keeps_away(tombstone: &Tombstone, order: Option<SyncOrder>, policy: Policy) -> bool {
    let may_pass = policy.revive || tombstone.by_this_page;
    let above = tombstone.source_seq.is_none() || order > tombstone.source_seq;
    !may_pass || !above || tombstone.reason == TombstoneReason::Operator
}

/// Of two actions of a source on an id the higher holds. Without both numbers there is nothing to
/// compare, and the delete acts.
fn at_or_above(order: Option<SyncOrder>, source_seq: Option<SyncOrder>) -> bool {
    matches!((order, source_seq), (Some(order), Some(source_seq)) if order >= source_seq)
}

#[cfg(test)]
mod tests;
