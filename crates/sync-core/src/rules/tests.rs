//! The table, line by line. The expected outcomes are written out, not computed.

use super::*;
use crate::{OpId, TombstoneReason as Reason, Ts};

const SAME: Digest = Digest::new([1; 16]);
const OTHER: Digest = Digest::new([2; 16]);

fn order(n: u64) -> SyncOrder {
    SyncOrder::new(n).unwrap()
}

fn tombstone(reason: Reason, source_seq: Option<u64>) -> Tombstone {
    Tombstone {
        reason,
        source_seq: source_seq.map(order),
        by_this_page: false,
    }
}

fn delete_of(source_seq: Option<u64>, object: Option<&'static str>, reject: bool) -> Delete {
    Delete {
        id: OpId::new([0; 32]),
        reason: Reason::Removed,
        source_seq: source_seq.map(order),
        object: object.map(|name| Object::new(name).unwrap()),
        reject,
        ts: Some(Ts::ZERO),
    }
}

#[test]
fn a_delete_of_a_live_row_asks_for_the_object_first_and_the_order_second() {
    use DeleteOutcome::{Deleted, OtherObject, Superseded};
    let table = [
        // row: object, order; delete: source seq, object → outcome
        ((None, None), (None, None), Deleted),
        ((None, Some(5)), (None, None), Deleted),
        ((None, None), (Some(5), None), Deleted),
        ((None, Some(4)), (Some(5), None), Deleted),
        ((None, Some(5)), (Some(5), None), Superseded),
        ((None, Some(6)), (Some(5), None), Superseded),
        ((Some("a"), None), (None, None), Deleted),
        ((Some("a"), None), (None, Some("a")), Deleted),
        ((Some("a"), None), (None, Some("b")), OtherObject),
        ((None, None), (None, Some("a")), OtherObject),
        ((Some("a"), Some(6)), (Some(5), Some("b")), OtherObject),
        ((Some("a"), Some(6)), (Some(5), Some("a")), Superseded),
        ((Some("a"), Some(4)), (Some(5), Some("a")), Deleted),
    ];
    for ((object, stored), (source_seq, named), expected) in table {
        for reject in [false, true] {
            let row = Deletable {
                object: object.map(str::as_bytes),
                sync_order: stored.map(order),
            };
            let input = delete_of(source_seq, named, reject);
            assert_eq!(
                delete(&IdState::Live(row.clone()), &input),
                expected,
                "{row:?} {input:?}"
            );
        }
    }
}

#[test]
fn a_delete_of_an_id_that_is_not_live_leaves_a_tombstone_only_when_it_rejects() {
    for source_seq in [None, Some(5)] {
        for object in [None, Some("a")] {
            let soft = delete_of(source_seq, object, false);
            let reject = delete_of(source_seq, object, true);
            assert_eq!(delete(&IdState::Unknown, &soft), DeleteOutcome::Unknown);
            assert_eq!(delete(&IdState::Unknown, &reject), DeleteOutcome::Rejected);
            for reason in Reason::ALL {
                let dead = IdState::Tombstoned(tombstone(reason, Some(4)));
                assert_eq!(delete(&dead, &soft), DeleteOutcome::AlreadyDeleted);
                assert_eq!(delete(&dead, &reject), DeleteOutcome::AlreadyDeleted);
            }
        }
    }
}

#[test]
fn a_tombstone_keeps_the_higher_source_seq() {
    assert_eq!(merged_source_seq(None, None), None);
    assert_eq!(merged_source_seq(Some(order(4)), None), Some(order(4)));
    assert_eq!(merged_source_seq(None, Some(order(4))), Some(order(4)));
    assert_eq!(
        merged_source_seq(Some(order(4)), Some(order(9))),
        Some(order(9))
    );
    assert_eq!(
        merged_source_seq(Some(order(9)), Some(order(4))),
        Some(order(9))
    );
}

