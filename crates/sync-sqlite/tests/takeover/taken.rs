//! What is taken.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pollster::block_on;
use serde_json::Value as Json;
use sync_core::{Object, Operation, StateKey, SyncState, SyncStore, SyncStoreExt, Ts};
use sync_sqlite::rusqlite::{Connection, params};
use sync_sqlite::{Found, RefusedReason, TakeoverReport};

use crate::deployed::{self, Old, STATE};
use crate::{SENTINEL, WAYS, Way, expected, open, rows, takeover};

#[test]
fn a_deployed_database_is_taken_over_and_what_cannot_be_is_named() {
    for way in WAYS {
        takes_all_but_four(way, &deployed::generated(2_500));
    }
}

#[test]
fn the_operations_of_a_real_gatekeeper_are_taken_over() {
    let Some(rows) = captured() else {
        println!("not run: there is no ../shared/data/gatekeeper beside the workspace");
        return;
    };
    assert!(rows.len() > 3_000, "only {} captured rows", rows.len());
    for way in WAYS {
        takes_all_but_four(way, &rows);
    }
}

/// Takes over `sound` with four rows among them that cannot be taken: the report names each, the
/// rest is equal.
fn takes_all_but_four(way: Way, sound: &[Old]) {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("operations.db");
    let (odd, wanted) = odd_rows();
    let (head, tail) = sound.split_at(sound.len() / 2);
    deployed::write(&old, &[&odd[..2], head, &odd[2..], tail].concat());
    let before = fs::read(&old).unwrap();

    let (takeover, config) = takeover(way, &old);
    let report = block_on(takeover.run()).unwrap();

    assert_eq!(named(&report), wanted, "{way:?}");
    let mut all: Vec<_> = sound.iter().map(expected).collect();
    all.sort_by_key(|op| (op.sync_order.is_none(), op.sync_order, op.ts, op.id));
    let total = all.len() as u64;
    let ordered = all.iter().filter(|op| op.sync_order.is_some()).count() as u64;
    assert_eq!((report.taken, report.ordered), (total, ordered), "{way:?}");
    let store = open(&config);
    assert!(rows(&store) == all, "{way:?}: the rows differ");
    let mut keys = STATE.map(|(key, _)| StateKey::new(key).unwrap());
    for ((_, value), key) in STATE.iter().zip(&keys) {
        let loaded = block_on(store.load(key)).unwrap();
        assert_eq!(loaded.as_deref(), Some(value.as_bytes()), "{way:?}: {key}");
    }
    keys.sort();
    assert_eq!(report.state_keys, keys, "{way:?}");
    let stats = block_on(store.stats()).unwrap();
    assert_eq!(
        (
            stats.total,
            stats.ordered,
            stats.tombstones,
            stats.head.value()
        ),
        (total, ordered, 0, total),
        "{way:?}"
    );
    let verified = block_on(store.verify()).unwrap();
    assert!(verified.is_clean(), "{way:?}: {verified:?}");
    drop(store);
    match way {
        Way::Copy => assert!(
            fs::read(&old).unwrap() == before,
            "the old file was written to"
        ),
        Way::InPlace => assert_eq!(journal_mode(&old), "wal"),
    }
    println!("{way:?}: {total} rows taken, {ordered} of them ordered, 4 refused");
}

/// What a report says of one row.
type Named = (Found, Found, Found, RefusedReason);

