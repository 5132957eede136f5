use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use pollster::block_on;
use sync_core::{
    Delete, FeedEntry, Operation, StateEntry, StateKey, SyncOrder, SyncState, SyncStoreExt,
    TombstoneReason, Ts,
};

use super::*;
use crate::MemoryConfig;

fn name() -> SpaceName {
    SpaceName::new("space").unwrap()
}

fn id(n: u8) -> OpId {
    OpId::new([n; 32])
}

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn order(n: u64) -> SyncOrder {
    SyncOrder::new(n).unwrap()
}

fn operation(n: u8) -> Operation {
    Operation::new(id(n), Ts::ZERO, vec![n])
}

fn key(key: &str) -> StateKey {
    StateKey::new(key).unwrap()
}

fn open(config: MemoryConfig) -> (MemoryBackend, MemoryStore) {
    let backend = MemoryBackend::new(config);
    let store = block_on(backend.open(&name())).unwrap();
    (backend, store)
}

/// Everything a space shows.
#[derive(Debug, PartialEq)]
struct Shown {
    stats: Stats,
    rows: Vec<Row>,
    feed: Vec<FeedEntry>,
    state: Vec<StateEntry>,
}

async fn shown(store: &MemoryStore) -> Shown {
    let all = Limit::rows(usize::MAX).bytes(usize::MAX);
    let beginning = FeedCursor::Beginning;
    let rows = store.scan_time(TimeRange::ALL, None, all).await.unwrap();
    let feed = store.feed(beginning, all, Payloads::Include).await.unwrap();
    Shown {
        stats: store.stats().await.unwrap(),
        rows: rows.items,
        feed: feed.entries,
        state: store.list("", None, all).await.unwrap().items,
    }
}

/// A page that has something in every list, and rows for it to act on.
fn before() -> Page {
    Page::new()
        .upserts([operation(1), operation(2)])
        .delete(Delete::new(id(9), TombstoneReason::Operator).reject())
        .set(key("cursor"), "1")
}

fn every_list() -> Page {
    Page::new()
        .expect(key("cursor"), Some("1"))
        .lift(id(9))
        .delete(Delete::new(id(1), TombstoneReason::Removed))
        .upserts([operation(3), operation(4)])
        .backfill(id(2), order(5))
        .set(key("cursor"), "2")
        .set(key("other"), "")
}

#[test]
fn a_fault_at_any_step_before_the_commit_leaves_nothing_of_the_page() {
    let mut steps = vec![
        "lift",
        "delete",
        "upsert",
        "upsert",
        "backfill",
        "state",
        "state",
        "commit",
        "committed",
    ];
    fails_at_each(&steps, every_list());
    steps.insert(0, "reset");
    fails_at_each(&steps, every_list().reset());
}

