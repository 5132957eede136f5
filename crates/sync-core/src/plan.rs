//! What a page does, worked out before anything of it is written.
//!
//! A database that is reached over a network should not be asked about one operation at a time. Its
//! backend locks the space, looks up [everything the page names](Before) in a few statements, lets
//! [`Plan::new`] apply the [rules](crate::rules) to it in memory, each input on what the ones before
//! it left, and writes what the plan says in a few more.
//!
//! Pure functions, as the rules are. The conformance suite holds every backend to the same table,
//! whether it plans here or decides inside its database.

mod writing;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::{
    Applied, Digest, Error, ErrorKind, Mismatch, Object, OpId, Page, Precondition, Result, Seq,
    StateChange, StateKey, SyncOrder, TombstoneReason, Ts,
};
use writing::Writing;

/// What is stored of everything that a page names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// The newest seq.
    pub head: Seq,
    /// The space's counters.
    pub counters: Counters,
    /// The rows that the page's ids have.
    pub rows: HashMap<OpId, StoredRow>,
    /// Of each of the page's ids the newest tombstone, unless that one was lifted. Only those of
    /// ids without a row are ever asked for.
    pub tombstones: HashMap<OpId, StoredTombstone>,
    /// What the keys of the page's preconditions and state changes hold.
    pub state: HashMap<StateKey, Bytes>,
}

/// The counters a space keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows.
    pub total: u64,
    /// Rows with a sync order.
    pub ordered: u64,
    /// Tombstones.
    pub tombstones: u64,
}

/// What a plan has to know of a stored row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its claimed time.
    pub ts: Ts,
    /// Its order.
    pub sync_order: Option<SyncOrder>,
    /// The digest it was inserted with.
    pub digest: Digest,
    /// Its object. Only a page that deletes or [replaces](Page::replace) asks for it.
    pub object: Option<Object>,
}

/// What a plan has to know of a stored tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTombstone {
    /// Its seq.
    pub seq: Seq,
    /// Why its id is gone.
    pub reason: TombstoneReason,
    /// The highest source seq of the deletes that met it.
    pub source_seq: Option<SyncOrder>,
}

/// What a page does: its outcomes, and what is to be written.
///
/// The lists name each stored row and tombstone at most once, and nothing that the page itself
/// made and took away again. Removals come first: a row may be removed and inserted anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What the page answers.
    pub applied: Applied,
    /// Whether anything is to be committed, if only a new head. A page that sets a key and removes
    /// it again has changed something too.
    pub changed: bool,
    /// Whether rows, tombstones and state of before are gone, under a new epoch and incarnation.
    /// The other lists then name none of them.
    pub reset: bool,
    /// The newest seq afterwards.
    pub head: Seq,
    /// The counters afterwards.
    pub counters: Counters,
    /// Stored tombstones that are lifted.
    pub lifted: Vec<Seq>,
    /// Stored tombstones whose source seq rises.
    pub raised: BTreeMap<Seq, SyncOrder>,
    /// Stored rows that go.
    pub removed: Vec<OpId>,
    /// New tombstones, by seq.
    pub tombstones: Vec<NewTombstone>,
    /// New rows, by seq.
    pub inserted: Vec<NewRow>,
    /// Stored rows that get an order.
    pub ordered: BTreeMap<OpId, SyncOrder>,
    /// What the state keys hold afterwards, each key once.
    pub state: Vec<StateChange>,
}

/// A tombstone to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTombstone {
    /// Its seq.
    pub seq: Seq,
    /// The id that is gone.
    pub id: OpId,
    /// The row's time, or what the delete says where there was no row.
    pub ts: Option<Ts>,
    /// The row's object, or the delete's where there was no row.
    pub object: Option<Object>,
    /// Why.
    pub reason: TombstoneReason,
    /// The highest source seq of the deletes that met it.
    pub source_seq: Option<SyncOrder>,
}

/// A row to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// The index in the page's upserts of the operation it holds.
    pub upsert: usize,
    /// Its seq.
    pub seq: Seq,
    /// Its order, which need not be the operation's own.
    pub sync_order: Option<SyncOrder>,
    /// The operation's digest.
    pub digest: Digest,
}

impl Plan {
    /// Works out what `page` does to a space. `digests` are those of its upserts, in order.
    ///
    /// - [`Conflict`](ErrorKind::Conflict) where the state is not what the preconditions expect.
    /// - [`Exhausted`](ErrorKind::Exhausted) where the page needs a seq past the last one.
    /// - [`Corrupt`](ErrorKind::Corrupt) where a counter is lower than what it counts.
    pub fn new(page: &Page, digests: &[Digest], before: Before) -> Result<Self> {
        check_preconditions(&page.preconditions, &before.state)?;
        Writing::begin(page, before).page(page, digests)
    }
}

impl Counters {
    fn less(count: &mut u64, by: u64) -> Result<()> {
        *count = count.checked_sub(by).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt).with_message("a counter of the space is too low")
        })?;
        Ok(())
    }
}

fn check_preconditions(
    preconditions: &[Precondition],
    state: &HashMap<StateKey, Bytes>,
) -> Result<()> {
    let mismatches: Vec<_> = preconditions
        .iter()
        .filter_map(|Precondition { key, expected }| {
            let found = state.get(key);
            (found != expected.as_ref()).then(|| Mismatch {
                key: key.clone(),
                found: found.cloned(),
            })
        })
        .collect();
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(Error::conflict(mismatches))
    }
}

#[cfg(test)]
mod tests;
