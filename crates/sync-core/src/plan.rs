//! What a page does, worked out before anything of it is written.
//!
//! A database that is reached over a network should not be asked about one operation at a time. Its
//! backend locks the space, looks up [everything the page names](Before) in a few statements, lets
//! [`Plan::new`] [`play`] the page over maps in memory, and writes what the plan says in
//! a few more statements.

mod maps;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::play::{self, SpaceRow};
use crate::{
    Applied, Digest, Error, ErrorKind, Object, OpId, Page, Result, Seq, StateChange, StateKey,
    SyncOrder, Ts,
};
use maps::Maps;

pub use crate::play::{Counters, NewTombstone, StoredTombstone};

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
        if digests.len() != page.upserts.len() {
            return Err(Error::new(ErrorKind::Failed)
                .with_message("a page was planned with digests that are not its own"));
        }
        let mut space = SpaceRow {
            head: before.head,
            counters: before.counters,
        };
        let mut maps = Maps::new(page, before);
        let played = play::play(page, digests.iter().copied(), &mut space, &mut maps)?;
        Ok(maps.into_plan(page.reset, space, played))
    }
}

#[cfg(test)]
mod tests;
