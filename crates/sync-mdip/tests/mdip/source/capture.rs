//! What captures hold, and what they lack.

use std::path::PathBuf;

use sync_core::SyncOrder;
use sync_hydrate::{Change, SnapshotCursor, Source as _, SourceErrorKind};
use sync_mdip::CaptureSource;

use super::answer::{Changes, Snapshot, capture, file, row, signed};

const DID: &str = "did:test:z3v8AuaObject";

/// A page with a row at each of `seqs`, which ends at `cursor`.
fn page(seqs: impl IntoIterator<Item = u64>, cursor: u64, more: bool) -> Changes {
    let operation = |seq| row(seq, DID, &signed(DID, &format!(r#""number":{seq}"#)));
    Changes {
        operations: seqs.into_iter().map(operation).collect(),
        checkpoint: 100,
        more,
        ..Changes::to(cursor)
    }
}

/// What `changes` answers: the rows' positions, where to go on, and whether there is more.
fn changes(source: &CaptureSource, after: u64, limit: u32) -> (Vec<u64>, u64, bool) {
    let after = SyncOrder::new(after).unwrap();
    let page = pollster::block_on(source.changes(after, limit)).unwrap();
    let seqs = page.changes.iter().filter_map(Change::seq);
    let seqs = seqs.map(SyncOrder::value).collect();
    (seqs, page.next.value(), page.more)
}

#[test]
fn a_page_ends_with_its_limit_or_with_the_recorded_one() {
    let source = capture(&[
        page([2, 3, 5], 7, true).text(),
        page([8, 9], 9, false).text(),
    ]);
    assert_eq!(changes(&source, 0, 2), (vec![2, 3], 3, true));
    assert_eq!(changes(&source, 3, 2), (vec![5], 7, true));
    assert_eq!(changes(&source, 0, 3), (vec![2, 3, 5], 7, true));
    assert_eq!(changes(&source, 5, 2), (vec![], 7, true));
    assert_eq!(changes(&source, 7, 2), (vec![8, 9], 9, false));
    assert_eq!(changes(&source, 8, 0), (vec![9], 9, false));
    assert_eq!(changes(&source, 9, 2), (vec![], 9, false));
    assert_eq!(changes(&source, 50, 2), (vec![], 50, false));
}

#[test]
fn the_checkpoint_is_the_highest_that_any_line_says() {
    let mut later = page([3], 3, false);
    later.checkpoint = 120;
    let source = capture(&[page([1], 2, true).text(), later.text()]);
    let page = pollster::block_on(source.changes(SyncOrder::ZERO, 5)).unwrap();
    assert_eq!(page.checkpoint.value(), 120);
}

#[test]
fn a_log_that_begins_later_answers_its_first_rows() {
    let source = capture(&[
        page([41, 43], 45, true).text(),
        page([46], 46, false).text(),
    ]);
    assert_eq!(changes(&source, 0, 1), (vec![41], 41, true));
    assert_eq!(changes(&source, 0, 5), (vec![41, 43], 45, true));
}

#[test]
fn where_one_file_has_a_gap_another_fills_it() {
    let late = file(&[page([50], 50, true).text(), page([60], 60, false).text()]);
    let early = file(&[page([1, 2], 2, true).text(), page([30], 55, true).text()]);
    for files in [[&late, &early], [&early, &late]] {
        let source = CaptureSource::open(files.map(tempfile::NamedTempFile::path)).unwrap();
        assert_eq!(changes(&source, 0, 9), (vec![1, 2], 2, true));
        assert_eq!(changes(&source, 2, 9), (vec![30], 55, true));
        assert_eq!(changes(&source, 55, 9), (vec![60], 60, false));
    }
}

#[test]
fn answers_at_the_tip_and_blank_lines_change_nothing() {
    let source = capture(&[
        String::new(),
        page([1], 1, false).text(),
        "  \t".to_owned(),
        page([], 1, false).text(),
        page([2], 2, false).text(),
        String::new(),
    ]);
    assert_eq!(changes(&source, 0, 9), (vec![1], 1, true));
    assert_eq!(changes(&source, 1, 9), (vec![2], 2, false));
}

#[test]
fn the_log_of_an_empty_gatekeeper_is_empty() {
    for cursor in ["null", "\"\"", "\"0\""] {
        let text = Changes::to(0).text();
        let source = capture(&[text.replace(r#""cursor":"0""#, &format!("\"cursor\":{cursor}"))]);
        assert_eq!(changes(&source, 0, 9), (vec![], 0, false), "{cursor}");
    }
}

#[test]
fn rows_without_position_are_answered_once() {
    let mut recorded = page([1, 2, 3], 4, false);
    recorded.operations.push("7".to_owned());
    let source = capture(&[recorded.text()]);
    let (mut after, mut unplaced, mut pages) = (SyncOrder::ZERO, 0, 0);
    loop {
        let page = pollster::block_on(source.changes(after, 1)).unwrap();
        unplaced += page
            .changes
            .iter()
            .filter(|row| row.seq().is_none())
            .count();
        pages += 1;
        after = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!((unplaced, pages), (1, 3));
}

#[test]
fn rows_of_one_position_stay_together() {
    let source = capture(&[page([1, 2, 2, 2, 3], 3, false).text()]);
    assert_eq!(changes(&source, 0, 2), (vec![1, 2, 2, 2], 2, true));
    assert_eq!(changes(&source, 2, 2), (vec![3], 3, false));
}

#[test]
fn a_line_is_parsed_once_however_often_it_is_asked_for() {
    let source = capture(&[page(1..=200, 200, false).text()]);
    let spent = |after| {
        let after = SyncOrder::new(after).unwrap();
        let page = pollster::block_on(source.changes(after, 1)).unwrap();
        page.spent
    };
    assert!(!spent(0).parse.is_zero());
    for after in 1..200 {
        assert_eq!(spent(after), sync_hydrate::Spent::default());
    }
}

#[test]
fn a_capture_has_the_name_it_was_given() {
    let file = file(&[page([1], 1, false).text()]);
    let source = CaptureSource::open([file.path()]).unwrap();
    assert_eq!(source.name(), "capture");
    assert_eq!(source.named("http://there").name(), "http://there");
}

fn snapshot(cursor: Option<&'static str>, checkpoint: u64, more: bool) -> String {
    let page = Snapshot {
        cursor,
        checkpoint,
        more,
        dids: Vec::new(),
    };
    page.text()
}

fn snapshot_error(source: &CaptureSource, cursor: Option<(&str, u64)>) -> SourceErrorKind {
    let after = cursor.map(|(cursor, checkpoint)| SnapshotCursor {
        cursor: cursor.to_owned(),
        checkpoint: SyncOrder::new(checkpoint).unwrap(),
    });
    let error = pollster::block_on(source.snapshot(after.as_ref(), 500)).unwrap_err();
    error.kind()
}

#[test]
fn a_capture_without_a_snapshot_says_so() {
    let source = capture(&[page([1], 1, false).text()]);
    assert!(!source.has_snapshot());
    assert_eq!(snapshot_error(&source, None), SourceErrorKind::Missing);
}

#[test]
fn a_snapshot_that_cannot_go_on_is_an_error() {
    let source = capture(&[snapshot(Some("a"), 9, true)]);
    assert!(source.has_snapshot());
    let kind = |cursor| snapshot_error(&source, Some(cursor));
    assert_eq!(kind(("a", 9)), SourceErrorKind::Protocol, "no further line");
    assert_eq!(kind(("b", 9)), SourceErrorKind::Missing, "no such cursor");
    let source = capture(&[snapshot(None, 9, true)]);
    let kind = snapshot_error(&source, None);
    assert_eq!(kind, SourceErrorKind::Protocol, "more, and no cursor");
}

#[test]
fn of_several_snapshots_the_first_is_served() {
    let source = capture(&[
        snapshot(Some("a"), 9, true),
        snapshot(Some("b"), 9, false),
        snapshot(Some("a"), 10, true),
        snapshot(Some("c"), 10, false),
    ]);
    let first = pollster::block_on(source.snapshot(None, 500)).unwrap();
    assert_eq!(
        (first.next.as_deref(), first.checkpoint.value()),
        (Some("a"), 9)
    );
    let cursor = SnapshotCursor {
        cursor: "a".to_owned(),
        checkpoint: first.checkpoint,
    };
    let second = pollster::block_on(source.snapshot(Some(&cursor), 500)).unwrap();
    assert_eq!((second.next, second.checkpoint.value()), (None, 9));
}

#[test]
fn what_is_no_capture_is_refused_when_it_is_opened() {
    let kind = |lines: &[&str]| {
        CaptureSource::open([file(lines).path()])
            .unwrap_err()
            .kind()
    };
    assert_eq!(kind(&[]), SourceErrorKind::Missing);
    assert_eq!(kind(&["", " "]), SourceErrorKind::Missing);
    assert_eq!(kind(&["no JSON"]), SourceErrorKind::Protocol);
    let request = r#"{"mode":"changes","cursor":null,"limit":500,"includeOperations":true}"#;
    assert_eq!(kind(&[request]), SourceErrorKind::Protocol);
    let mut other = page([2], 2, false);
    other.epoch = "another epoch";
    let epochs = [page([1], 1, true).text(), other.text()];
    assert_eq!(
        kind(&epochs.each_ref().map(String::as_str)),
        SourceErrorKind::Protocol
    );
    let missing = CaptureSource::open([PathBuf::from("no such file")]).unwrap_err();
    assert_eq!(missing.kind(), SourceErrorKind::Io);
    assert!(missing.to_string().contains("no such file"), "{missing}");
}
