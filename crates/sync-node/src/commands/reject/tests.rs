use pollster::block_on;
use sync_store::memory::MemoryStore;
use sync_store::{Operation, SyncOrder, Ts};
use sync_tests::interrupted::{Call, Interrupted};

use super::*;

fn op(n: u8) -> Operation {
    Operation::new(
        OpId::new([n; 32]),
        Ts::new(u64::from(n)).unwrap(),
        "payload",
    )
}

fn removed(n: u8) -> Delete {
    let at = SyncOrder::new(9).unwrap();
    Delete::new(op(n).id, TombstoneReason::Removed)
        .reject()
        .at(at)
}

/// What becomes of the operations 1 to 4. The first is a row, the second has a tombstone.
fn outcomes(
    meanwhile: impl Fn(&MemoryStore, Call, usize) + Send + Sync + 'static,
) -> (AnyStore, Result<Vec<Outcome>>) {
    let store = Interrupted::new(meanwhile).unwrap();
    let page = Page::new().delete(removed(2)).upsert(op(1));
    let _ = block_on(store.apply(page)).unwrap();
    let store = AnyStore::new(store);
    let ids = [1, 2, 3, 4].map(|n| op(n).id);
    let outcomes = block_on(reject(&store, &ids));
    (
        store,
        outcomes.map(|outcomes| outcomes.into_values().collect()),
    )
}

#[track_caller]
fn all_are_rejected(store: &AnyStore) {
    let ids = [1, 2, 3, 4].map(|n| op(n).id);
    for known in block_on(store.known(&ids)).unwrap() {
        let Known::Tombstoned { reason, .. } = known else {
            panic!("{known:?}");
        };
        assert_eq!(reason, TombstoneReason::Operator);
    }
}

#[test]
fn a_tombstone_that_comes_after_the_look_up_is_raised_too() {
    let (store, outcomes) = outcomes(|store, call, before| {
        if (call, before) == (Call::Feed, 0) {
            let _ = block_on(store.apply(Page::new().delete(removed(3)))).unwrap();
        }
    });
    assert_eq!(
        outcomes.unwrap(),
        [
            Outcome::Deleted,
            Outcome::Raised,
            Outcome::Raised,
            Outcome::Rejected
        ]
    );
    all_are_rejected(&store);
}

#[test]
fn a_prune_and_a_reset_after_the_look_up_fail_nothing() {
    let (store, outcomes) = outcomes(|store, call, before| {
        if (call, before) == (Call::Feed, 0) {
            block_on(store.prune(Seq::MAX)).unwrap();
        }
    });
    assert_eq!(outcomes.unwrap().len(), 4);
    all_are_rejected(&store);
    let (store, outcomes) = self::outcomes(|store, call, before| {
        if (call, before) == (Call::Feed, 0) {
            let _ = block_on(store.apply(Page::new().reset())).unwrap();
        }
    });
    assert_eq!(outcomes.unwrap(), [Outcome::Rejected; 4]);
    all_are_rejected(&store);
}
