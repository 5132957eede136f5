//! Files as the deployed system leaves them.

use std::path::Path;

use sync_sqlite::rusqlite::types::Value;
use sync_sqlite::rusqlite::{Connection, params};

/// What the deployed program runs when it starts.
pub(crate) const START: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS operations (
       id TEXT PRIMARY KEY, sync_order INTEGER, signed_ts INTEGER NOT NULL,
       operation_json TEXT NOT NULL, inserted_at INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS sync_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS operations_signed_ts_id ON operations (signed_ts, id)",
    "CREATE INDEX IF NOT EXISTS operations_sync_order_id ON operations (sync_order, id)",
    "DELETE FROM operations WHERE sync_order = 9007199254740991",
];

/// The cursors of a mediator that has read everything.
pub(crate) const STATE: [(&str, &str); 6] = [
    (
        "index.snapshot.cursor",
        "z3v8Auaa4zYvTe2Rz25Rkvig7VGHd3os3kVTkffHVBo4RJDdWPJ",
    ),
    ("index.snapshot.checkpointCursor", "1823"),
    ("index.snapshot.complete", "true"),
    ("index.changes.cursor", "3255"),
    (
        "index.gatekeeper.epoch",
        "f008b761-fc83-43af-b461-a7690c6e1b23",
    ),
    ("empty", ""),
];

/// A row of `operations`.
#[derive(Clone, Debug)]
pub(crate) struct Old {
    pub(crate) id: Value,
    pub(crate) order: Value,
    pub(crate) ts: Value,
    pub(crate) json: Value,
}

impl Old {
    pub(crate) fn new(id: &str, order: Option<i64>, ts: i64, json: impl Into<String>) -> Self {
        Self {
            id: id.to_owned().into(),
            order: order.into(),
            ts: ts.into(),
            json: json.into().into(),
        }
    }
}

/// The id of a generated operation: the digits do not rise with the number.
pub(crate) fn id(n: u64) -> String {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{n:048x}")
}

/// An operation that claims `id`, and beside it holds what databases and parsers stumble over.
pub(crate) fn json(id: &str, n: u64) -> String {
    let data = match n % 7 {
        0 => r#""plain""#.to_owned(),
        1 => r#"{"b":1,"a":2,"b":3}"#.to_owned(),
        2 => "[1e2, 12345678901234567890123,1e999 , -0]".to_owned(),
        3 => r#""\u0000\ud800 \ufeff""#.to_owned(),
        4 => "\"\u{1f600}\u{2028}ключ\"".to_owned(),
        5 => format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)),
        _ => format!("\"{}\"", "x".repeat(2_000)),
    };
    let claimed = if n.is_multiple_of(5) {
        id.to_uppercase()
    } else {
        id.to_owned()
    };
    format!(r#"{{"type":"create","data":{data},"signature":{{"hash":"{claimed}"}}}} "#)
}

/// `count` rows: every third without order, every tenth with the time of the one before it.
pub(crate) fn generated(count: u64) -> Vec<Old> {
    (0..count)
        .map(|n| {
            let id = id(n);
            let order = (n % 3 != 0).then(|| ((count - n) / 2).cast_signed());
            let ts = 1_704_067_200 + (n * 7_919 % 1_000 / 10 * 10).cast_signed();
            let json = json(&id, n);
            Old::new(&id, order, ts, json)
        })
        .collect()
}

/// A deployed file with these rows, in the order given, and [`STATE`].
pub(crate) fn write(path: &Path, rows: &[Old]) {
    let mut connection = Connection::open(path).unwrap();
    for statement in START {
        connection.execute_batch(statement).unwrap();
    }
    let transaction = connection.transaction().unwrap();
    for row in rows {
        transaction
            .prepare_cached("INSERT INTO operations VALUES (?1, ?2, ?3, ?4, 1717236000000)")
            .unwrap()
            .execute(params![row.id, row.order, row.ts, row.json])
            .unwrap();
    }
    for (key, value) in STATE {
        transaction
            .execute("INSERT INTO sync_state VALUES (?1, ?2)", [key, value])
            .unwrap();
    }
    transaction.commit().unwrap();
}
