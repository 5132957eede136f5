//! Which tables in PostgreSQL are read, how, and how they are refused.

use pollster::block_on;
use sync_core::Backend as _;
use sync_memory::{MemoryBackend, MemoryConfig};
use sync_store::{AnyStore, ErrorKind, Limit, SpaceName, SyncStore as _, TimeRange};
use sync_takeover::{OldDatabase as _, OldValue, RefusedReason};
use sync_tests::mediator::{REJECTED, Row, Schema, rows};

use crate::{bring, open, server};

fn store() -> AnyStore {
    let backend = block_on(MemoryBackend::connect(MemoryConfig::new())).unwrap();
    let space = SpaceName::new("mdip").unwrap();
    AnyStore::new(block_on(backend.open(&space)).unwrap())
}

#[test]
fn a_schema_without_the_tables_is_refused_by_name() {
    for (tables, message) in [
        ("", "has no table of a mediator's operations"),
        (
            "CREATE TABLE operations (id text, ts int)",
            "`operation_json`",
        ),
        (
            "CREATE TABLE operations (operation_json text, ts int)",
            "`id`",
        ),
        (
            "CREATE TABLE operations (id text, operation_json text)",
            "neither `signed_ts` nor `ts`",
        ),
        (
            "CREATE TABLE operations (id text, operation_json text, ts int);
             CREATE TABLE sync_state (key text)",
            "`value`",
        ),
        (
            "CREATE VIEW operations AS SELECT 'a' AS id, '{}' AS operation_json, 1 AS ts",
            "has no table",
        ),
    ] {
        let schema = Schema::empty(server());
        schema.run(&format!("SET search_path TO {}; {tables}", schema.name()));
        let error = open(&schema).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn tables_by_the_files_names_and_from_before_todays_columns_are_read() {
    let row = &rows(22, 1)[0];
    for columns in [
        "ts bigint",
        "signed_ts numeric",
        "sync_order int, signed_ts int",
    ] {
        let schema = Schema::empty(server());
        let column = columns.rsplit(' ').nth(1).unwrap();
        schema.run(&format!(
            "SET search_path TO {};
             CREATE TABLE operations (id varchar(64), operation_json text, {columns});
             INSERT INTO operations (id, operation_json, {column}) VALUES ('{}', '{}', 17)",
            schema.name(),
            Row::text(&row.id),
            Row::text(&row.json).replace('\'', "''"),
        ));
        let report = bring(open(&schema).unwrap(), &store()).unwrap();
        assert_eq!(
            (report.taken, report.ordered),
            (1, 0),
            "{columns}: {report:?}"
        );
        assert_eq!(report.state_keys, []);
    }
}

#[test]
fn columns_of_other_types_are_named_as_they_were_found() {
    let sound = rows(23, 4);
    let schema = Schema::empty(server());
    schema.run(&format!(
        "SET search_path TO {};
         CREATE TABLE operations (id text, sync_order numeric, signed_ts numeric,
           operation_json text, inserted_at bigint)",
        schema.name()
    ));
    schema.add("operations", &sound);
    schema.run(&format!(
        "UPDATE operations SET sync_order = 1.5 WHERE ctid = '(0,1)';
         UPDATE operations SET signed_ts = NULL, sync_order = 2 WHERE ctid = '(0,2)';
         UPDATE operations SET operation_json = NULL, sync_order = 3 WHERE ctid = '(0,3)';
         UPDATE operations SET sync_order = {} WHERE ctid = '(0,4)'",
        REJECTED - 1
    ));
    let report = bring(open(&schema).unwrap(), &store()).unwrap();
    assert_eq!((report.taken, report.ordered), (1, 1));
    let refused: Vec<_> = report
        .refused
        .iter()
        .map(|row| (row.sync_order.clone(), row.reason.clone()))
        .collect();
    assert_eq!(
        refused[0],
        (OldValue::Text("1.5".to_owned()), RefusedReason::BadOrder)
    );
    assert_eq!(refused[1], (OldValue::Integer(2), RefusedReason::BadTs));
    assert!(matches!(
        refused[2],
        (OldValue::Integer(3), RefusedReason::BadRecord(_))
    ));
    assert!(
        report
            .refused
            .iter()
            .all(|row| row.place.starts_with("(0,"))
    );
}

#[test]
fn a_run_reads_one_snapshot_and_the_next_brings_what_came_since() {
    let all = rows(24, 900);
    let (early, late) = all.split_at(800);
    let schema = Schema::new(server(), early);
    let (whole, store) = (store(), store());
    let old = open(&schema).unwrap();
    let mark = old.contents().mark.clone();
    // Writers do not wait, and what they write is no part of the snapshot.
    schema.add("hyperswarm_sync_operations", late);
    let name = schema.name();
    schema.run(&format!(
        "UPDATE {name}.hyperswarm_sync_state SET value = '9999' WHERE key = 'index.changes.cursor'"
    ));
    let report = bring(old, &store).unwrap();
    assert_eq!((report.taken, report.present), (800, 0));

    let old = open(&schema).unwrap();
    assert_ne!(old.contents().mark, mark);
    let report = bring(old, &store).unwrap();
    assert_eq!(
        (report.skipped, report.taken, report.present),
        (0, 100, 800)
    );
    assert_eq!(report.refused_state.len(), 1, "the first run's value stays");
    let _ = bring(open(&schema).unwrap(), &whole).unwrap();
    // The seqs tell when a row came, and nothing else does.
    let rows = |store: &AnyStore| {
        let all = Limit::rows(1_000_000).bytes(usize::MAX);
        let rows = block_on(store.scan_time(TimeRange::ALL, None, all)).unwrap();
        let rows = rows.items.into_iter().map(|row| row.operation);
        rows.collect::<Vec<_>>()
    };
    assert!(rows(&store) == rows(&whole));
}