fn fails_at_each(steps: &[&'static str], page: Page) {
    for fail_at in 0..=steps.len() {
        let (store, passed) = failing_at(fail_at);
        let unchanged = block_on(shown(&store));
        let result = block_on(store.apply(page.clone()));
        let passed = passed.lock().unwrap().clone();
        match steps.get(fail_at) {
            None => {
                assert!(result.is_ok());
                assert_eq!(passed, steps);
            }
            Some(&"committed") => {
                let error = result.unwrap_err();
                assert_eq!(*error.kind(), ErrorKind::UnknownOutcome);
                let source = std::error::Error::source(&error).unwrap().to_string();
                assert_eq!(source, "unavailable: injected");
                assert_ne!(block_on(shown(&store)), unchanged);
                let again = block_on(store.apply(page.clone())).unwrap_err();
                assert!(matches!(again.kind(), ErrorKind::Conflict(_)), "{again}");
            }
            Some(_) => {
                let error = result.unwrap_err();
                assert_eq!(error.to_string(), "memory apply: unavailable: injected");
                assert_eq!(passed, steps[..fail_at]);
                assert_eq!(block_on(shown(&store)), unchanged, "{passed:?}");
                let _ = block_on(store.apply(page.clone())).unwrap();
            }
        }
    }
}

/// A space with [`before`] in it whose next page fails at its step `fail_at`, once, and the steps
/// that passed since.
fn failing_at(fail_at: usize) -> (MemoryStore, Arc<Mutex<Vec<&'static str>>>) {
    let armed = Arc::new(AtomicBool::new(false));
    let passed = Arc::new(Mutex::new(Vec::new()));
    let config = MemoryConfig::new().on_boundary({
        let (armed, passed) = (armed.clone(), passed.clone());
        Arc::new(move |step| {
            if !armed.load(Ordering::SeqCst) {
                return Ok(());
            }
            let mut passed = passed.lock().unwrap();
            if passed.len() == fail_at {
                armed.store(false, Ordering::SeqCst);
                return Err(Error::new(ErrorKind::Unavailable).with_message("injected"));
            }
            passed.push(step);
            Ok(())
        })
    });
    let (_, store) = open(config);
    let _ = block_on(store.apply(before())).unwrap();
    armed.store(true, Ordering::SeqCst);
    (store, passed)
}

#[test]
fn a_reader_in_the_middle_of_a_page_neither_waits_nor_sees_any_of_it() {
    let reader = Arc::new(OnceLock::<MemoryStore>::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let config = MemoryConfig::new().on_boundary({
        let (reader, seen) = (reader.clone(), seen.clone());
        Arc::new(move |step| {
            if let Some(reader) = reader.get() {
                let stats = block_on(reader.stats())?;
                let value = block_on(reader.load(&key("cursor")))?;
                seen.lock().unwrap().push((step, stats.total, value));
            }
            Ok(())
        })
    });
    let (_, store) = open(config);
    let _ = block_on(store.apply(before())).unwrap();
    assert!(reader.set(store.clone()).is_ok());
    let _ = block_on(store.apply(every_list())).unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 9);
    for (step, total, value) in seen {
        let (rows, cursor) = if step == "committed" {
            (3, "2")
        } else {
            (2, "1")
        };
        assert_eq!((total, value), (rows, Some(Bytes::from(cursor))), "{step}");
    }
}

#[test]
fn a_snapshot_stays_as_it_was_whatever_is_written_after_it() {
    let (_, store) = open(MemoryConfig::new());
    let _ = block_on(store.apply(before())).unwrap();
    let snapshot = store.read().unwrap();
    let stats = snapshot.stats();
    let _ = block_on(store.apply(every_list())).unwrap();
    let _ = block_on(store.prune(Seq::MAX)).unwrap();
    let _ = block_on(store.apply(Page::new().reset())).unwrap();
    assert_eq!(snapshot.stats(), stats);
    assert_eq!(snapshot.row(&id(1)).unwrap().operation, operation(1));
    assert_eq!(check(&snapshot), Vec::<String>::new());
}

#[test]
fn a_page_that_changes_nothing_creates_nothing_and_keeps_the_snapshot() {
    let (backend, store) = open(MemoryConfig::new());
    let nothing = Page::new()
        .expect(key("absent"), None::<Bytes>)
        .lift(id(7))
        .delete(Delete::new(id(7), TombstoneReason::Removed))
        .backfill(id(7), order(1))
        .unset(key("absent"));
    let applied = block_on(store.apply(nothing.clone())).unwrap();
    assert_eq!(applied.seqs, None);
    assert_eq!(block_on(backend.spaces(None, 1)).unwrap(), []);

    let _ = block_on(store.apply(before())).unwrap();
    let snapshot = store.read().unwrap();
    let nothing = nothing.upsert(operation(1)).set(key("cursor"), "1");
    assert_eq!(block_on(store.apply(nothing)).unwrap().seqs, None);
    assert!(Arc::ptr_eq(&snapshot, &store.read().unwrap()));
}

#[test]
fn a_delete_that_only_raises_the_source_seq_is_written_without_a_seq_of_its_own() {
    let (_, store) = open(MemoryConfig::new());
    let reject = |n| {
        Delete::new(id(1), TombstoneReason::Removed)
            .at(order(n))
            .reject()
    };
    for (n, raised_to) in [(5, 5), (7, 7), (6, 7)] {
        let _ = block_on(store.apply(Page::new().delete(reject(n)))).unwrap();
        let expected = Known::Tombstoned {
            reason: TombstoneReason::Removed,
            seq: seq(1),
            source_seq: Some(order(raised_to)),
        };
        assert_eq!(block_on(store.known(&[id(1)])).unwrap(), [expected]);
        assert_eq!(block_on(store.stats()).unwrap().head, seq(1));
    }
}

#[test]
fn a_panic_in_a_page_leaves_nothing_and_the_space_stays_writable() {
    let armed = Arc::new(OnceLock::<()>::new());
    let config = MemoryConfig::new().on_boundary({
        let armed = armed.clone();
        Arc::new(move |step| {
            assert!(step != "commit" || armed.get().is_none(), "injected");
            Ok(())
        })
    });
    let (_, store) = open(config);
    let _ = block_on(store.apply(before())).unwrap();
    let unchanged = block_on(shown(&store));
    armed.set(()).unwrap();
    let writer = store.clone();
    let panicked = std::thread::spawn(move || block_on(writer.apply(every_list()))).join();
    assert!(panicked.is_err());
    assert_eq!(block_on(shown(&store)), unchanged);
    assert!(block_on(store.prune(Seq::MAX)).unwrap().floor > Seq::ZERO);
}

#[test]
fn what_is_stored_does_not_keep_the_callers_buffer() {
    let (_, store) = open(MemoryConfig::new());
    let buffer = Bytes::from(vec![7; 1 << 16]);
    let payload = buffer.slice(10..20);
    let object = Object::new(buffer.slice(30..40)).unwrap();
    let page = Page::new()
        .upsert(Operation::new(id(1), Ts::ZERO, payload.clone()).about(object.clone()))
        .delete(
            Delete::new(id(2), TombstoneReason::Removed)
                .of(object.clone())
                .reject(),
        )
        .set(key("k"), payload.clone());
    let _ = block_on(store.apply(page)).unwrap();
    let shown = block_on(shown(&store));
    assert_eq!(shown.rows.len(), 1);
    drop((payload, object));
    // Unique, so nothing in the store refers to it.
    assert!(buffer.try_into_mut().is_ok());
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether `changed(after)` sleeps until `write` and resolves with it.
fn wakes(store: &MemoryStore, after: FeedCursor, write: impl FnOnce()) -> bool {
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let mut changed = pin!(store.changed(after));
    assert!(changed.as_mut().poll(&mut context).is_pending());
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    write();
    let woken = count.0.load(Ordering::SeqCst) > 0;
    match changed.as_mut().poll(&mut context) {
        Poll::Ready(result) => {
            result.unwrap();
            assert!(woken, "resolved without having been woken");
            true
        }
        Poll::Pending => false,
    }
}

#[test]
fn changed_is_woken_by_whatever_would_change_the_readers_answer_and_by_nothing_else() {
    let (backend, store) = open(MemoryConfig::new());
    let other = block_on(backend.open(&name())).unwrap();
    let apply = |page| drop(block_on(other.apply(page)).unwrap());
    let head = || {
        let all = Limit::rows(100);
        let page = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Skip)).unwrap();
        page.next
    };
    let put = |n| Page::new().upsert(operation(n));

    let state_only = || apply(Page::new().set(key("k"), "v"));
    assert!(!wakes(&store, FeedCursor::Beginning, state_only));
    assert!(!wakes(&store, head(), || apply(
        Page::new().unset(key("k"))
    )));
    assert!(wakes(&store, FeedCursor::Beginning, || apply(put(1))));
    assert!(wakes(&store, head(), || apply(put(2))));
    assert!(wakes(&store, head(), || drop(block_on(other.new_epoch()))));
    assert!(wakes(&store, head(), || apply(Page::new().reset())));
    assert!(!wakes(&store, head(), || drop(block_on(
        other.prune(Seq::MAX)
    ))));
    let dropped = || assert!(block_on(backend.drop_space(&name())).unwrap());
    assert!(wakes(&store, head(), dropped));
}

