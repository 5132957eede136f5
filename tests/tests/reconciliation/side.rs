//! One store, its index and its sessions.

use std::collections::BTreeSet;

use pollster::block_on;
use sync_core::{
    FeedCursor, FeedKind, Known, Limit, OpId, Operation, Page, Payloads, SyncStore, Ts,
};
use sync_peers::{IndexKeeper, SessionConfig, Sessions};
use sync_store::AnyStore;
use sync_tests::databases::Database;

pub(crate) struct Side {
    pub(crate) keeper: IndexKeeper<AnyStore>,
    /// The other side is called `()`: there is only one.
    pub(crate) sessions: Sessions<()>,
    pub(crate) have: Vec<OpId>,
    pub(crate) need: Vec<OpId>,
}

impl Side {
    pub(crate) fn new(database: &Database) -> Self {
        let store = block_on(database.connect().open(database.space())).unwrap();
        let config = SessionConfig::new().frame_limit(Some(4_096));
        Self {
            keeper: block_on(IndexKeeper::load(store)).unwrap(),
            sessions: Sessions::new(config, fastrand::u64(..)),
            have: Vec::new(),
            need: Vec::new(),
        }
    }

    pub(crate) fn store(&self) -> &AnyStore {
        self.keeper.store()
    }

    /// What it needs and may have: not what it rejected, nor what it has under another time.
    pub(crate) fn wanted(&self) -> Vec<OpId> {
        let known = block_on(self.store().known(&self.need)).unwrap();
        let ids = self.need.iter().zip(known);
        ids.filter(|(_, known)| *known == Known::Unknown)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn get(&self, ids: &[OpId]) -> Vec<Operation> {
        let part = block_on(
            self.store()
                .get(ids, Limit::rows(ids.len()).bytes(usize::MAX)),
        )
        .unwrap();
        assert_eq!(part.next, None);
        let rows = part.rows.into_iter().flatten();
        rows.map(|row| row.operation).collect()
    }

    /// Leaves nothing to the next pair.
    pub(crate) fn empty(self) {
        let _ = block_on(self.store().apply(Page::new().reset())).unwrap();
    }
}

/// The operation number `n`.
pub(crate) fn operation(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[31] = 7;
    // Many at one time, and few at a time.
    let ts = Ts::new(if n.is_multiple_of(3) { 5 } else { n % 900 }).unwrap();
    Operation::new(OpId::new(id), ts, format!("operation {n}"))
}

/// A line for each row, by (ts, id).
pub(crate) fn dump(store: &AnyStore) -> Vec<String> {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let feed = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Include)).unwrap();
    assert!(!feed.more);
    let live = feed
        .entries
        .into_iter()
        .filter_map(|entry| match entry.kind {
            FeedKind::Live { payload, .. } => {
                let ts = entry.ts.unwrap().value();
                Some(format!("{ts:016} {} {:?}", entry.id, payload.unwrap()))
            }
            FeedKind::Tombstone { .. } => None,
        });
    let mut lines: Vec<_> = live.collect();
    lines.sort();
    lines
}

/// The lines of both sides.
pub(crate) fn union(sides: &[Side; 2]) -> BTreeSet<String> {
    let lines = sides.iter().flat_map(|side| dump(side.store()));
    lines.collect()
}
