use super::*;
use crate::{FeedKind, OpId, TombstoneReason, Ts};

fn seq(n: u64) -> Seq {
    Seq::new(n).unwrap()
}

fn space(head: u64, floor: u64) -> Stats {
    Stats {
        epoch: Some(Epoch::new([1; 16])),
        head: seq(head),
        floor: seq(floor),
        ..Stats::default()
    }
}

fn cursor(epoch: u8, floor: u64, at: u64) -> FeedCursor {
    FeedCursor::After {
        epoch: Epoch::new([epoch; 16]),
        floor: seq(floor),
        seq: seq(at),
    }
}

fn entry(n: u64, live: bool) -> FeedEntry {
    let kind = if live {
        FeedKind::Live {
            sync_order: None,
            payload: Some(bytes::Bytes::from(vec![0; 10])),
        }
    } else {
        FeedKind::Tombstone {
            reason: TombstoneReason::Removed,
            source_seq: None,
            lifted: false,
        }
    };
    FeedEntry {
        seq: seq(n),
        id: OpId::new([0; 32]),
        ts: Some(Ts::ZERO),
        object: None,
        kind,
    }
}

fn merged(live: &[u64], dead: &[u64], limit: Limit) -> (Vec<u64>, bool) {
    let side = |seqs: &[u64], is_live| {
        let entries: Vec<_> = seqs.iter().map(|n| entry(*n, is_live)).collect();
        entries.into_iter().map(Ok::<_, ()>)
    };
    let (entries, more) = merge(side(live, true), side(dead, false), limit).unwrap();
    let seqs = entries.iter().map(|entry| entry.seq.value()).collect();
    (seqs, more)
}

#[test]
fn the_beginning_is_always_accepted_and_remembers_the_floor() {
    let span = position(Some(&space(9, 5)), FeedCursor::Beginning).unwrap();
    assert_eq!(span.after(), Seq::ZERO);
    let read = page(span, vec![entry(3, true)], true);
    assert_eq!(read.next, cursor(1, 5, 3));
    assert!(position(None, FeedCursor::Beginning).is_ok());
}

#[test]
fn a_cursor_is_refused_with_the_reason() {
    let found = space(9, 5);
    let refused = |after| position(Some(&found), after).unwrap_err();
    assert_eq!(
        refused(cursor(2, 0, 0)),
        ErrorKind::WrongEpoch {
            current: found.epoch
        }
    );
    assert_eq!(
        refused(cursor(1, 0, 10)),
        ErrorKind::AheadOfLog { head: seq(9) }
    );
    assert_eq!(
        refused(cursor(1, 4, 4)),
        ErrorKind::Pruned { floor: seq(5) }
    );
    // At the floor, or begun under it, nothing was missed.
    assert!(position(Some(&found), cursor(1, 4, 5)).is_ok());
    assert!(position(Some(&found), cursor(1, 5, 4)).is_ok());
    assert_eq!(
        position(None, cursor(1, 0, 0)).unwrap_err(),
        ErrorKind::WrongEpoch { current: None }
    );
}

#[test]
fn a_page_without_more_ends_at_the_head() {
    let span = position(Some(&space(9, 0)), cursor(1, 0, 2)).unwrap();
    assert_eq!(
        page(span, vec![entry(4, true)], false).next,
        cursor(1, 0, 9)
    );
    assert_eq!(page(span, Vec::new(), false).next, cursor(1, 0, 9));
    let nothing = position(None, FeedCursor::Beginning).unwrap();
    assert_eq!(page(nothing, Vec::new(), false).next, FeedCursor::Beginning);
}

#[test]
fn only_an_entry_or_a_refusal_is_an_answer() {
    let found = space(9, 0);
    assert!(would_answer(Some(&found), cursor(1, 0, 8), true));
    assert!(!would_answer(Some(&found), cursor(1, 0, 8), false));
    assert!(!would_answer(Some(&found), cursor(1, 0, 9), true));
    assert!(would_answer(Some(&found), cursor(2, 0, 9), false));
    assert!(!would_answer(None, FeedCursor::Beginning, false));
}

#[test]
fn a_merge_is_by_seq_and_ends_at_the_row_limit_or_the_byte_budget() {
    let all = Limit::rows(10);
    assert_eq!(
        merged(&[1, 4], &[2, 3, 5], all),
        (vec![1, 2, 3, 4, 5], false)
    );
    assert_eq!(
        merged(&[1, 4], &[2, 3], Limit::rows(3)),
        (vec![1, 2, 3], true)
    );
    assert_eq!(merged(&[], &[], all), (vec![], false));
    // A live entry weighs ten bytes, a tombstone none.
    assert_eq!(merged(&[1, 3], &[2, 4], all.bytes(15)), (vec![1, 2], true));
    assert_eq!(merged(&[1, 2], &[], all.bytes(1)), (vec![1], true));
}

#[test]
fn a_merge_passes_the_first_error_on() {
    let live = [Ok(entry(1, true)), Err("broken")];
    assert_eq!(merge(live, [], Limit::rows(9)), Err("broken"));
}
