//! Everything that a space holds, as lists that compare.

use pollster::block_on;
use sync_core::{
    FeedCursor, FeedEntry, FeedKind, Limit, Operation, Payloads, Seq, StateEntry, SyncStore,
    TimeRange,
};

/// Rows by time, tombstones by seq, state by key. Without seqs and epoch, which differ between two
/// histories of the same content.
#[derive(Debug, PartialEq)]
pub(crate) struct Dump {
    pub(crate) rows: Vec<Operation>,
    pub(crate) tombstones: Vec<FeedEntry>,
    pub(crate) state: Vec<StateEntry>,
}

pub(crate) fn dump(store: &impl SyncStore) -> Dump {
    Dump {
        rows: rows(store),
        tombstones: tombstones(store),
        state: state(store),
    }
}

fn rows(store: &impl SyncStore) -> Vec<Operation> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let batch = block_on(store.scan_time(TimeRange::ALL, after, Limit::rows(10_000))).unwrap();
        rows.extend(batch.items.into_iter().map(|row| row.operation));
        after = batch.next;
        if after.is_none() {
            return rows;
        }
    }
}

fn tombstones(store: &impl SyncStore) -> Vec<FeedEntry> {
    let (mut entries, mut after) = (Vec::new(), FeedCursor::Beginning);
    loop {
        let page = block_on(store.feed(after, Limit::rows(10_000), Payloads::Skip)).unwrap();
        let dead = page
            .entries
            .into_iter()
            .filter(|entry| matches!(entry.kind, FeedKind::Tombstone { .. }))
            .map(|entry| FeedEntry {
                seq: Seq::ZERO,
                ..entry
            });
        entries.extend(dead);
        after = page.next;
        if !page.more {
            return entries;
        }
    }
}

fn state(store: &impl SyncStore) -> Vec<StateEntry> {
    let (mut entries, mut after) = (Vec::new(), None);
    loop {
        let batch = block_on(store.list("", after.as_ref(), Limit::rows(1_000))).unwrap();
        entries.extend(batch.items);
        after = batch.next;
        if after.is_none() {
            return entries;
        }
    }
}
