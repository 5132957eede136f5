//! Captures read from one end to the other, at any limit.

use sync_core::SyncOrder;
use sync_hydrate::{Change, SnapshotCursor, Source, SourceOperation, Visibility};
use sync_mdip::CaptureSource;

use super::answer::{Changes, Snapshot, file, history, removal, row};
use crate::respell::respell;
use crate::{capture, generate, say};

/// Every row of the log, and how many pages it took.
pub(crate) fn log(source: &impl Source, limit: u32) -> (Vec<Change>, usize) {
    let mut rows = Vec::new();
    let mut after = SyncOrder::ZERO;
    for pages in 1.. {
        let page = pollster::block_on(source.changes(after, limit)).unwrap();
        let placed = page.changes.iter().filter(|row| row.seq().is_some());
        assert!(placed.count() <= limit as usize);
        rows.extend(page.changes);
        if !page.more {
            assert_eq!(page.next, page.checkpoint);
            return (rows, pages);
        }
        assert!(page.next > after, "a page that does not move on");
        after = page.next;
    }
    unreachable!()
}

/// Every operation of the snapshot, and its checkpoint.
pub(crate) fn snapshot(source: &impl Source) -> (Vec<SourceOperation>, SyncOrder) {
    let mut operations = Vec::new();
    let mut after: Option<SnapshotCursor> = None;
    loop {
        let page = pollster::block_on(source.snapshot(after.as_ref(), 500)).unwrap();
        assert!(page.invalid.is_empty(), "{:?}", page.invalid);
        operations.extend(page.operations);
        let checkpoint = page.checkpoint;
        match page.next {
            Some(cursor) => after = Some(SnapshotCursor { cursor, checkpoint }),
            None => return (operations, checkpoint),
        }
    }
}

/// The files of a capture: the whole log, the log after the snapshot, the snapshot.
fn files() -> [Vec<String>; 3] {
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    if let Some(files) = capture::files() {
        let files = files.into_iter().map(lines).collect::<Vec<_>>();
        return files.try_into().unwrap();
    }
    say("no capture here; a generated one instead");
    generated()
}

fn generated() -> [Vec<String>; 3] {
    let entries = generate::log(17, 400);
    let mut rows = Vec::new();
    let mut seq = 0;
    for (number, entry) in entries.iter().enumerate() {
        // Now and then a row that concerns no operation.
        seq += 1 + u64::from(number % 17 == 0);
        rows.push((seq, row(seq, &entry.did, &entry.raw), false));
        if number % 50 == 49 {
            seq += 1;
            let hash = format!("{number:064}");
            rows.push((seq, removal(seq, &entry.did, &hash), true));
        }
    }
    let pages = |after: u64| {
        let rows = rows.iter().filter(|row| row.0 > after).collect::<Vec<_>>();
        let pages = rows.chunks(60).map(|rows| {
            let end = rows.last().unwrap().0;
            let of = |removed| {
                let rows = rows.iter().filter(move |row| row.2 == removed);
                rows.map(|row| row.1.clone()).collect::<Vec<_>>()
            };
            let page = Changes {
                checkpoint: seq,
                more: end < seq,
                operations: of(false),
                removed: of(true),
                ..Changes::to(end)
            };
            page.text()
        });
        pages.collect::<Vec<_>>()
    };
    let page = |entries: &[crate::log::Entry], cursor, more| {
        let page = Snapshot {
            cursor,
            checkpoint: 222,
            more,
            dids: entries
                .iter()
                .map(|entry| history(&entry.did, &[&entry.raw]))
                .collect(),
        };
        page.text()
    };
    let snapshot = vec![
        page(&entries[..100], Some("a"), true),
        page(&entries[100..180], Some("b"), true),
        page(&entries[180..200], Some("c"), false),
    ];
    [pages(0), pages(222), snapshot]
}

fn open(files: &[&tempfile::NamedTempFile]) -> CaptureSource {
    CaptureSource::open(files.iter().map(|file| file.path())).unwrap()
}

