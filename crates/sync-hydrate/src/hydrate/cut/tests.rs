#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;

use sync_core::{Bytes, Operation, Ts};

use super::*;

fn seq(n: u64) -> SyncOrder {
    SyncOrder::new(n).unwrap()
}

fn object(name: &str) -> Object {
    Object::new(name.to_owned()).unwrap()
}

fn added(at: u64, id: u8, about: &str, visibility: Visibility) -> Change {
    let operation = Operation::new(OpId::new([id; 32]), Ts::ZERO, "payload")
        .about(object(about))
        .at(seq(at));
    Change::Added(SourceOperation {
        operation,
        visibility,
    })
}

fn add(at: u64, id: u8) -> Change {
    added(at, id, "o", Visibility::Public)
}

fn remove(at: u64, id: u8) -> Change {
    Change::Removed {
        seq: seq(at),
        id: OpId::new([id; 32]),
        object: object("o"),
    }
}

fn invalid(at: Option<u64>) -> Change {
    Change::Invalid(InvalidRecord {
        reason: Cow::Borrowed("reason"),
        seq: at.map(seq),
        object: None,
        start: Bytes::new(),
        sha256: [0; 32],
    })
}

/// The position of the last row of each part, and how many rows it has.
fn parts(rows: impl IntoIterator<Item = Change>, beside_backfill: bool) -> Vec<(u64, usize)> {
    let mut rows: VecDeque<Change> = rows.into_iter().collect();
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let part = next(&mut rows, beside_backfill);
        let size = part.added.len() + part.removed.len() + part.invalid.len();
        parts.push((part.last.map_or(0, SyncOrder::value), size));
    }
    parts
}

#[test]
fn a_page_ends_before_the_removal_of_what_it_added() {
    let rows = [add(1, 1), add(2, 2), remove(3, 1), remove(4, 2), add(5, 1)];
    assert_eq!(parts(rows, false), [(2, 2), (5, 3)]);
    let rows = [add(1, 1), remove(2, 1), add(3, 1), remove(4, 1)];
    assert_eq!(parts(rows, false), [(1, 1), (3, 2), (4, 1)]);
}

#[test]
fn removals_before_additions_need_no_cut() {
    let rows = [remove(1, 1), add(2, 1), remove(3, 2), add(4, 3), add(5, 3)];
    assert_eq!(parts(rows, false), [(5, 5)]);
}

#[test]
fn what_follows_its_object_waits_for_the_objects_removal() {
    let follows = |at, about| added(at, 9, about, Visibility::AsItsObject);
    let rows = [remove(1, 1), follows(2, "o")];
    assert_eq!(parts(rows, false), [(1, 1), (2, 1)]);
    let rows = [remove(1, 1), follows(2, "another")];
    assert_eq!(parts(rows, false), [(2, 2)]);
}

#[test]
fn a_record_without_a_position_leaves_the_cursor_where_it_was() {
    assert_eq!(parts([add(7, 1), invalid(None)], false), [(7, 2)]);
    assert_eq!(parts([invalid(None), invalid(Some(8))], false), [(8, 2)]);
}

#[test]
fn parts_have_a_bound_in_rows() {
    let rows = || (1..=1000).map(|n| invalid(Some(n)));
    assert_eq!(parts(rows(), false), [(1000, 1000)]);
    assert_eq!(parts(rows(), true), [(400, 400), (800, 400), (1000, 200)]);
}

#[test]
fn parts_have_a_bound_in_bytes_and_always_hold_a_row() {
    let large = |at: u64| {
        let mut row = add(at, u8::try_from(at).unwrap());
        if let Change::Added(row) = &mut row {
            row.operation.payload = vec![b' '; BYTES / 2 + 1].into();
        }
        row
    };
    assert_eq!(parts((1..=3).map(large), false), [(1, 1), (2, 1), (3, 1)]);
}
