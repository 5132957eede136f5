use super::*;
use crate::{DeleteOutcome, Operation, TombstoneReason, UpsertOutcome};

fn id(n: u8) -> OpId {
    OpId::new([n; 32])
}

fn key() -> StateKey {
    StateKey::new("k").unwrap()
}

fn seq(n: u64) -> Seq {
    Seq::try_from(n).unwrap()
}

fn order(n: u64) -> SyncOrder {
    SyncOrder::try_from(n).unwrap()
}

fn operation(n: u8, payload: &'static str) -> Operation {
    Operation::new(id(n), Ts::ZERO, payload)
}

fn stored(operation: &Operation) -> StoredRow {
    StoredRow {
        ts: operation.ts,
        sync_order: operation.sync_order,
        digest: operation.digest(),
        object: operation.object.clone(),
    }
}

/// A space at head 10 with one row, without order, under id 1, and a tombstone for id 2.
fn before() -> Before {
    let tombstone = StoredTombstone {
        seq: seq(7),
        reason: TombstoneReason::Removed,
        source_seq: Some(order(5)),
    };
    Before {
        head: seq(10),
        counters: Counters {
            total: 1,
            ordered: 0,
            tombstones: 1,
        },
        rows: [(id(1), stored(&operation(1, "a")))].into(),
        tombstones: [(id(2), tombstone)].into(),
        state: [(key(), Bytes::from_static(b"v"))].into(),
    }
}

fn plan(page: &Page, before: Before) -> Result<Plan> {
    let digests: Vec<_> = page.upserts.iter().map(Operation::digest).collect();
    Plan::new(page, &digests, before)
}

fn delete(n: u8) -> crate::Delete {
    crate::Delete::new(id(n), TombstoneReason::Removed)
}

#[test]
fn a_page_of_nothing_changes_nothing() {
    let page = Page::new()
        .expect(key(), Some("v"))
        .set(key(), "v")
        .upsert(operation(1, "a"));
    let plan = plan(&page, before()).unwrap();
    assert!(!plan.changed);
    assert_eq!(plan.head, seq(10));
    assert_eq!(plan.applied.seqs, None);
    assert_eq!(plan.applied.upserts, [UpsertOutcome::Unchanged]);
    assert!(plan.state.is_empty());
}

#[test]
fn a_conflict_names_what_was_found_and_a_reset_does_not_hide_it() {
    let page = Page::new().expect(key(), None::<&str>).reset();
    let error = plan(&page, before()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(found) if found.len() == 1));
}

#[test]
fn seqs_and_counters_go_on_from_what_is_stored() {
    let page = Page::new()
        .delete(delete(1).at(order(3)))
        .upsert(operation(3, "c").at(order(9)));
    let plan = plan(&page, before()).unwrap();
    assert_eq!(plan.removed, [id(1)]);
    assert_eq!(plan.tombstones.first().unwrap().seq, seq(11));
    assert_eq!(plan.inserted.first().unwrap().seq, seq(12));
    assert_eq!(plan.head, seq(12));
    let counters = Counters {
        total: 1,
        ordered: 1,
        tombstones: 2,
    };
    assert_eq!(plan.counters, counters);
}

#[test]
fn a_row_the_page_replaces_again_is_written_once() {
    let page = Page {
        replace: true,
        ..Page::new()
            .upsert(operation(3, "c"))
            .upsert(operation(3, "d"))
            .backfill(id(3), order(4))
    };
    let plan = plan(&page, before()).unwrap();
    let rows: Vec<_> = plan.inserted.iter().map(|row| row.upsert).collect();
    assert_eq!(rows, [1]);
    assert_eq!(plan.inserted.first().unwrap().sync_order, Some(order(4)));
    assert!(plan.removed.is_empty() && plan.ordered.is_empty());
    assert_eq!((plan.head, plan.tombstones.len()), (seq(13), 1));
}

#[test]
fn an_order_given_to_a_stored_row_goes_with_it_to_the_one_that_replaces_it() {
    let page = Page {
        replace: true,
        ..Page::new()
            .upsert(operation(1, "a").at(order(4)))
            .upsert(operation(1, "b"))
    };
    let plan = plan(&page, before()).unwrap();
    assert!(plan.ordered.is_empty(), "the stored row is gone");
    assert_eq!(plan.removed, [id(1)]);
    assert_eq!(plan.inserted.first().unwrap().sync_order, Some(order(4)));
    assert_eq!(plan.counters.ordered, 1);
}

#[test]
fn source_seqs_rise_where_the_tombstone_is() {
    let page = Page::new()
        .delete(delete(2).at(order(8)))
        .delete(delete(2).at(order(6)))
        .delete(delete(4).at(order(1)).reject())
        .delete(delete(4).at(order(3)));
    let plan = plan(&page, before()).unwrap();
    assert_eq!(plan.raised, BTreeMap::from([(seq(7), order(8))]));
    let new = plan.tombstones.first().unwrap();
    assert_eq!((new.seq, new.source_seq), (seq(11), Some(order(3))));
}

#[test]
fn a_lifted_tombstone_is_left_behind_by_the_next_one() {
    let page = Page::new().lift(id(2)).delete(delete(2).reject());
    let plan = plan(&page, before()).unwrap();
    assert_eq!(plan.lifted, [seq(7)]);
    assert_eq!(plan.applied.deletes, [DeleteOutcome::Rejected]);
    assert_eq!(plan.counters.tombstones, 2);
}

#[test]
fn after_a_reset_nothing_of_before_stands() {
    let page = Page::new().reset().upsert(operation(2, "b")).lift(id(2));
    let plan = plan(&page, before()).unwrap();
    assert!(plan.reset && plan.lifted.is_empty());
    assert_eq!(plan.applied.upserts, [UpsertOutcome::Inserted]);
    assert_eq!(plan.head, seq(11));
    assert_eq!((plan.counters.total, plan.counters.tombstones), (1, 0));
}

#[test]
fn a_key_set_and_removed_again_is_a_change_that_leaves_nothing() {
    let new = StateKey::new("new").unwrap();
    let page = Page::new()
        .set(new.clone(), "1")
        .set(key(), "w")
        .unset(new.clone())
        .set(key(), "x");
    let plan = plan(&page, before()).unwrap();
    assert!(plan.changed);
    let change = |key, value: Option<&'static str>| StateChange {
        key,
        value: value.map(Bytes::from),
    };
    assert_eq!(plan.state, [change(new, None), change(key(), Some("x"))]);
}

#[test]
fn the_last_seq_is_the_last() {
    let at = |head| Before { head, ..before() };
    let page = Page::new().upsert(operation(3, "c"));
    let last = plan(&page, at(seq(Seq::MAX.value() - 1))).unwrap();
    assert_eq!(last.head, Seq::MAX);
    let error = plan(&page, at(Seq::MAX)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Exhausted));
    let page = Page::new().backfill(id(1), order(4));
    assert!(plan(&page, at(Seq::MAX)).unwrap().changed);
}

#[test]
fn a_counter_below_what_it_counts_is_damage() {
    let before = Before {
        counters: Counters::default(),
        ..before()
    };
    let error = plan(&Page::new().delete(delete(1)), before).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt));
}
