//! The takeover of a deployed system's tables.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "common/server.rs"]
mod server;

use std::sync::{Arc, Mutex};

use pollster::block_on;
use sync_core::{
    Backend, Error, ErrorKind, Limit, Operation, Result, SpaceName, StateKey, SyncOrder, SyncState,
    SyncStore, SyncStoreExt, TimeRange, Ts,
};
use sync_postgres::{
    PostgresBackend, PostgresConfig, PostgresStore, RefusedReason, Takeover, TakeoverReport,
};

use server::{Direct, config, unique};

/// The order by which the deployed system marks what its Gatekeeper rejected.
const SENTINEL: i64 = 9_007_199_254_740_991;

const STATE: [(&str, &str); 3] = [
    ("empty", ""),
    ("index.changes.cursor", "3255"),
    ("index.snapshot.complete", "true"),
];

/// The deployed tables of one release, in a schema of their own, and the schema of ours.
struct Deployed {
    old: String,
    new: String,
    operations: &'static str,
    state: &'static str,
    direct: Direct,
}

impl Deployed {
    /// The tables as the deployed program makes them.
    fn current() -> Self {
        Self::with(
            "hyperswarm_sync_operations",
            "hyperswarm_sync_state",
            "id TEXT COLLATE \"C\" PRIMARY KEY, sync_order BIGINT, signed_ts BIGINT,
             operation_json JSONB, inserted_at BIGINT",
        )
    }

    /// The tables by the names of the file, with a column that keeps an operation's bytes.
    fn of_text() -> Self {
        Self::with(
            "operations",
            "sync_state",
            "id TEXT, sync_order BIGINT, signed_ts BIGINT, operation_json TEXT, inserted_at BIGINT",
        )
    }

    fn with(operations: &'static str, state: &'static str, columns: &str) -> Self {
        let deployed = Self {
            old: unique(),
            new: unique(),
            operations,
            state,
            direct: Direct::open().unwrap(),
        };
        let Self { old, .. } = &deployed;
        deployed.run(&format!(
            "CREATE SCHEMA {old};
             CREATE TABLE {old}.{operations} ({columns});
             CREATE TABLE {old}.{state} (key TEXT PRIMARY KEY, value TEXT);
             CREATE INDEX by_time ON {old}.{operations} (signed_ts, id);
             CREATE INDEX by_order ON {old}.{operations} (sync_order, id)"
        ));
        for (key, value) in STATE {
            deployed.run(&format!(
                "INSERT INTO {old}.{state} VALUES ('{key}', '{value}')"
            ));
        }
        deployed
    }

    fn run(&self, text: &str) {
        self.direct.run(text).unwrap();
    }

    fn add(&self, row: &Old) {
        let text = |value: &Option<String>| match value {
            Some(text) => format!("'{}'", text.replace('\'', "''")),
            None => "NULL".to_owned(),
        };
        let number = |value: &Option<i64>| value.map_or("NULL".to_owned(), |n| n.to_string());
        self.run(&format!(
            "INSERT INTO {}.{} VALUES ({}, {}, {}, {}, 1717236000000)",
            self.old,
            self.operations,
            text(&row.id),
            number(&row.order),
            number(&row.ts),
            text(&row.json)
        ));
    }

    fn takeover(&self, in_place: bool) -> Takeover {
        self.takeover_with(config(&self.new), in_place)
    }

    fn takeover_with(&self, config: PostgresConfig, in_place: bool) -> Takeover {
        let takeover = if in_place {
            Takeover::in_place(config, space())
        } else {
            let _ = block_on(PostgresBackend::migrate(&config)).unwrap();
            Takeover::from_tables(config, space())
        };
        takeover.schema(&self.old)
    }

    fn open(&self) -> PostgresStore {
        let backend = block_on(PostgresBackend::connect(config(&self.new))).unwrap();
        block_on(backend.open(&space())).unwrap()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = self.direct.run(&format!(
            "DROP SCHEMA {} CASCADE; DROP SCHEMA IF EXISTS {} CASCADE",
            self.old, self.new
        ));
    }
}

/// A row of the operations.
#[derive(Clone, Debug)]
struct Old {
    id: Option<String>,
    order: Option<i64>,
    ts: Option<i64>,
    json: Option<String>,
}

fn space() -> SpaceName {
    SpaceName::new("mdip").unwrap()
}

