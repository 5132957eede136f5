use pollster::block_on;
use sync_store::memory::MemoryStore;
use sync_store::{
    AnyStore, Bytes, Delete, OpId, Operation, Page, Seq, StateKey, SyncStore, TombstoneReason, Ts,
};
use sync_tests::interrupted::{Call, Interrupted};

use super::*;

/// More rows than one step of a walk reads.
const ROWS: u64 = 1_500;
/// The head: every row was inserted, and the first 500 of 2,000 were deleted.
const HEAD: u64 = 2_500;

const ALL: Args = args(Order::Seq, true);
const ROWS_BY_SEQ: Args = args(Order::Seq, false);
const ROWS_BY_TIME: Args = args(Order::Time, false);

const fn args(order: Order, all: bool) -> Args {
    Args {
        output: None,
        order,
        all,
        keys: false,
        json_payload: false,
    }
}

fn op(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Operation::new(OpId::new(id), Ts::new(n).unwrap(), "payload")
}

fn delete(n: u64) -> Delete {
    Delete::new(op(n).id, TombstoneReason::Removed)
}

/// 1,500 rows, 500 tombstones above them and one state entry, which `meanwhile` changes.
fn store(meanwhile: impl Fn(&MemoryStore, Call, usize) + Send + Sync + 'static) -> AnyStore {
    let store = Interrupted::new(meanwhile).unwrap();
    let rows = Page::new().upserts((0..ROWS + 500).map(op));
    let deletes = (0..500).fold(Page::new(), |page, n| page.delete(delete(n)));
    let key = StateKey::new("key").unwrap();
    for page in [rows, deletes.set(key, Bytes::new())] {
        let _ = block_on(store.apply(page)).unwrap();
    }
    assert_eq!(block_on(store.stats()).unwrap().head.value(), HEAD);
    AnyStore::new(store)
}

fn prune(store: &MemoryStore, up_to: u64) {
    block_on(store.prune(Seq::new(up_to).unwrap())).unwrap();
}

fn apply(store: &MemoryStore, page: Page) {
    let _ = block_on(store.apply(page)).unwrap();
}

/// A dump to an output that takes nothing back, as standard output does.
fn stream(args: &Args, store: &AnyStore) -> Result<(String, Counts)> {
    let writer = Writer::new(Vec::new(), PayloadForm::Base64);
    let (writer, counts) = block_on(write(args, store, writer))?;
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    Ok((text, counts))
}

#[track_caller]
fn is_retryable(written: Result<(String, Counts)>) {
    let failure = written.unwrap_err();
    assert!(failure.is_moved(), "{}", failure.to_text());
}

#[test]
fn a_prune_in_the_middle_of_a_complete_dump_takes_no_row_from_it() {
    let store = store(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            // A row that was written before, and its tombstone, which no prune so far drops.
            apply(store, Page::new().delete(delete(700)));
            prune(store, 2_400);
        }
    });
    let (text, counts) = stream(&ALL, &store).unwrap();
    assert_eq!((counts.rows, counts.tombstones), (ROWS, 101));
    let records: Vec<_> = text
        .lines()
        .filter(|line| line.contains(&op(700).id.to_string()))
        .collect();
    assert_eq!(records.len(), 2, "{records:?}");
    assert!(records[1].contains("tombstone"), "{records:?}");
    assert!(text.ends_with("{\"kind\":\"end\",\"rows\":1500,\"tombstones\":101,\"state\":1}\n"));
}

#[test]
fn a_complete_dump_whose_own_tombstones_are_pruned_ends_without_an_end_and_is_retryable() {
    let store = store(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            apply(store, Page::new().delete(delete(700)));
            prune(store, HEAD + 1);
        }
    });
    is_retryable(stream(&ALL, &store));
    let (_, counts) = stream(&ALL, &store).unwrap();
    assert_eq!((counts.rows, counts.tombstones), (ROWS - 1, 0));
}

#[test]
fn a_dump_never_has_a_row_behind_a_tombstone_that_a_prune_dropped_in_between() {
    let store = store(|store, call, before| {
        // After the page with the tombstone, and before the one with the row.
        if (call, before) == (Call::Feed, 1) {
            prune(store, 2_100);
            apply(store, Page::new().upsert(op(7)));
        }
    });
    // So few rows are left that tombstones are in the first page.
    let deletes = (700..1_300).fold(Page::new(), |page, n| page.delete(delete(n)));
    let _ = block_on(store.apply(deletes)).unwrap();
    is_retryable(stream(&ALL, &store));
    let (text, _) = stream(&ALL, &store).unwrap();
    let id = op(7).id.to_string();
    assert_eq!(text.lines().filter(|line| line.contains(&id)).count(), 1);
}

#[test]
fn a_dump_of_rows_by_seq_goes_on_behind_any_floor() {
    let store = store(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            apply(store, Page::new().delete(delete(700)));
            prune(store, HEAD + 1);
        }
    });
    let (_, counts) = stream(&ROWS_BY_SEQ, &store).unwrap();
    assert_eq!(counts.rows, ROWS);
}

#[test]
fn a_dump_that_a_reset_overtakes_is_retryable_in_every_order() {
    for (args, call) in [
        (ALL, Call::Feed),
        (ROWS_BY_SEQ, Call::Feed),
        (ROWS_BY_TIME, Call::ScanTime),
        (args(Order::Sync, false), Call::ScanOrder),
        (
            Args {
                keys: true,
                ..ROWS_BY_TIME
            },
            Call::Known,
        ),
    ] {
        let store = store(move |store, now, _| {
            if now == call {
                apply(store, Page::new().reset().upserts((0..10).map(op)));
            }
        });
        is_retryable(stream(&args, &store));
    }
}

#[test]
fn a_dump_to_a_file_begins_again_and_a_file_appears_only_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump.ndjson");
    let reset_at = |times: usize| {
        store(move |store, call, before| {
            if call == Call::ScanTime && before < times {
                apply(store, Page::new().reset().upserts((0..10).map(op)));
            }
        })
    };
    let (counts, bytes) = block_on(write_file(&ROWS_BY_TIME, &reset_at(4), &path)).unwrap();
    assert_eq!(counts.rows, 10);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!((text.lines().count(), text.len() as u64), (10, bytes));
    std::fs::remove_file(&path).unwrap();
    let failure = block_on(write_file(&ROWS_BY_TIME, &reset_at(usize::MAX), &path)).unwrap_err();
    assert!(failure.is_moved());
    assert!(
        failure.to_text().contains("5 attempts"),
        "{}",
        failure.to_text()
    );
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}
