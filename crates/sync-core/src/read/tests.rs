use super::*;
use crate::OpId;

fn fill(weights: &[usize], limit: Limit) -> (usize, Option<usize>) {
    let rows = weights.iter().copied().enumerate().map(Ok::<_, ()>);
    let batch = Batch::fill(rows, limit, |(_, weight)| *weight, |(at, _)| *at).unwrap();
    (batch.items.len(), batch.next)
}

#[test]
fn a_batch_ends_at_the_row_limit_with_a_cursor_and_at_the_end_without() {
    assert_eq!(fill(&[1, 1, 1], Limit::rows(2)), (2, Some(1)));
    assert_eq!(fill(&[1, 1], Limit::rows(2)), (2, None));
    assert_eq!(fill(&[], Limit::rows(2)), (0, None));
}

#[test]
fn the_first_row_always_fits_and_later_ones_only_within_the_budget() {
    assert_eq!(fill(&[100, 1], Limit::rows(9).bytes(10)), (1, Some(0)));
    assert_eq!(fill(&[5, 5, 0], Limit::rows(9).bytes(10)), (3, None));
    assert_eq!(fill(&[5, 6], Limit::rows(9).bytes(10)), (1, Some(0)));
    assert_eq!(fill(&[0, 0], Limit::rows(9).bytes(0)), (2, None));
}

#[test]
fn an_error_in_a_row_ends_the_batch() {
    let rows = [Ok(1), Err("broken")];
    let batch = Batch::fill(rows, Limit::rows(9), |_| 0, |row| *row);
    assert_eq!(batch, Err("broken"));
}

#[test]
fn a_limit_asks_for_one_row_more_and_never_for_more_than_a_u32() {
    assert_eq!(Limit::rows(0).fetch_rows(), 2);
    assert_eq!(Limit::rows(500).fetch_rows(), 501);
    assert_eq!(Limit::rows(usize::MAX).fetch_rows(), u32::MAX);
}

#[test]
fn a_walk_by_time_begins_at_the_range_or_after_the_cursor() {
    let ts = |n| Ts::new(n).unwrap();
    let range = TimeRange {
        from: ts(5),
        to: ts(9),
    };
    let key = |n| TimeKey {
        ts: ts(n),
        id: OpId::new([7; 32]),
    };
    assert_eq!(range.first_after(None), (ts(5), &[][..]));
    assert_eq!(range.first_after(Some(&key(4))), (ts(5), &[][..]));
    assert_eq!(range.first_after(Some(&key(5))), (ts(5), &[7; 32][..]));
}