/// The id of a generated operation: the digits do not rise with the number.
fn id(n: u64) -> String {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{n:048x}")
}

/// An operation that claims `id`, and beside it holds what parsers stumble over.
fn json(id: &str, n: u64) -> String {
    let data = match n % 4 {
        0 => r#""plain""#.to_owned(),
        1 => r#"{"b":1,"a":2,"b":3}"#.to_owned(),
        2 => "[1e2, 12345678901234567890123 , -0]".to_owned(),
        _ => "\"\u{1f600}\u{2028}ключ\"".to_owned(),
    };
    let claimed = if n.is_multiple_of(5) {
        id.to_uppercase()
    } else {
        id.to_owned()
    };
    format!(r#"{{"type":"create","data":{data},"signature":{{"hash":"{claimed}"}}}} "#)
}

fn sound(n: u64) -> Old {
    Old {
        id: Some(id(n)),
        order: (!n.is_multiple_of(3)).then_some(((500 - n) / 2).cast_signed()),
        ts: Some(1_704_067_200 + (n * 7_919 % 1_000 / 10 * 10).cast_signed()),
        json: Some(json(&id(n), n)),
    }
}

/// What must come of sound rows, where the column keeps their text.
fn expected(rows: &[Old]) -> Vec<Operation> {
    let mut all: Vec<_> = rows
        .iter()
        .map(|row| Operation {
            id: row.id.as_ref().unwrap().parse().unwrap(),
            ts: Ts::try_from(row.ts.unwrap()).unwrap(),
            object: None,
            sync_order: row.order.map(|order| SyncOrder::try_from(order).unwrap()),
            payload: row.json.clone().unwrap().into(),
        })
        .collect();
    all.sort_by_key(|op| (op.sync_order.is_none(), op.sync_order, op.ts, op.id));
    all
}

/// All rows by seq.
fn rows(store: &PostgresStore) -> Vec<Operation> {
    let batch = block_on(store.scan_time(TimeRange::ALL, None, Limit::rows(10_000)));
    let mut rows = batch.unwrap().items;
    rows.sort_by_key(|row| row.seq);
    rows.into_iter().map(|row| row.operation).collect()
}

fn run(takeover: Takeover) -> Result<TakeoverReport> {
    block_on(takeover.run())
}

#[test]
fn deployed_tables_are_taken_over_with_their_bytes_and_cursors() {
    for in_place in [false, true] {
        let deployed = Deployed::of_text();
        let input: Vec<_> = (0..450).map(sound).collect();
        for row in &input {
            deployed.add(row);
        }
        let report = run(deployed.takeover(in_place)).unwrap();
        let all = expected(&input);
        let ordered = all.iter().filter(|op| op.sync_order.is_some()).count();
        assert_eq!((report.taken, report.ordered), (450, ordered as u64));
        assert!(report.refused.is_empty() && report.refused_state.is_empty());
        let store = deployed.open();
        assert!(rows(&store) == all, "in place: {in_place}: the rows differ");
        for (key, value) in STATE {
            let loaded = block_on(store.load(&StateKey::new(key).unwrap())).unwrap();
            assert_eq!(loaded.as_deref(), Some(value.as_bytes()), "{key}");
        }
        let names: Vec<_> = report.state_keys.iter().map(StateKey::as_str).collect();
        assert_eq!(names, STATE.map(|(key, _)| key));
        assert!(block_on(store.verify()).unwrap().is_clean());
    }
}

#[test]
fn a_column_of_jsonb_gives_the_servers_text_and_a_reading_what_is_wanted() {
    let deployed = Deployed::current();
    (0..20).for_each(|n| deployed.add(&sound(n)));
    let reading = deployed.takeover(true).reading(|row| {
        if row.sync_order.is_none() {
            return Err(RefusedReason::Unreadable("no order".to_owned()));
        }
        Ok(Operation {
            payload: format!("read {}", row.json).into(),
            ..row.as_it_is()
        })
    });
    let report = run(reading).unwrap();
    assert_eq!((report.taken, report.refused.len()), (13, 7));
    for row in rows(&deployed.open()) {
        let payload = std::str::from_utf8(&row.payload).unwrap();
        let hash = format!("\"hash\": \"{}\"", row.id);
        assert!(payload.starts_with("read {"), "{payload}");
        assert!(payload.to_lowercase().contains(&hash), "{payload}");
    }
}

#[test]
fn what_cannot_be_taken_is_listed_with_its_reason() {
    use RefusedReason::{
        BadHash, BadId, BadJson, BadOrder, BadTs, Duplicate, RejectedUpstream, TooLarge,
    };
    let with = |n: u64, change: fn(&mut Old)| {
        let mut row = sound(n);
        row.order = Some(n.cast_signed());
        change(&mut row);
        row
    };
    let large = {
        let head = format!(r#"{{"signature":{{"hash":"{}"}},"data":""#, id(23));
        format!("{head}{}\"}}", "x".repeat((1 << 20) - head.len() - 1))
    };
    let table = [
        (
            with(1, |row| row.order = Some(SENTINEL)),
            Some(RejectedUpstream),
        ),
        (with(2, |row| row.id = Some("abc".into())), Some(BadId)),
        (with(3, |row| row.id = None), Some(BadId)),
        (with(4, |row| row.ts = Some(-1)), Some(BadTs)),
        (with(5, |row| row.ts = None), Some(BadTs)),
        (with(6, |row| row.ts = Some(SENTINEL + 1)), Some(BadTs)),
        (with(7, |row| row.order = Some(-1)), Some(BadOrder)),
        (
            with(8, |row| row.order = Some(SENTINEL + 1)),
            Some(BadOrder),
        ),
        (with(9, |row| row.json = None), Some(BadJson)),
        (with(10, |row| row.json = Some("[1]".into())), Some(BadJson)),
        (with(11, |row| row.json = Some("{}".into())), Some(BadHash)),
        (
            with(12, |row| row.json = Some(json(&id(99), 0))),
            Some(BadHash),
        ),
        (
            Old {
                json: Some(large),
                ..with(23, |_| ())
            },
            Some(TooLarge {
                bytes: (1 << 20) + 1,
            }),
        ),
        // The same id in other letters, further on.
        (
            with(30, |row| {
                row.id = row.id.take().map(|id| id.to_uppercase());
                row.order = Some(31);
            }),
            Some(Duplicate),
        ),
        (with(30, |_| ()), None),
        (with(33, |row| row.order = Some(SENTINEL - 1)), None),
        (with(34, |row| row.ts = Some(SENTINEL)), None),
    ];
    let deployed = Deployed::of_text();
    for (row, _) in &table {
        deployed.add(row);
    }
    deployed.run(&format!(
        "INSERT INTO {0}.{1} VALUES ('', 'no key'), ('large', repeat('x', 65537)), ('none', NULL)",
        deployed.old, deployed.state
    ));
    let report = run(deployed.takeover(false)).unwrap();
    let places = format!(
        "SELECT ctid::text FROM {}.{}",
        deployed.old, deployed.operations
    );
    let places = deployed.direct.rows(&places).unwrap();
    for (place, (row, reason)) in places.iter().zip(&table) {
        let place: &str = place.get(0);
        let refused = report.refused.iter().find(|refused| refused.place == place);
        let found = refused.map(|refused| &refused.reason);
        assert_eq!(found, reason.as_ref(), "{:?}", (&row.id, row.order, row.ts));
    }
    assert_eq!(report.taken, 3);
    for row in &report.refused {
        assert!(row.to_string().len() < 400, "{row}");
    }
    let mut state: Vec<_> = report
        .refused_state
        .iter()
        .map(|state| (state.bytes, state.reason.clone()))
        .collect();
    state.sort_by_key(|(bytes, _)| *bytes);
    let wanted = [
        (0, RefusedReason::BadValue),
        (6, RefusedReason::BadKey),
        (65_537, RefusedReason::BadValue),
    ];
    assert_eq!(state, wanted);
    assert!(block_on(deployed.open().verify()).unwrap().is_clean());
}

#[test]
fn after_a_takeover_in_place_the_old_program_fails_and_its_rows_are_kept() {
    let deployed = Deployed::current();
    (0..10).for_each(|n| deployed.add(&sound(n)));
    let _ = run(deployed.takeover(true)).unwrap();
    let Deployed {
        old, operations, ..
    } = &deployed;
    // Its tables are there, so that it does not create them, and nothing else works.
    let create = format!("CREATE TABLE IF NOT EXISTS {old}.{operations} (id TEXT)");
    deployed.run(&create);
    for statement in [
        format!("CREATE INDEX IF NOT EXISTS again ON {old}.{operations} (signed_ts, id)"),
        format!("DELETE FROM {old}.{operations} WHERE sync_order = {SENTINEL}"),
        format!("SELECT id FROM {old}.{operations}"),
        format!("INSERT INTO {old}.{operations} (taken_over) VALUES ('x')"),
    ] {
        assert!(deployed.direct.run(&statement).is_err(), "{statement}");
    }
    let kept = format!("SELECT 1 FROM {old}.taken_over_{operations}");
    assert_eq!(deployed.direct.rows(&kept).unwrap().len(), 10);
    let again = run(deployed.takeover(true)).unwrap_err();
    assert!(
        matches!(again.kind(), ErrorKind::InvalidInput { .. }),
        "{again}"
    );
    assert!(again.to_string().contains("before"), "{again}");
}

#[test]
fn a_takeover_that_fails_anywhere_has_changed_nothing_and_can_be_run_again() {
    let deployed = Deployed::of_text();
    (0..30).for_each(|n| deployed.add(&sound(n)));
    let mut failed_at = Vec::new();
    for k in 0..1_000 {
        let met = Arc::new(Mutex::new((0, None)));
        let hook = {
            let met = Arc::clone(&met);
            move |boundary: &'static str| {
                let mut met = met.lock().unwrap();
                met.0 += 1;
                if met.0 == k + 1 {
                    met.1 = Some(boundary);
                    return Err(Error::new(ErrorKind::Failed));
                }
                Ok(())
            }
        };
        let config = config(&deployed.new).on_boundary(Arc::new(hook));
        let answer = run(deployed.takeover_with(config, true));
        let Some(boundary) = met.lock().unwrap().1 else {
            assert_eq!(answer.unwrap().taken, 30);
            println!("failed at each of {failed_at:?}");
            assert!(failed_at.contains(&"put away") && failed_at.contains(&"commit"));
            assert_eq!(rows(&deployed.open()).len(), 30);
            return;
        };
        assert!(answer.is_err(), "at {boundary}");
        failed_at.push(boundary);
        let ours = format!(
            "SELECT 1 FROM pg_namespace WHERE nspname = '{}'",
            deployed.new
        );
        assert!(
            deployed.direct.rows(&ours).unwrap().is_empty(),
            "at {boundary}"
        );
        let theirs = format!("SELECT id FROM {}.{}", deployed.old, deployed.operations);
        assert_eq!(
            deployed.direct.rows(&theirs).unwrap().len(),
            30,
            "at {boundary}"
        );
    }
    panic!("a takeover with 1,000 boundaries");
}

#[test]
fn what_is_missing_is_named_and_a_space_with_rows_is_refused() {
    let deployed = Deployed::of_text();
    deployed.add(&sound(1));
    let Deployed {
        old, operations, ..
    } = &deployed;
    let _ = run(deployed.takeover(false)).unwrap();
    let error = run(deployed.takeover(false)).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    deployed.run(&format!(
        "ALTER TABLE {old}.{operations} DROP COLUMN operation_json"
    ));
    let error = run(deployed.takeover(false)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Foreign);
    assert!(error.to_string().contains("`operation_json`"), "{error}");
    deployed.run(&format!("DROP TABLE {old}.{operations}"));
    let error = run(deployed.takeover(false)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Foreign);
    assert!(error.to_string().contains("no deployed table"), "{error}");
}

#[test]
fn tables_from_before_todays_columns_are_read() {
    let deployed = Deployed::of_text();
    let Deployed {
        old,
        operations,
        state,
        ..
    } = &deployed;
    deployed.run(&format!(
        "DROP TABLE {old}.{state};
         ALTER TABLE {old}.{operations} DROP COLUMN sync_order;
         ALTER TABLE {old}.{operations} RENAME COLUMN signed_ts TO ts;
         INSERT INTO {old}.{operations} (id, ts, operation_json) VALUES ('{}', 17, '{}')",
        id(4),
        json(&id(4), 4)
    ));
    let report = run(deployed.takeover(true)).unwrap();
    assert_eq!((report.taken, report.ordered), (1, 0));
    assert_eq!(report.state_keys, []);
    assert_eq!(rows(&deployed.open())[0].ts.value(), 17);
}
