//! What a recount says of a space that changes while it is walked.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends in a panic"
)]

use pollster::block_on;
use sync_core::{
    Delete, Finding, OpId, Operation, Page, Seq, SyncStore, SyncStoreExt as _, TombstoneReason, Ts,
    VerifyReport,
};
use sync_memory::MemoryStore;
use sync_tests::interrupted::{Call, Interrupted};

/// More rows than one page of a recount.
const ROWS: u64 = 1_500;
/// How many recounts are tried.
const ATTEMPTS: usize = 5;

fn op(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Operation::new(OpId::new(id), Ts::new(n).unwrap(), "payload")
}

fn delete(n: u64) -> Page {
    Page::new().delete(Delete::new(op(n).id, TombstoneReason::Removed))
}

/// What a recount says of 1,500 rows and 500 tombstones, while `meanwhile` changes them.
fn verify(
    meanwhile: impl Fn(&MemoryStore, Call, usize) + Send + Sync + 'static,
) -> Result<VerifyReport, sync_core::Error> {
    let store = Interrupted::new(meanwhile).unwrap();
    let rows = (0..ROWS + 500).map(op);
    let _ = block_on(store.apply(Page::new().upserts(rows))).unwrap();
    for n in 0..500 {
        let _ = block_on(store.apply(delete(n))).unwrap();
    }
    block_on(store.verify())
}

fn prune(store: &MemoryStore, up_to: u64) {
    block_on(store.prune(Seq::new(up_to).unwrap())).unwrap();
}

#[test]
fn verify_begins_again_behind_the_floor_that_a_prune_raised() {
    let report = verify(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            prune(store, 2_400);
        }
    });
    let report = report.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.rows, report.stats.tombstones), (ROWS, 100));
}

#[test]
fn verify_begins_again_when_a_prune_drops_tombstones_it_has_counted() {
    let report = verify(|store, call, before| {
        if (call, before) == (Call::Check, 0) {
            prune(store, 2_001);
        }
    });
    let report = report.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.stats.tombstones, 499);
}

#[test]
fn verify_begins_again_after_a_reset_and_after_a_new_epoch() {
    let report = verify(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            let _ = block_on(store.apply(Page::new().reset().upsert(op(7)))).unwrap();
        }
    });
    let report = report.unwrap();
    assert_eq!((report.rows, report.findings), (1, vec![]));
    let report = verify(|store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            block_on(store.new_epoch()).unwrap();
        }
    });
    let report = report.unwrap();
    assert_eq!((report.rows, report.findings), (ROWS, vec![]));
}

#[test]
fn verify_judges_the_backends_own_check_between_the_same_two_readings() {
    let report = verify(|store, call, before| {
        if (call, before) == (Call::Check, 0) {
            let _ = block_on(store.apply(delete(700))).unwrap();
        }
    });
    let report = report.unwrap();
    assert_eq!((report.rows, report.findings), (ROWS - 1, vec![]));
}

#[test]
fn verify_says_nothing_of_a_space_that_changes_during_every_recount() {
    let report = verify(|store, call, before| {
        if call == Call::Feed {
            let _ = block_on(store.apply(delete(700 + before as u64))).unwrap();
        }
    });
    assert_eq!(report.unwrap().findings, [Finding::Moving]);
    // Each prune refuses the second page of the feed.
    let report = verify(|store, call, before| {
        if call == Call::Feed && before % 2 == 1 {
            assert!(before < 2 * ATTEMPTS, "recounts are bounded");
            prune(store, 2_001 + before as u64);
        }
    });
    assert_eq!(report.unwrap().findings, [Finding::Moving]);
}
