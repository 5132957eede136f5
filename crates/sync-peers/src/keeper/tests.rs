use std::thread;

use pollster::block_on;
use sync_core::{
    Backend, Delete, FeedCursor, Limit, OpId, Operation, Page, Seq, SpaceName, SyncStore, TimeKey,
    TimeRange, TombstoneReason, Ts,
};
use sync_memory::{MemoryBackend, MemoryConfig, MemoryStore};

use super::{IndexCheck, IndexKeeper};

fn store() -> MemoryStore {
    let backend = block_on(MemoryBackend::connect(MemoryConfig::default())).unwrap();
    block_on(backend.open(&SpaceName::new("space").unwrap())).unwrap()
}

fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    OpId::new(bytes)
}

fn operation(n: u64, ts: u64) -> Operation {
    Operation::new(id(n), Ts::new(ts).unwrap(), format!("{n} at {ts}"))
}

fn operations(range: std::ops::Range<u64>) -> Page {
    Page::new().upserts(range.map(|n| operation(n, n % 7)))
}

fn delete(n: u64) -> Delete {
    Delete::new(id(n), TombstoneReason::Removed)
}

fn apply(store: &impl SyncStore, page: Page) {
    let _ = block_on(store.apply(page)).unwrap();
}

fn keys(store: &impl SyncStore) -> Vec<TimeKey> {
    let walk = store.scan_keys(TimeRange::ALL, None, Limit::rows(usize::MAX));
    block_on(walk).unwrap().items
}

/// Catches up and compares with the store.
#[track_caller]
fn caught_up(keeper: &mut IndexKeeper<MemoryStore>) {
    block_on(keeper.catch_up()).unwrap();
    let found: Vec<_> = keeper.snapshot().iter().collect();
    assert_eq!(found, keys(&keeper.store));
}

#[test]
fn an_index_follows_every_kind_of_change() {
    let store = store();
    let mut keeper = block_on(IndexKeeper::load(store.clone())).unwrap();
    assert_eq!(keeper.cursor(), FeedCursor::Beginning);
    let mut rng = fastrand::Rng::with_seed(5);
    for round in 0..200 {
        let first = rng.u64(0..400);
        let page = match rng.u8(0..5) {
            0 => (first..first + 30).fold(Page::new(), |page, n| page.delete(delete(n))),
            1 => (first..first + 5).fold(Page::new(), |page, n| page.delete(delete(n).reject())),
            // The same ids at other times.
            2 => Page::new()
                .upserts((first..first + 9).map(|n| operation(n, round)))
                .replacing(),
            3 => operations(first..first + 20).reviving(),
            _ => operations(first..first + 40),
        };
        apply(&store, page);
        if rng.u8(0..3) == 0 {
            caught_up(&mut keeper);
        }
    }
    caught_up(&mut keeper);
    assert_eq!(keeper.loads(), 1);
}

#[test]
fn views_stay_what_they_were() {
    let store = store();
    apply(&store, operations(0..100));
    let mut keeper = block_on(IndexKeeper::load(store.clone())).unwrap();
    let (before, held) = (keeper.snapshot(), keys(&store));
    apply(&store, operations(50..150).delete(delete(3)));
    caught_up(&mut keeper);
    apply(&store, Page::new().reset());
    caught_up(&mut keeper);
    assert!(keeper.snapshot().is_empty());
    assert_eq!(before.iter().collect::<Vec<_>>(), held);
}

#[test]
fn a_new_epoch_and_a_pruned_feed_lead_to_a_new_index() {
    let store = store();
    apply(&store, operations(0..100));
    let mut keeper = block_on(IndexKeeper::load(store.clone())).unwrap();

    apply(&store, operations(200..210).reset());
    caught_up(&mut keeper);
    assert_eq!(keeper.loads(), 2);

    // Pruned between two looks: what was deleted can no longer be read.
    apply(&store, Page::new().delete(delete(203)));
    let head = block_on(store.stats()).unwrap().head;
    block_on(store.prune(head)).unwrap();
    caught_up(&mut keeper);
    assert_eq!(keeper.loads(), 3);

    block_on(store.new_epoch()).unwrap();
    caught_up(&mut keeper);
    assert_eq!(keeper.loads(), 4);
}

#[test]
fn a_load_beside_a_writer_misses_nothing() {
    let store = store();
    apply(&store, operations(0..20_000));
    let mut keeper = thread::scope(|scope| {
        let writing = store.clone();
        scope.spawn(move || {
            for n in 0..300 {
                let page = operations(20_000 + n * 10..20_010 + n * 10);
                apply(&writing, page.delete(delete(n * 50)));
            }
        });
        block_on(IndexKeeper::load(store.clone())).unwrap()
    });
    caught_up(&mut keeper);
    assert_eq!(keeper.loads(), 1);
}

#[test]
fn a_change_wakes_and_a_check_finds_what_differs() {
    let store = store();
    apply(&store, operations(0..500));
    let mut keeper = block_on(IndexKeeper::load(store.clone())).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| apply(&store, operations(500..510)));
        block_on(keeper.changed()).unwrap();
    });
    let clean = IndexCheck {
        compared: 510,
        ..IndexCheck::default()
    };
    assert_eq!(block_on(keeper.check()).unwrap(), clean);

    // What no store does: a key that is not there, and two that are lost.
    let lost: Vec<_> = keeper.snapshot().iter().step_by(400).collect();
    for key in &lost {
        assert!(keeper.index.remove(key));
    }
    let ts = Ts::new(3).unwrap();
    assert!(keeper.index.insert(TimeKey { ts, id: id(9_999) }));
    let found = block_on(keeper.check()).unwrap();
    assert_eq!((found.missing, found.surplus), (2, 1));
    assert!(!found.is_clean());
    assert_eq!(block_on(keeper.check()).unwrap(), clean);
    assert_eq!(keeper.cursor().seq(), Seq::new(510).unwrap());
}