#[test]
fn changed_resolves_at_once_for_a_reader_whose_entries_were_pruned() {
    let (_, store) = open(MemoryConfig::new());
    let _ = block_on(store.apply(Page::new().upsert(operation(1)))).unwrap();
    let all = Limit::rows(100);
    let cursor = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Skip))
        .unwrap()
        .next;
    // A row that comes and goes leaves a tombstone at 3 and, once that is pruned, nothing: no
    // entry is after the cursor, and the reader has to be told nevertheless.
    let _ = block_on(store.put(operation(2))).unwrap();
    let gone = Page::new().delete(Delete::new(id(2), TombstoneReason::Removed));
    let _ = block_on(store.apply(gone)).unwrap();
    let _ = block_on(store.prune(Seq::MAX)).unwrap();
    assert_eq!(block_on(shown(&store)).feed.len(), 1);
    block_on(store.changed(cursor)).unwrap();
    let error = block_on(store.feed(cursor, all, Payloads::Skip)).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Pruned { floor: seq(3) });
}

#[test]
fn a_page_of_a_read_ends_where_the_budget_does_and_says_whether_rows_are_left() {
    let sizes = [4, 0, 3, 9];
    let cut = |rows, bytes| take(sizes.into_iter(), Limit::rows(rows).bytes(bytes), |n| *n);
    assert_eq!(cut(9, 7), (vec![4, 0, 3], true));
    assert_eq!(cut(9, 6), (vec![4, 0], true));
    assert_eq!(cut(9, 0), (vec![4], true));
    assert_eq!(cut(9, 16), (vec![4, 0, 3, 9], false));
    assert_eq!(cut(4, 99), (vec![4, 0, 3, 9], false));
    assert_eq!(cut(3, 99), (vec![4, 0, 3], true));
    assert_eq!(cut(0, 99), (vec![4], true));
}

