//! The largest page becomes visible at one point.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/server.rs"]
mod server;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use pollster::block_on;
use server::TestDatabase;
use sync_core::{
    Backend, Delete, FeedCursor, Known, Limit, OpId, Operation, Page, Payloads, SpaceName,
    StateKey, Stats, SyncOrder, SyncState, SyncStore, SyncStoreExt, TombstoneReason, Ts, limits,
};
use sync_mongo::{MongoBackend, MongoConfig, MongoStore};

/// Operations that stand before the page, which deletes half of them.
const BEFORE: u64 = 1_000;
const DELETED: u64 = BEFORE / 2;
const INSERTED: u64 = limits::PAGE_OPERATIONS as u64 - DELETED;

fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    OpId::new(bytes)
}

fn operation(n: u64) -> Operation {
    let payload = format!("the payload of operation {n}");
    Operation::new(id(n), Ts::new(n % 1_000).unwrap(), payload).at(SyncOrder::new(n + 1).unwrap())
}

fn key() -> StateKey {
    StateKey::new("cursor").unwrap()
}

/// A handle with connections of its own.
fn open(config: &MongoConfig) -> MongoStore {
    let backend = block_on(MongoBackend::connect(config.clone())).unwrap();
    let space = SpaceName::new("s").unwrap();
    block_on(backend.open(&space)).unwrap()
}

/// How much of the page one look saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Everything,
}

impl Seen {
    fn of(what: &str, found: u64, nothing: u64, everything: u64) -> Self {
        match found {
            found if found == nothing => Self::Nothing,
            found if found == everything => Self::Everything,
            found => panic!("{what}: {found} is neither {nothing} nor {everything}"),
        }
    }
}

/// Looks once in every way, each of which may come later than the one before it, and never earlier.
fn look(store: &MongoStore, before: &Stats, cursor: FeedCursor) -> [Seen; 4] {
    let stats = block_on(store.stats()).unwrap();
    let after = (
        BEFORE - DELETED + INSERTED,
        DELETED,
        BEFORE + DELETED + INSERTED,
    );
    let counters = if stats == *before {
        Seen::Nothing
    } else {
        let found = (stats.total, stats.tombstones, stats.head.value());
        assert_eq!(found, after, "stats are of neither side");
        assert_eq!(stats.ordered, stats.total);
        Seen::Everything
    };
    let feed = block_on(store.feed(cursor, Limit::rows(usize::MAX), Payloads::Skip)).unwrap();
    let entries = feed.entries.len() as u64;
    let [last, gone] = [id(BEFORE + INSERTED - 1), id(0)];
    let known = block_on(store.known(&[last, gone])).unwrap();
    let looked_up = match known.as_slice() {
        [Known::Unknown, Known::Live { .. }] => Seen::Nothing,
        [Known::Live { .. }, Known::Tombstoned { .. }] => Seen::Everything,
        other => panic!("half of a page: {other:?}"),
    };
    let value = block_on(store.load(&key())).unwrap();
    let cursor = Seen::of(
        "the cursor",
        value.map_or(0, |value| value.len() as u64),
        0,
        3,
    );
    [
        counters,
        Seen::of("entries of the feed", entries, 0, DELETED + INSERTED),
        looked_up,
        cursor,
    ]
}

#[test]
fn a_page_of_100_000_operations_is_seen_whole_or_not_at_all() {
    let database = TestDatabase::new();
    let config = database.config();
    let _ = block_on(MongoBackend::migrate(&config)).unwrap();
    let store = open(&config);
    let _ = block_on(store.apply(Page::new().upserts((0..BEFORE).map(operation)))).unwrap();
    let before = block_on(store.stats()).unwrap();
    let beginning = FeedCursor::Beginning;
    let cursor = block_on(store.feed(beginning, Limit::rows(usize::MAX), Payloads::Skip))
        .unwrap()
        .next;
    let page = (0..DELETED)
        .fold(Page::new(), |page, n| {
            page.delete(Delete::new(id(n), TombstoneReason::Removed))
        })
        .upserts((BEFORE..BEFORE + INSERTED).map(operation))
        .set(key(), "end");
    assert_eq!(page.operations(), limits::PAGE_OPERATIONS);

    // The handle that writes, and one with connections of its own, are asked in turn.
    let readers = [store.clone(), open(&config)];
    let answered = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let watch = || {
            let (mut while_nothing, mut seen_all) = (0_u64, false);
            for store in readers.iter().cycle() {
                // Asked before the look: what was answered before it must be seen by it.
                let must = answered.load(Ordering::SeqCst);
                for seen in look(store, &before, cursor) {
                    let whole = seen == Seen::Everything;
                    assert!(
                        whole || !(seen_all || must),
                        "the page was seen, or answered, before"
                    );
                    seen_all |= whole;
                }
                if must {
                    break;
                }
                while_nothing += u64::from(!seen_all);
            }
            while_nothing
        };
        let reader = scope.spawn(watch);
        let began = Instant::now();
        let applied = block_on(store.apply(page)).unwrap();
        answered.store(true, Ordering::SeqCst);
        println!("the page took {:?}", began.elapsed());
        assert_eq!(
            (applied.totals().inserted, applied.totals().deleted),
            (INSERTED, DELETED)
        );
        reader.join().unwrap()
    });
    println!("{looks} looks saw nothing of it, all later ones the whole");
    assert!(looks >= 10, "only {looks} looks while the page was written");
    assert!(block_on(store.verify()).unwrap().is_clean());
}