#[test]
fn a_log_is_the_same_at_any_limit() {
    let [lines, ..] = files();
    let file = file(&lines);
    let source = open(&[&file]);
    let (expected, pages) = log(&source, 5000);
    assert_eq!(pages, lines.len(), "a page is a line at most");
    let added = expected
        .iter()
        .filter(|row| matches!(row, Change::Added(_)));
    let removed = expected
        .iter()
        .filter(|row| matches!(row, Change::Removed { .. }));
    let (added, removed) = (added.count(), removed.count());
    say(&format!("the log: {added} operations, {removed} removals"));
    assert_eq!(added + removed, expected.len(), "nothing is invalid");
    assert!(added > 0 && removed > 0);
    assert!(expected.is_sorted_by(|a, b| a.seq() < b.seq()));
    for limit in [1, 7, 100, 500] {
        let (rows, pages) = log(&source, limit);
        assert_eq!(rows, expected, "limit {limit}");
        assert!(pages >= rows.len() / limit as usize);
    }
    assert!(!source.has_snapshot());
}

#[test]
fn any_position_is_a_place_to_go_on() {
    let [lines, ..] = files();
    let file = file(&lines);
    let source = open(&[&file]);
    let (rows, _) = log(&source, 5000);
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..50 {
        let after = SyncOrder::new(random.u64(..=rows.len() as u64 + 100)).unwrap();
        let page = pollster::block_on(source.changes(after, 10)).unwrap();
        let rest = rows.iter().filter(|row| row.seq() > Some(after));
        let expected = rest.take(page.changes.len()).cloned().collect::<Vec<_>>();
        assert_eq!(page.changes, expected, "after {after}");
        assert!(page.next > after || !page.more, "after {after}");
    }
}

#[test]
fn a_snapshot_is_served_in_its_pages_and_then_the_log_goes_on() {
    let [whole, after, snapshot_lines] = files();
    let one = file(&[&snapshot_lines[..], &after[..]].concat());
    let source = open(&[&one]);
    assert!(source.has_snapshot());
    let (operations, checkpoint) = snapshot(&source);
    assert!(
        operations
            .iter()
            .all(|held| held.operation.sync_order.is_none())
    );
    assert!(
        operations
            .iter()
            .any(|held| held.visibility == Visibility::Public)
    );
    say(&format!("the snapshot: {} operations", operations.len()));
    assert!(operations.len() > 100);
    // What comes after the snapshot is the same in either log.
    let (late, _) = log(&source, 100);
    let (rows, _) = log(&open(&[&file(&whole)]), 100);
    let rest = rows.iter().filter(|row| row.seq() > Some(checkpoint));
    assert_eq!(sans_visibility(late.iter()), sans_visibility(rest));
}

/// What a page shows of visibility depends on what stands in it.
fn sans_visibility<'c>(rows: impl Iterator<Item = &'c Change>) -> Vec<Change> {
    let mut rows = rows.cloned().collect::<Vec<_>>();
    for row in &mut rows {
        if let Change::Added(added) = row {
            added.visibility = Visibility::Public;
        }
    }
    rows
}

#[test]
fn files_may_overlap_and_come_in_any_order() {
    let [whole, after, snapshot_lines] = files();
    let files = [file(&whole), file(&after), file(&snapshot_lines)];
    let (expected, _) = log(&open(&[&files[0]]), 500);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let source = open(&order.map(|number| &files[number]));
        for limit in [7, 500] {
            let (rows, _) = log(&source, limit);
            assert_eq!(
                sans_visibility(rows.iter()),
                sans_visibility(expected.iter()),
                "{order:?}"
            );
        }
        assert!(source.has_snapshot());
    }
    // One file of all of them is no different.
    let one = file(&[whole, snapshot_lines, after].concat());
    let (rows, _) = log(&open(&[&one]), 100);
    assert_eq!(
        sans_visibility(rows.iter()),
        sans_visibility(expected.iter())
    );
}

#[test]
fn a_respelt_capture_is_the_same_capture() {
    let [whole, _, snapshot_lines] = files();
    let lines = [whole, snapshot_lines].concat();
    let respelt = lines
        .iter()
        // A line of a capture has no line feed in it.
        .map(|line| respell(line).replace(['\n', '\r'], " "))
        .collect::<Vec<_>>();
    assert_ne!(lines, respelt);
    let (files, respelt) = (file(&lines), file(&respelt));
    let (source, respelt) = (open(&[&files]), open(&[&respelt]));
    assert_eq!(log(&respelt, 500), log(&source, 500));
    assert_eq!(snapshot(&respelt), snapshot(&source));
}
