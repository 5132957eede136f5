use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use sync_reconcile::Aggregate;
use sync_store::{
    FeedCursor, FeedKind, Known, Limit, OpId, Operation, Payloads, SyncOrder, SyncStore,
    SyncStoreExt, TimeKey, TimeRange, TombstoneReason,
};

use super::expected::Expected;
use crate::count::Count;
use crate::failure::Result;

/// Rows of one step of a walk.
const ROWS: usize = 1_000;
/// The most differences that are listed.
const LISTED: usize = 10;

/// Two stores, compared.
#[derive(Default, Serialize)]
pub(super) struct Compared {
    pub(super) rows: u64,
    /// Those in effect, which are compared.
    #[serde(rename = "tombstonesInEffect")]
    pub(super) tombstones: u64,
    pub(super) fingerprint: String,
    /// Empty where the stores agree with each other and with the log.
    pub(super) differences: Vec<String>,
}

/// Recounts both stores, and compares them with each other and with the log.
pub(super) async fn compare<S: SyncStore>(
    killed: &S,
    undisturbed: &S,
    expected: &Expected,
) -> Result<Compared> {
    let mut differences = Vec::new();
    for (name, store) in [("killed", killed), ("undisturbed", undisturbed)] {
        let findings = store.verify().await?.findings;
        differences.extend(findings.iter().map(|finding| format!("{name}: {finding}")));
    }
    let rows = rows(killed, undisturbed, expected, &mut differences).await?;
    let tombstones = tombstones(killed, undisturbed, expected, &mut differences).await?;
    let more = differences.len().saturating_sub(LISTED);
    differences.truncate(LISTED);
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Ok(Compared {
        rows: rows.count() as u64,
        tombstones,
        fingerprint: rows.fingerprint().to_string(),
        differences,
    })
}

/// Walks the rows of both side by side; answers the aggregate of the first.
async fn rows<S: SyncStore>(
    killed: &S,
    undisturbed: &S,
    expected: &Expected,
    differences: &mut Vec<String>,
) -> Result<Aggregate> {
    let mut aggregates = [Aggregate::EMPTY; 2];
    let (mut left, mut right) = (Walk::new(killed), Walk::new(undisturbed));
    loop {
        let pair = [left.next().await?, right.next().await?];
        for (operation, aggregate) in pair.iter().zip(&mut aggregates) {
            if let Some(operation) = operation {
                *aggregate += &operation.id;
            }
        }
        match pair.into() {
            (None, None) => break,
            (Some(left), Some(right)) if left == right => {
                let order = left.sync_order.map(SyncOrder::value);
                let wanted = expected.orders.get(&left.id).copied();
                if order != wanted {
                    let id = left.id;
                    differences.push(format!(
                        "operation {id} has order {order:?}, and the log says {wanted:?}"
                    ));
                }
            }
            (left, right) => {
                let id = |side: Option<Operation>| side.map(|operation| operation.id.to_string());
                differences.push(format!("rows {:?} and {:?} differ", id(left), id(right)));
            }
        }
    }
    let [killed, undisturbed] = aggregates;
    if killed.fingerprint() != undisturbed.fingerprint() {
        differences.push("the fingerprints differ".to_owned());
    }
    if killed.count() != expected.orders.len() {
        differences.push(format!(
            "there are {}, and the log comes to {}",
            Count(killed.count() as u64, "row"),
            expected.orders.len()
        ));
    }
    Ok(killed)
}

/// Compares the tombstones in effect; answers their number.
async fn tombstones<S: SyncStore>(
    killed: &S,
    undisturbed: &S,
    expected: &Expected,
    differences: &mut Vec<String>,
) -> Result<u64> {
    let (left, right) = (in_effect(killed).await?, in_effect(undisturbed).await?);
    if left != right {
        differences.push("the tombstones in effect differ".to_owned());
    }
    let removed = |(id, seq): (&OpId, &u64)| (*id, (TombstoneReason::Removed, Some(*seq)));
    if !expected
        .removed
        .iter()
        .map(removed)
        .eq(left.iter().map(|(id, stone)| (*id, *stone)))
    {
        differences.push("the tombstones in effect are not those of the log".to_owned());
    }
    Ok(left.len() as u64)
}

/// The tombstones that refuse their operation, with the reason and the source's position.
///
/// Not those of operations that were added again. How many of these there are depends on how a store
/// was filled: a snapshot does not show them.
pub(super) async fn in_effect<S: SyncStore>(
    store: &S,
) -> Result<BTreeMap<OpId, (TombstoneReason, Option<u64>)>> {
    let mut found = BTreeMap::new();
    let mut cursor = FeedCursor::Beginning;
    loop {
        let page = store
            .feed(cursor, Limit::rows(ROWS), Payloads::Skip)
            .await?;
        let ids: Vec<OpId> = page.entries.iter().map(|entry| entry.id).collect();
        for (entry, known) in page.entries.iter().zip(store.known(&ids).await?) {
            let Known::Tombstoned { seq, .. } = known else {
                continue;
            };
            if let FeedKind::Tombstone {
                reason, source_seq, ..
            } = entry.kind
                && seq == entry.seq
            {
                found.insert(entry.id, (reason, source_seq.map(SyncOrder::value)));
            }
        }
        if !page.more {
            return Ok(found);
        }
        cursor = page.next;
    }
}

/// A walk of a store's rows by time.
struct Walk<'a, S> {
    store: &'a S,
    read: VecDeque<Operation>,
    after: Option<TimeKey>,
    ended: bool,
}

impl<'a, S: SyncStore> Walk<'a, S> {
    fn new(store: &'a S) -> Self {
        Self {
            store,
            read: VecDeque::new(),
            after: None,
            ended: false,
        }
    }

    async fn next(&mut self) -> Result<Option<Operation>> {
        while self.read.is_empty() && !self.ended {
            let after = self.after.take();
            let batch = self
                .store
                .scan_time(TimeRange::ALL, after, Limit::rows(ROWS))
                .await?;
            self.read
                .extend(batch.items.into_iter().map(|row| row.operation));
            self.ended = batch.next.is_none();
            self.after = batch.next;
        }
        Ok(self.read.pop_front())
    }
}
