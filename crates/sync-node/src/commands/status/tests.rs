use pollster::block_on;
use sync_store::{OpId, Operation, Page, Seq, Ts};
use sync_tests::interrupted::{Call, Interrupted};

use super::*;

fn op(n: u8) -> Operation {
    Operation::new(
        OpId::new([n; 32]),
        Ts::new(u64::from(n)).unwrap(),
        "payload",
    )
}

/// One space of 3 rows, of which more come before the first `times` walks of the keys.
fn read(times: usize) -> Space {
    let store = Interrupted::new(move |store, call, before| {
        if call == Call::ScanKeys && before < times {
            let row = op(u8::try_from(before).unwrap() + 100);
            let _ = block_on(store.apply(Page::new().upsert(row))).unwrap();
        }
        // It is no reason to begin again.
        if call == Call::ScanKeys {
            block_on(store.prune(Seq::MAX)).unwrap();
        }
    });
    let store = AnyStore::new(store.unwrap());
    let _ = block_on(store.apply(Page::new().upserts([1, 2, 3].map(op)))).unwrap();
    block_on(Space::read(&store, true)).unwrap()
}

#[test]
fn the_fingerprint_is_of_the_rows_that_are_counted() {
    for times in 0..ATTEMPTS as usize {
        let space = read(times);
        let keys = space.fingerprint.unwrap();
        assert_eq!((space.rows, keys.count), (3 + times as u64, space.rows));
        assert!(!space.moving);
    }
}

#[test]
fn there_is_no_fingerprint_of_a_space_that_changes_during_every_walk() {
    let space = read(usize::MAX);
    assert!(space.moving && space.fingerprint.is_none());
    let mut text = String::new();
    space.write_text(&mut text);
    assert!(text.contains("fingerprint  not known"), "{text}");
}
