use pollster::block_on;
use sync_store::memory::MemoryStore;
use sync_store::{Delete, Operation, Page, Seq, Ts};
use sync_tests::interrupted::{Call, Interrupted};

use super::*;

const ARGS: Args = Args {
    reason: None,
    limit: usize::MAX,
};

fn op(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_be_bytes());
    Operation::new(OpId::new(id), Ts::new(n).unwrap(), "payload")
}

fn reject(n: u64) -> Delete {
    Delete::new(op(n).id, TombstoneReason::Rejected).reject()
}

/// Tombstones of the operations from 0 on, at seqs from 1 on, which `meanwhile` changes.
fn store(
    tombstones: u64,
    meanwhile: impl Fn(&MemoryStore, Call, usize) + Send + Sync + 'static,
) -> AnyStore {
    let store = Interrupted::new(meanwhile).unwrap();
    let mut page = Page::new();
    page.deletes.extend((0..tombstones).map(reject));
    let _ = block_on(store.apply(page)).unwrap();
    AnyStore::new(store)
}

fn prune(store: &MemoryStore, up_to: u64) {
    block_on(store.prune(Seq::new(up_to).unwrap())).unwrap();
}

#[test]
fn the_list_begins_again_behind_the_floor_that_a_prune_raised() {
    let tombstones = ENTRIES as u64 + 10;
    let store = store(tombstones, move |store, call, before| {
        if (call, before) == (Call::Feed, 1) {
            prune(store, tombstones - 3);
        }
    });
    let list = block_on(list(&store, &ARGS)).unwrap();
    let seqs: Vec<_> = list.tombstones.iter().map(|listed| listed.seq).collect();
    assert_eq!(seqs, [tombstones - 2, tombstones - 1, tombstones]);
}

#[test]
fn the_list_begins_again_when_a_prune_drops_a_tombstone_that_was_listed() {
    let tombstones = ENTRIES as u64 + 10;
    let store = store(tombstones, |store, call, before| {
        // The next page begins above the floor, so that the feed refuses nothing.
        if (call, before) == (Call::Feed, 1) {
            prune(store, 3);
        }
    });
    let list = block_on(list(&store, &ARGS)).unwrap();
    assert_eq!(list.tombstones[0].seq, 4);
    assert_eq!(list.tombstones.len() as u64, tombstones - 3);
}

#[test]
fn a_tombstone_that_is_lifted_meanwhile_is_listed_as_lifted_and_not_as_superseded() {
    let store = store(3, |store, call, before| {
        if (call, before) == (Call::Known, 0) {
            let _ = block_on(store.apply(Page::new().lift(op(1).id))).unwrap();
        }
    });
    let list = block_on(list(&store, &ARGS)).unwrap();
    let listed = list.tombstones.iter();
    let listed: Vec<_> = listed.map(|one| (one.in_effect, one.lifted)).collect();
    assert_eq!(listed, [(true, false), (false, true), (true, false)]);
}

#[test]
fn an_older_tombstone_of_an_id_whose_newer_one_was_lifted_is_superseded() {
    let store = store(1, |_, _, _| {});
    for page in [
        Page::new().upsert(op(0)).reviving(),
        Page::new().delete(reject(0)),
        Page::new().lift(op(0).id),
    ] {
        let _ = block_on(store.apply(page)).unwrap();
    }
    let list = block_on(list(&store, &ARGS)).unwrap();
    let listed = list.tombstones.iter();
    let listed: Vec<_> = listed.map(|one| (one.in_effect, one.lifted)).collect();
    assert_eq!(listed, [(false, false), (false, true)]);
}

#[test]
fn the_list_gives_up_after_a_number_of_attempts_and_may_be_run_again() {
    let store = store(100, |store, call, before| {
        if call == Call::Known {
            prune(store, before as u64 + 1);
        }
    });
    let failure = block_on(list(&store, &ARGS)).map(|_| ()).unwrap_err();
    assert!(failure.is_moved(), "{}", failure.to_text());
}
