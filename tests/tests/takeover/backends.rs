//! Every way in, and every backend: the same bytes.

use std::time::Duration;

use pollster::block_on;
use sync_store::{AnyStore, ErrorKind};
use sync_takeover::{OldDatabase, OldSqlite};
use sync_tests::databases::Database;
use sync_tests::mediator::{Row, Schema, odd_rows, rows, write_file};

use crate::{Failing, bring, dump, open, server};

const ROWS: usize = 1_300;

/// Rows in the order of their places, some of which are not taken.
fn input() -> Vec<Row> {
    let rows = rows(21, ROWS);
    [rows.clone(), odd_rows(&rows)].concat()
}

/// Brings the old database into a space of every backend by runs that fail on the way. Answers what
/// each space holds, which is the same.
fn into_every_backend<O: OldDatabase>(old: impl Fn() -> O) -> Vec<String> {
    let mut first: Option<Vec<String>> = None;
    for database in Database::of_every_backend() {
        let name = database.name();
        let backend = database.connect();
        let store: AnyStore = block_on(backend.open(database.space())).unwrap();
        let mut reached = Vec::new();
        for left in [1, 4, 4, 6] {
            let failing = Failing { old: old(), left };
            let error = bring(failing, &store).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Unavailable, "{name}: {error}");
            reached.push(
                block_on(sync_store::SyncStore::stats(&store))
                    .unwrap()
                    .total,
            );
        }
        let report = bring(old(), &store).unwrap();
        assert_eq!(report.rows, 1_305, "{name}");
        assert_eq!(report.refused.len(), 5, "{name}");
        assert_eq!(reached[3] + report.taken, ROWS as u64, "{name}");
        assert_eq!((reached[0], report.present), (0, 0), "{name}");
        assert!(
            reached[3] > reached[2] && reached[1] == reached[2],
            "{name}"
        );
        let dump = dump(&store);
        println!(
            "{name}: {reached:?} rows after the failures, {} lines",
            dump.len()
        );
        match &first {
            None => first = Some(dump),
            Some(expected) => assert!(dump == *expected, "{name} differs from memory"),
        }
    }
    first.unwrap()
}

#[test]
fn a_file_and_tables_end_as_the_same_bytes_in_every_backend_and_stay_as_they_are() {
    let input = input();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("operations.db");
    write_file(&file, &input);
    let before = std::fs::read(&file).unwrap();
    let of_file = into_every_backend(|| OldSqlite::open(&file, Duration::ZERO).unwrap());
    assert!(
        std::fs::read(&file).unwrap() == before,
        "the file was written to"
    );

    let schema = Schema::new(server(), &input);
    let before = schema.contents();
    let of_tables = into_every_backend(|| open(&schema).unwrap());
    assert!(schema.contents() == before, "the tables were written to");

    // The column reorders keys and drops spaces; what is stored was signed, in its canonical form.
    // Only the cursors name different snapshots.
    let differing = of_file
        .iter()
        .zip(&of_tables)
        .filter(|(one, other)| one != other);
    let differing: Vec<_> = differing.collect();
    assert_eq!(of_file.len(), of_tables.len());
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].0.contains("takeover.cursor"), "{differing:?}");
}