fn random_page(random: &mut fastrand::Rng) -> Page {
    let mut page = Page::new();
    page.replace = random.bool();
    page.revive = random.bool();
    page.reset = random.u8(..20) == 0;
    for _ in 0..random.usize(..6) {
        let id = id(random.u8(..12));
        let number = order(random.u64(..9));
        let object = Object::new(vec![random.u8(..3)]).unwrap();
        page = match random.u8(..6) {
            0 => page.lift(id),
            1 => page.delete(
                Delete::new(id, TombstoneReason::Removed)
                    .at(number)
                    .reject(),
            ),
            2 => page.delete(Delete::new(id, TombstoneReason::Operator).of(object)),
            3 => page.backfill(id, number),
            4 => page.upsert(Operation::new(id, Ts::ZERO, "")),
            _ => {
                let ts = Ts::new(random.u64(..3)).unwrap();
                page.upsert(Operation::new(id, ts, "x").about(object).at(number))
            }
        };
    }
    page
}

#[test]
fn after_random_pages_and_prunes_every_walk_counter_and_index_agree() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (backend, store) = open(MemoryConfig::new());
        for step in 0..60 {
            let _ = block_on(store.apply(random_page(&mut random))).unwrap();
            if random.u8(..10) == 0 {
                let head = block_on(store.stats()).unwrap().head.value();
                let up_to = seq(random.u64(..=head));
                let _ = block_on(store.prune(up_to)).unwrap();
            }
            let report = block_on(store.verify()).unwrap();
            assert!(report.is_clean(), "seed {seed}, step {step}: {report:?}");
        }
        let swept = block_on(backend.sweep(usize::MAX)).unwrap();
        assert!(!swept.more);
    }
}
