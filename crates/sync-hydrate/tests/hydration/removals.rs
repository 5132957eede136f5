//! Removals: always a tombstone, and only of rows of their own object.

use pollster::block_on;
use sync_core::{Delete, Known, Page, SyncStore, TombstoneReason};
use sync_hydrate::Start;

use crate::kit::{
    Record, Rig, Rule, add, assert_end, at, expected, id, object_of, remove, remove_of,
    same_on_every_path,
};

#[test]
fn a_removal_leaves_a_tombstone_whether_the_operation_was_ever_seen_or_not() {
    let log = vec![remove(1, 1), add(2, 2), remove(4, 2), remove(6, 3)];
    same_on_every_path(&log, &expected(&log));
}

#[test]
fn additions_and_removals_of_one_page_act_one_after_another() {
    let log = [
        add(1, 1),
        remove(2, 1),
        add(3, 1),
        remove(4, 1),
        add(5, 2),
        add(6, 1),
        remove(7, 2),
        remove(8, 2),
    ];
    for length in 0..=log.len() {
        let log = &log[..length];
        same_on_every_path(log, &expected(log));
    }
}

#[test]
fn a_removal_that_names_another_object_leaves_the_row_and_is_counted() {
    let other = object_of(1) + 1;
    let log = vec![add(1, 1), add(2, 2), remove_of(3, 1, other), add(5, 3)];
    same_on_every_path(&log, &expected(&log));
    for start in [Start::Snapshot, Start::Log] {
        for limit in [1, 500] {
            let rig = Rig::new(log.clone())
                .start(start)
                .limit(limit)
                .rule(Rule::At(2));
            let mut run = rig.run();
            run.finish().unwrap();
            // More than once where it was read again.
            let counted = run.progress().totals.other_object;
            assert!(counted > 0, "{start:?}, {limit}: {counted}");
            let known = block_on(rig.store().known(&[id(1)])).unwrap()[0];
            let Known::Live { sync_order, .. } = known else {
                panic!("{known:?}");
            };
            assert_eq!(sync_order, Some(at(1)), "{start:?}, {limit}");
        }
    }
}

#[test]
fn a_removal_that_names_another_object_ends_no_order_wherever_the_checkpoint_lies() {
    let other = object_of(1) + 1;
    let log = vec![
        add(1, 1),
        remove_of(2, 1, other),
        add(3, 1),
        remove(4, 1),
        add(5, 1),
        remove_of(6, 1, other),
        add(7, 1),
        remove_of(8, 1, other),
    ];
    let expected = expected(&log);
    assert_eq!(expected.rows[&id(1)].order, Some(at(5)));
    same_on_every_path(&log, &expected);
}

#[test]
fn a_peer_cannot_bring_back_what_the_source_removed() {
    let log = vec![remove(1, 1), add(2, 2), remove(3, 2)];
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log.clone()).start(start);
        rig.finish();
        let records = [1, 2].map(|id| Record {
            id,
            object: object_of(id),
            variant: 0,
        });
        let page = Page::new().upserts(records.map(Record::operation));
        let applied = block_on(rig.store().apply(page)).unwrap();
        assert_eq!(applied.totals().tombstoned, 2, "{start:?}");
        assert_end(&rig.store(), &expected(&log), "after the peer's page");
    }
}

#[test]
fn the_source_does_not_bring_back_what_an_operator_refused() {
    let log = vec![add(1, 1), add(2, 2), remove(3, 1), add(4, 1)];
    for start in [Start::Snapshot, Start::Log] {
        let rig = Rig::new(log.clone()).start(start);
        let refusal = Delete::new(id(1), TombstoneReason::Operator).reject();
        let page = Page::new().delete(refusal);
        let _ = block_on(rig.store().apply(page)).unwrap();
        let end = rig.finish().end;
        assert_eq!(end.tombstones[&id(1)].reason, TombstoneReason::Operator);
        assert!(!end.rows.contains_key(&id(1)), "{start:?}");
        assert!(end.rows.contains_key(&id(2)), "{start:?}");
    }
}
