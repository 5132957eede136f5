//! What a store holds, compared with what it should.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use pollster::block_on;
use sync_core::{
    Bytes, FeedCursor, FeedKind, Known, Limit, Object, OpId, Operation, Payloads, Seq, StateEntry,
    SyncOrder, SyncStore, TimeRange, TombstoneReason, Ts,
};

/// What every path must lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) rows: BTreeMap<OpId, RowDump>,
    /// The tombstones that stand.
    pub(crate) tombstones: BTreeMap<OpId, TombstoneDump>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowDump {
    pub(crate) order: Option<SyncOrder>,
    pub(crate) ts: Ts,
    pub(crate) object: Option<Object>,
    pub(crate) payload: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TombstoneDump {
    pub(crate) source_seq: Option<SyncOrder>,
    pub(crate) reason: TombstoneReason,
    pub(crate) object: Option<Object>,
}

/// Everything of a store that a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) end: End,
    /// Every tombstone of the feed, without its local seq.
    pub(crate) buried: Vec<(OpId, TombstoneDump)>,
    pub(crate) head: Seq,
    pub(crate) state: Vec<StateEntry>,
}

impl RowDump {
    pub(crate) fn of(operation: &Operation) -> Self {
        Self {
            order: operation.sync_order,
            ts: operation.ts,
            object: operation.object.clone(),
            payload: operation.payload.clone(),
        }
    }
}

pub(crate) fn dump(store: &impl SyncStore) -> Dump {
    block_on(async {
        let everything = Limit::rows(1_000_000).bytes(1 << 30);
        let feed = store
            .feed(FeedCursor::Beginning, everything, Payloads::Include)
            .await
            .unwrap();
        assert!(!feed.more);
        let mut rows = BTreeMap::new();
        let mut buried = Vec::new();
        for entry in feed.entries {
            match entry.kind {
                FeedKind::Live {
                    sync_order,
                    payload,
                } => {
                    let row = RowDump {
                        order: sync_order,
                        ts: entry.ts.unwrap(),
                        object: entry.object,
                        payload: payload.unwrap(),
                    };
                    assert_eq!(rows.insert(entry.id, row), None, "{} lives twice", entry.id);
                }
                FeedKind::Tombstone {
                    reason, source_seq, ..
                } => buried.push((
                    entry.id,
                    TombstoneDump {
                        source_seq,
                        reason,
                        object: entry.object,
                    },
                )),
            }
        }
        let ids: Vec<_> = buried.iter().map(|(id, _)| *id).collect();
        let known = store.known(&ids).await.unwrap();
        let tombstones = std::iter::zip(&buried, known)
            .filter_map(|((id, newest), known)| match known {
                Known::Tombstoned {
                    reason, source_seq, ..
                } => Some((
                    *id,
                    TombstoneDump {
                        source_seq,
                        reason,
                        object: newest.object.clone(),
                    },
                )),
                Known::Live { .. } | Known::Unknown => None,
            })
            .collect();
        let scanned = store
            .scan_time(TimeRange::ALL, None, everything)
            .await
            .unwrap();
        let scanned: BTreeMap<_, _> = scanned
            .items
            .iter()
            .map(|row| (row.operation.id, RowDump::of(&row.operation)))
            .collect();
        assert_eq!(rows, scanned, "the feed and the scan differ");
        let stats = store.stats().await.unwrap();
        let ordered = rows.values().filter(|row| row.order.is_some()).count();
        assert_eq!(
            (stats.total, stats.ordered),
            (rows.len() as u64, ordered as u64)
        );
        let entries = store.list("", None, everything).await.unwrap();
        buried.sort();
        Dump {
            end: End { rows, tombstones },
            buried,
            head: stats.head,
            state: entries.items,
        }
    })
}

/// Asserts that `store` ended as it must.
#[track_caller]
pub(crate) fn assert_end(store: &impl SyncStore, expected: &End, context: &str) {
    assert_same_end(&dump(store).end, expected, context);
}

/// Asserts equal rows, orders and standing tombstones.
#[track_caller]
pub(crate) fn assert_same_end(found: &End, expected: &End, context: &str) {
    let mut differences = differing(&found.rows, &expected.rows);
    differences.extend(differing(&found.tombstones, &expected.tombstones));
    assert!(
        differences.is_empty(),
        "{context}\n{}",
        differences.join("\n")
    );
}

/// Asserts equal rows, orders and tombstones, those that no longer stand included.
#[track_caller]
pub(crate) fn assert_same(found: &Dump, expected: &Dump, context: &str) {
    assert_same_end(&found.end, &expected.end, context);
    assert_eq!(found.buried, expected.buried, "{context}");
}

fn differing<T: Debug + PartialEq>(
    found: &BTreeMap<OpId, T>,
    expected: &BTreeMap<OpId, T>,
) -> Vec<String> {
    let ids: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    ids.into_iter()
        .filter(|id| found.get(id) != expected.get(id))
        .map(|id| {
            let [found, expected] = [found, expected].map(|of| match of.get(id) {
                Some(entry) => format!("{entry:?}"),
                None => "none".to_owned(),
            });
            format!("  {id}\n    found    {found}\n    expected {expected}")
        })
        .collect()
}
