//! Cutting a page of the log into pages of the store.

use std::collections::{HashSet, VecDeque};

use sync_core::{Object, OpId, SyncOrder};

use crate::{Change, InvalidRecord, SourceOperation, Visibility};

/// Payloads of one store page; a page of the log may hold more than a store takes at once.
pub(super) const BYTES: usize = 16 << 20;
/// Rows of one store page.
pub(super) const ROWS: usize = 20_000;
/// Rows of one store page while backfill runs, when each may change a state key.
const ROWS_BESIDE_BACKFILL: usize = 400;

/// Rows of the log that one store page can hold.
#[derive(Debug, Default)]
pub(super) struct Segment {
    pub(super) removed: Vec<Removed>,
    pub(super) added: Vec<SourceOperation>,
    pub(super) invalid: Vec<InvalidRecord>,
    /// The position of its last row.
    pub(super) last: Option<SyncOrder>,
}

/// A removal of the log.
#[derive(Clone, Debug)]
pub(super) struct Removed {
    pub(super) seq: SyncOrder,
    pub(super) id: OpId,
    pub(super) object: Object,
}

/// Takes rows from the front, as many as have the same effect in one store page as one after another.
///
/// A page deletes before it inserts. So it ends before a row that removes what an earlier row of the
/// page added, and before a row whose admission depends on what an earlier row of the page removed.
pub(super) fn next(rows: &mut VecDeque<Change>, beside_backfill: bool) -> Segment {
    let most = if beside_backfill {
        ROWS_BESIDE_BACKFILL
    } else {
        ROWS
    };
    let mut segment = Segment::default();
    let (mut added, mut removed) = (HashSet::new(), HashSet::new());
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.front() {
        let depends = match row {
            Change::Added(row) => {
                let object = row.operation.object.as_ref();
                bytes += row.operation.payload.len();
                row.visibility == Visibility::AsItsObject
                    && object.is_some_and(|object| removed.contains(object))
            }
            Change::Removed { id, .. } => added.contains(id),
            Change::Invalid(_) => false,
        };
        if depends || count == most || (bytes > BYTES && count > 0) {
            break;
        }
        count += 1;
        segment.last = row.seq().or(segment.last);
        match rows.pop_front() {
            Some(Change::Added(row)) => {
                added.insert(row.operation.id);
                segment.added.push(row);
            }
            Some(Change::Removed { seq, id, object }) => {
                removed.insert(object.clone());
                segment.removed.push(Removed { seq, id, object });
            }
            Some(Change::Invalid(record)) => segment.invalid.push(record),
            None => {}
        }
    }
    segment
}

#[cfg(test)]
mod tests;
