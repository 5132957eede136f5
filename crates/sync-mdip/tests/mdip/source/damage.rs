//! Captures that are cut off or damaged.

use sync_core::SyncOrder;
use sync_hydrate::{Change, Source as _, SourceErrorKind};
use sync_mdip::CaptureSource;

use super::answer::{Captured, Changes, capture, row, signed};

const DID: &str = "did:test:z3v8AuaObject";

/// Five pages of two rows each.
fn lines() -> Vec<String> {
    let pages = (0..5).map(|page| {
        let seqs = [2 * page + 1, 2 * page + 2];
        let operation = |seq| row(seq, DID, &signed(DID, &format!(r#""number":{seq}"#)));
        let page = Changes {
            operations: seqs.map(operation).to_vec(),
            checkpoint: 10,
            more: page < 4,
            ..Changes::to(seqs[1])
        };
        page.text()
    });
    pages.collect()
}

/// The rows up to the first error, and that.
fn read(source: &CaptureSource) -> (Vec<u64>, Option<(SourceErrorKind, String)>) {
    let mut rows = Vec::new();
    let mut after = SyncOrder::ZERO;
    loop {
        match pollster::block_on(source.changes(after, 1)) {
            Ok(page) => {
                let seqs = page.changes.iter().filter_map(Change::seq);
                rows.extend(seqs.map(SyncOrder::value));
                after = page.next;
                if !page.more {
                    return (rows, None);
                }
            }
            Err(error) => return (rows, Some((error.kind(), error.to_string()))),
        }
    }
}

/// Asserts that what stands before line 4 is served, and then the line is named.
fn assert_damaged_at_4(source: &Captured, what: &str) {
    let (rows, error) = read(source);
    assert_eq!(rows, [1, 2, 3, 4, 5, 6], "{what}");
    let (kind, message) = error.unwrap();
    assert_eq!(kind, SourceErrorKind::Protocol, "{what}");
    let file = source.file.path().display().to_string();
    assert!(message.contains(&file), "{what}: {message}");
    assert!(message.contains("line 4"), "{what}: {message}");
}

#[test]
fn a_capture_that_is_cut_off_anywhere_serves_what_stands_before_and_names_the_line() {
    let whole = lines();
    let last = &whole[3];
    for length in 1..last.len() {
        let cut = [&whole[..3], &[last[..length].to_owned()]].concat();
        assert_damaged_at_4(&capture(&cut), &last[..length]);
    }
    let (rows, error) = read(&capture(&whole[..4]));
    assert_eq!((rows.len(), error), (8, None), "all of line 4");
}

#[test]
fn a_damaged_line_is_not_passed_over_for_the_ones_after_it() {
    let whole = lines();
    let line = &whole[3];
    let damages = [
        "not JSON at all".to_owned(),
        "[]".to_owned(),
        format!("{line}}}"),
        line.replace("\"changes\"", "\"other\""),
        line.replace("indexEpoch", "epoch"),
        line.replace("\"an epoch\"", "\"\""),
        line.replace("checkpointCursor", "checkpoint"),
        line.replace(r#""checkpointCursor":"10""#, r#""checkpointCursor":"-1""#),
        line.replace(r#""cursor":"8""#, r#""cursor":"8th""#),
        line.replace(r#""cursor":"8""#, r#""cursor":8"#),
        line.replace("\"operations\":[", "\"operations\":{},\"others\":["),
        line.replace("\"operations\"", "\"others\""),
        line.replace("\"blocks\":[]", "\"removedOperations\":null"),
        line.replace("\"hasMore\":true", "\"hasMore\":null"),
        line.replace("\"number\":7", "\"number\":7}"),
        line.replace("\"blocks\":[]", "\"indexEpoch\":\"another\""),
        line.replace("\"blocks\":[]", "\"cursor\":\"9\""),
    ];
    for damage in damages {
        assert_ne!(damage, *line);
        let mut lines = whole.clone();
        lines[3].clone_from(&damage);
        assert_damaged_at_4(&capture(&lines), &damage);
    }
}

#[test]
fn a_damaged_line_does_no_harm_where_another_file_has_its_rows() {
    let whole = lines();
    let mut damaged = whole.clone();
    damaged[3] = "damage".to_owned();
    let damaged = super::answer::file(&damaged);
    let part = super::answer::file(&whole[2..4]);
    let source = CaptureSource::open([damaged.path(), part.path()]).unwrap();
    let (rows, error) = read(&source);
    assert_eq!(rows, (1..=10).collect::<Vec<_>>());
    assert!(
        error.is_some(),
        "there may be rows on the damaged line that nothing else has"
    );
}
