use std::collections::{BTreeMap, HashMap};

use sync_mdip::{Record, local};
use sync_mdip_simulator::{Change, Log};
use sync_store::OpId;

use crate::failure::{Failure, Result};

/// What a store has to end with, read off the log row by row and by nothing else: no page, no
/// snapshot, no backfill.
#[derive(Default)]
pub(super) struct Expected {
    /// The position of each operation that is there: of its first addition after its last removal.
    pub(super) orders: BTreeMap<OpId, u64>,
    /// The position of the last removal of each operation that is not.
    pub(super) removed: BTreeMap<OpId, u64>,
}

impl Expected {
    /// What `log` comes to, without the DIDs that are private to it.
    pub(super) fn of(log: &Log) -> Result<Self> {
        let mut expected = Self::default();
        let mut scopes = HashMap::new();
        for row in log.rows() {
            match &row.change {
                Change::Accepted { did, event } => {
                    let read = || Record::parse(event.operation().as_bytes());
                    let id = id(event.hash().unwrap_or_default())?;
                    if !scopes.contains_key(did) {
                        let record = read().map_err(|why| Failure::input(why.to_string()))?;
                        scopes.insert(did.clone(), local::scope(&record));
                    }
                    if scopes.get(did) == Some(&Some(local::Scope::Public)) {
                        expected.orders.entry(id).or_insert(row.seq);
                        expected.removed.remove(&id);
                    }
                }
                Change::Removed { hash, .. } => {
                    let id = id(hash)?;
                    expected.orders.remove(&id);
                    expected.removed.insert(id, row.seq);
                }
                Change::Confirmed { .. }
                | Change::Block { .. }
                | Change::Raw { .. }
                | Change::Unseen => {}
            }
        }
        Ok(expected)
    }
}

fn id(hash: &str) -> Result<OpId> {
    Ok(hash.parse()?)
}