/// A row that marks a rejected operation, a short id, a negative time and an odd payload; and what
/// a report must say of them.
fn odd_rows() -> ([Old; 4], Vec<Named>) {
    const TIME: i64 = 1_704_067_200;
    let id = |n: u64| deployed::id(1_000_000_000 + n);
    let short = &id(2)[..63];
    let rows = [
        Old::new(&id(1), Some(SENTINEL), TIME, deployed::json(&id(1), 0)),
        Old::new(short, Some(3), TIME, deployed::json(short, 0)),
        Old::new(&id(3), None, -1, deployed::json(&id(3), 0)),
        Old::new(&id(4), Some(7), TIME, r#"["odd"]"#),
    ];
    let reasons = [
        RefusedReason::RejectedUpstream,
        RefusedReason::BadId,
        RefusedReason::BadTs,
        RefusedReason::BadJson,
    ];
    let mut wanted: Vec<Named> = vec![
        (
            Found::Text(id(1)),
            Found::Integer(SENTINEL),
            Found::Integer(TIME),
        ),
        (
            Found::Text(short.to_owned()),
            Found::Integer(3),
            Found::Integer(TIME),
        ),
        (Found::Text(id(3)), Found::Null, Found::Integer(-1)),
        (Found::Text(id(4)), Found::Integer(7), Found::Integer(TIME)),
    ]
    .into_iter()
    .zip(reasons)
    .map(|((id, order, ts), reason)| (id, order, ts, reason))
    .collect();
    wanted.sort_by_key(|(id, ..)| id.to_string());
    (rows, wanted)
}

fn named(report: &TakeoverReport) -> Vec<Named> {
    let mut named: Vec<Named> = report
        .refused
        .iter()
        .cloned()
        .map(|row| (row.id, row.sync_order, row.ts, row.reason))
        .collect();
    named.sort_by_key(|(id, ..)| id.to_string());
    named
}

fn journal_mode(path: &Path) -> String {
    let connection = Connection::open(path).unwrap();
    connection
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap()
}

/// What a mediator may store of the captured responses: half of the snapshot's operations still
/// without order, the others with the changes' order.
fn captured() -> Option<Vec<Old>> {
    let parse = Connection::open_in_memory().unwrap();
    let row = |operation: &Json, order: Option<i64>| {
        let signature = &operation["signature"];
        let id = signature["hash"].as_str().unwrap().to_lowercase();
        let signed = signature["signed"].as_str().unwrap();
        let ts = parse
            .query_row("SELECT unixepoch(?1)", [signed], |row| row.get(0))
            .unwrap();
        Old::new(&id, order, ts, operation.to_string())
    };
    let items = |list: &Json| list.as_array().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for page in responses("snapshot-limit500.ndjson")? {
        for did in items(&page["dids"]) {
            let events = items(&did["events"]);
            // An odd number of rows stays unordered: it wins over the change below.
            rows.extend(
                events
                    .iter()
                    .map(|event| row(&event["operation"], None))
                    .step_by(2),
            );
        }
    }
    for page in responses("changes-from-zero-limit500.ndjson")? {
        for change in items(&page["operations"]) {
            let seq = change["seq"].as_i64().unwrap();
            rows.push(row(&change["event"]["operation"], Some(seq)));
        }
    }
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(format!("{:?}", row.id)));
    Some(rows)
}

/// The responses of a capture, where there is one.
fn responses(name: &str) -> Option<Vec<Json>> {
    let beside = ["..", "..", "..", "shared", "data", "gatekeeper", name];
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(PathBuf::from_iter(beside));
    let text = fs::read_to_string(path).ok()?;
    let response = |line| serde_json::from_str(line).unwrap();
    Some(text.lines().map(response).collect())
}

#[test]
fn older_files_are_read_as_their_own_migration_reads_them() {
    let row = expected(&deployed::generated(1)[0]);
    let json = str::from_utf8(&row.payload).unwrap();
    for (column, schema) in [
        ("ts", "id TEXT PRIMARY KEY, ts INTEGER, operation_json TEXT"),
        (
            "ts",
            "id TEXT PRIMARY KEY, sync_order INTEGER, ts INTEGER, operation_json TEXT",
        ),
        (
            "signed_ts",
            "id TEXT PRIMARY KEY, signed_ts INTEGER, operation_json TEXT",
        ),
        (
            "signed_ts",
            "id TEXT PRIMARY KEY, ts DEFAULT 3, operation_json TEXT, signed_ts INTEGER",
        ),
    ] {
        for way in WAYS {
            let dir = tempfile::tempdir().unwrap();
            let old = dir.path().join("operations.db");
            let connection = Connection::open(&old).unwrap();
            connection
                .execute_batch(&format!("CREATE TABLE operations ({schema})"))
                .unwrap();
            let insert = format!(
                "INSERT INTO operations (id, {column}, operation_json) VALUES (?1, 17, ?2)"
            );
            connection
                .execute(&insert, params![row.id.to_string(), json])
                .unwrap();
            drop(connection);
            let (takeover, config) = takeover(way, &old);
            let report = block_on(takeover.run()).unwrap();
            assert_eq!((report.taken, report.ordered), (1, 0), "{way:?} {schema}");
            assert_eq!(report.state_keys, []);
            let wanted = Operation {
                ts: Ts::new(17).unwrap(),
                ..row.clone()
            };
            assert_eq!(rows(&open(&config)), [wanted], "{way:?} {schema}");
        }
    }
}

#[test]
fn another_reading_decides_what_rows_become() {
    let no_order = RefusedReason::Unreadable("no order".to_owned());
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("operations.db");
        deployed::write(&old, &deployed::generated(10));
        let (takeover, config) = takeover(way, &old);
        let reading = takeover.reading(|row| {
            if row.sync_order.is_none() {
                return Err(RefusedReason::Unreadable("no order".to_owned()));
            }
            Ok(Operation {
                payload: row.json.trim_end().to_owned().into(),
                ..row
                    .as_it_is()
                    .about(Object::new(row.id.to_string()).unwrap())
            })
        });
        let report = block_on(reading.run()).unwrap();
        assert_eq!((report.taken, report.refused.len()), (6, 4), "{way:?}");
        for row in &report.refused {
            assert_eq!(row.reason, no_order);
            assert!(row.to_string().ends_with("no order"), "{row}");
        }
        for operation in rows(&open(&config)) {
            let object = operation.object.unwrap();
            assert_eq!(object.as_bytes(), operation.id.to_string().as_bytes());
            assert!(operation.payload.ends_with(b"}"));
        }
    }
}