#[test]
fn an_upsert_of_a_live_row_compares_the_record_first_and_the_order_second() {
    use UpsertOutcome::{Divergent, OrderConflict, Ordered, Replaced, Unchanged};
    let conflict = OrderConflict { stored: order(5) };
    let table = [
        // row: digest, order; input order → without replace, with replace
        ((OTHER, None), None, (Divergent, Replaced)),
        ((OTHER, None), Some(5), (Divergent, Replaced)),
        ((OTHER, Some(5)), Some(5), (Divergent, Replaced)),
        ((OTHER, Some(5)), Some(7), (Divergent, Replaced)),
        ((SAME, None), None, (Unchanged, Unchanged)),
        ((SAME, Some(5)), None, (Unchanged, Unchanged)),
        ((SAME, Some(5)), Some(5), (Unchanged, Unchanged)),
        ((SAME, None), Some(5), (Ordered, Ordered)),
        ((SAME, Some(5)), Some(7), (conflict, conflict)),
        ((SAME, Some(5)), Some(3), (conflict, conflict)),
    ];
    for ((digest, stored), input, (plain, replacing)) in table {
        let row = IdState::Live(Record {
            digest,
            sync_order: stored.map(order),
        });
        let input = Record {
            digest: SAME,
            sync_order: input.map(order),
        };
        for revive in [false, true] {
            assert_eq!(
                upsert(
                    &row,
                    input,
                    Policy {
                        replace: false,
                        revive
                    }
                ),
                plain
            );
            assert_eq!(
                upsert(
                    &row,
                    input,
                    Policy {
                        replace: true,
                        revive
                    }
                ),
                replacing
            );
        }
    }
}

#[test]
fn an_upsert_of_an_unknown_id_inserts() {
    for sync_order in [None, Some(order(5))] {
        for (replace, revive) in [(false, false), (false, true), (true, false), (true, true)] {
            let input = Record {
                digest: SAME,
                sync_order,
            };
            let outcome = upsert(&IdState::Unknown, input, Policy { replace, revive });
            assert_eq!(outcome, UpsertOutcome::Inserted);
        }
    }
}

#[test]
fn a_tombstone_yields_to_a_reviving_page_or_its_own_and_only_above_its_source_seq() {
    use UpsertOutcome::{Inserted, Tombstoned};
    let table = [
        // tombstone: source seq; input order → outcome where the page may pass the tombstone
        (None, None, Inserted),
        (None, Some(0), Inserted),
        (Some(5), None, Tombstoned),
        (Some(5), Some(4), Tombstoned),
        (Some(5), Some(5), Tombstoned),
        (Some(5), Some(6), Inserted),
        (Some(0), Some(0), Tombstoned),
    ];
    for (source_seq, input, expected) in table {
        let input = Record {
            digest: SAME,
            sync_order: input.map(order),
        };
        for reason in Reason::ALL {
            for (revive, by_this_page) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let expected = match (reason, revive, by_this_page) {
                    (Reason::Operator, _, _) | (_, false, false) => Tombstoned,
                    _ => expected,
                };
                let dead = IdState::Tombstoned(Tombstone {
                    by_this_page,
                    ..tombstone(reason, source_seq)
                });
                let outcome = upsert(
                    &dead,
                    input,
                    Policy {
                        replace: true,
                        revive,
                    },
                );
                assert_eq!(outcome, expected, "{dead:?} {input:?} revive {revive}");
            }
        }
    }
}

#[test]
fn a_replacing_record_without_order_leaves_the_id_where_it_was() {
    assert_eq!(replaced_order(None, None), None);
    assert_eq!(replaced_order(Some(order(5)), None), Some(order(5)));
    assert_eq!(
        replaced_order(Some(order(5)), Some(order(7))),
        Some(order(7))
    );
    assert_eq!(replaced_order(None, Some(order(7))), Some(order(7)));
}

#[test]
fn a_backfill_sets_an_absent_order_once_and_never_inserts() {
    use BackfillOutcome::{OrderConflict, Ordered, Tombstoned, Unchanged, Unknown};
    assert_eq!(backfill(&IdState::Live(None), order(5)), Ordered);
    assert_eq!(
        backfill(&IdState::Live(Some(order(5))), order(5)),
        Unchanged
    );
    let conflict = OrderConflict { stored: order(5) };
    assert_eq!(backfill(&IdState::Live(Some(order(5))), order(4)), conflict);
    assert_eq!(backfill(&IdState::Live(Some(order(5))), order(6)), conflict);
    assert_eq!(backfill(&IdState::Unknown, order(5)), Unknown);
    for reason in Reason::ALL {
        assert_eq!(
            backfill(&IdState::Tombstoned(tombstone(reason, None)), order(5)),
            Tombstoned
        );
    }
}

#[test]
fn a_lift_takes_back_any_tombstone_and_nothing_else() {
    assert_eq!(lift(&IdState::<()>::Unknown), LiftOutcome::NotTombstoned);
    assert_eq!(lift(&IdState::Live(())), LiftOutcome::NotTombstoned);
    for reason in Reason::ALL {
        assert_eq!(
            lift(&IdState::<()>::Tombstoned(tombstone(reason, Some(5)))),
            LiftOutcome::Lifted
        );
    }
}
