//! Databases as a deployed MDIP mediator leaves them, for tests that take them over.
#![expect(
    clippy::expect_used,
    reason = "a test that has no database ends in a panic"
)]

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params};
use sync_mdip_simulator::{Change, Config, generate, respell};

/// The order by which a mediator marks what its Gatekeeper rejected.
pub const REJECTED: i64 = 9_007_199_254_740_991;

/// The epoch of the index in [`STATE`].
pub const EPOCH: &str = "f008b761-fc83-43af-b461-a7690c6e1b23";

/// The state of a mediator that has read everything, by key.
pub const STATE: [(&str, &str); 6] = [
    ("empty", ""),
    ("index.changes.cursor", "3255"),
    ("index.gatekeeper.epoch", EPOCH),
    ("index.snapshot.checkpointCursor", "1823"),
    ("index.snapshot.complete", "true"),
    (
        "index.snapshot.cursor",
        "z3v8Auaa4zYvTe2Rz25Rkvig7VGHd3os3kVTkffHVBo4RJDdWPJ",
    ),
];

/// What the mediator runs on its file when it starts.
const START: &str = "
    CREATE TABLE IF NOT EXISTS operations (
      id TEXT PRIMARY KEY, sync_order INTEGER, signed_ts INTEGER NOT NULL,
      operation_json TEXT NOT NULL, inserted_at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS sync_state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS operations_signed_ts_id ON operations (signed_ts, id);
    CREATE INDEX IF NOT EXISTS operations_sync_order_id ON operations (sync_order, id);";

/// A row of the mediator's operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `id`
    pub id: Value,
    /// `sync_order`
    pub order: Value,
    /// `signed_ts`
    pub ts: Value,
    /// `operation_json`
    pub json: Value,
}

impl Row {
    /// A row with values of the right types.
    pub fn new(id: &str, order: Option<i64>, ts: i64, json: impl Into<String>) -> Self {
        Self {
            id: id.to_owned().into(),
            order: order.into(),
            ts: ts.into(),
            json: json.into().into(),
        }
    }

    /// The text in a column.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn text(value: &Value) -> &str {
        match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        }
        .expect("text")
    }
}

/// Rows with real operations, as many as that, in no order: every third has none in its column
/// either, neighbours share their time, and each operation is spelt otherwise than it was signed.
///
/// No text holds U+0000, which the column of a mediator on `PostgreSQL` refuses.
///
/// # Panics
///
/// Never: the operations are well-formed.
#[must_use]
pub fn rows(seed: u64, count: usize) -> Vec<Row> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut config = Config::new(
        seed,
        u32::try_from(count + count / 8 + 100).expect("few rows"),
    );
    // An operation that is accepted again would have the id of its first row.
    (config.shares.removals, config.shares.additions) = (0, 0);
    let accepted = generate(config).filter_map(|row| match row.change {
        Change::Accepted { event, .. } => Some(event),
        _ => None,
    });
    let mut rows: Vec<Row> = accepted
        .filter(|event| !event.operation().contains("\\u0000"))
        .take(count)
        .zip(1_i64..)
        .map(|(event, n)| {
            let id = event
                .hash()
                .expect("an operation with a hash")
                .to_lowercase();
            let json = respell(event.operation(), &mut random).expect("a sound operation");
            Row::new(&id, (n % 3 != 0).then_some(n), 1_704_067_200 + n / 5, json)
        })
        .collect();
    random.shuffle(&mut rows);
    rows
}

/// Rows that are not taken: marked as rejected, with a short id, before 1970, claiming another id,
/// and no object. Their operations are those of `rows`.
#[must_use]
pub fn odd_rows(rows: &[Row]) -> Vec<Row> {
    let json = rows.first().map_or("{}", |row| Row::text(&row.json));
    let id = |n: u8| format!("{n:02x}").repeat(32);
    vec![
        Row::new(&id(1), Some(REJECTED), 1_704_067_200, json),
        Row::new("ab", Some(3), 1_704_067_200, json),
        Row::new(&id(3), None, -1, json),
        Row::new(&id(4), Some(5), 1_704_067_200, json),
        Row::new(&id(5), Some(7), 1_704_067_200, r#"["odd"]"#),
    ]
}

/// A mediator's file with these rows, in the order given, and [`STATE`].
///
/// # Panics
///
/// Where the file cannot be written.
pub fn write_file(path: &Path, rows: &[Row]) {
    let mut connection = Connection::open(path).expect("a file");
    connection.execute_batch(START).expect("tables");
    let transaction = connection.transaction().expect("a transaction");
    for row in rows {
        add_row(&transaction, row);
    }
    for (key, value) in STATE {
        let insert = "INSERT INTO sync_state VALUES (?1, ?2)";
        transaction.execute(insert, [key, value]).expect("a row");
    }
    transaction.commit().expect("a commit");
}

/// Adds a row to a mediator's file.
///
/// # Panics
///
/// Where the row is refused.
pub fn add_row(connection: &Connection, row: &Row) {
    connection
        .prepare_cached("INSERT INTO operations VALUES (?1, ?2, ?3, ?4, 1717236000000)")
        .expect("a statement")
        .execute(params![row.id, row.order, row.ts, row.json])
        .expect("a row");
}

#[cfg(feature = "databases")]
pub use server::{Schema, Server};

#[cfg(feature = "databases")]
mod server {
    use super::{Row, STATE, Value};
    use crate::databases::{named, with_option};

    /// A mediator's tables in `PostgreSQL`, in a schema that no other test uses. It goes with the
    /// value.
    pub struct Schema {
        name: String,
        server: Server,
    }

    /// Runs statements on the server of the tests and answers the first column of their rows. A
    /// test brings it, because the drivers here are a test's own choice.
    pub type Server = Box<dyn Fn(&str) -> Vec<String>>;

    impl Schema {
        /// The tables as a mediator makes them, with these rows and [`STATE`].
        ///
        /// # Panics
        ///
        /// Where no server is named, or a row is refused.
        #[must_use]
        pub fn new(server: Server, rows: &[Row]) -> Self {
            let schema = Self::empty(server);
            let name = schema.name();
            schema.run(&format!(
                "CREATE TABLE {name}.hyperswarm_sync_operations (id TEXT COLLATE \"C\" PRIMARY KEY,
                   sync_order BIGINT, signed_ts BIGINT, operation_json JSONB, inserted_at BIGINT);
                 CREATE TABLE {name}.hyperswarm_sync_state (key TEXT PRIMARY KEY, value TEXT);
                 CREATE INDEX ON {name}.hyperswarm_sync_operations (signed_ts, id);
                 CREATE INDEX ON {name}.hyperswarm_sync_operations (sync_order, id)"
            ));
            for rows in rows.chunks(500) {
                schema.add("hyperswarm_sync_operations", rows);
            }
            for (key, value) in STATE {
                schema.run(&format!(
                    "INSERT INTO {name}.hyperswarm_sync_state VALUES ('{key}', '{value}')"
                ));
            }
            schema
        }

        /// A schema without tables.
        ///
        /// # Panics
        ///
        /// Where no server is named.
        #[must_use]
        pub fn empty(server: Server) -> Self {
            let name = format!("mediator_{:016x}", fastrand::u64(..));
            let schema = Self { name, server };
            schema.run(&format!("CREATE SCHEMA {}", schema.name));
            schema
        }

        /// The schema's name.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.name
        }

        /// The URL by which the tables are taken over.
        #[must_use]
        pub fn url(&self) -> String {
            let url = named("SYNC_TEST_POSTGRES_URL");
            // Of the options that a test's server has, none is about one connection.
            let url = url.split('?').next().unwrap_or_default();
            with_option(url, "schema", &self.name)
        }

        /// Adds rows to a table.
        ///
        /// # Panics
        ///
        /// Where they are refused.
        pub fn add(&self, table: &str, rows: &[Row]) {
            let value = |value: &Value| match value {
                Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
                Value::Integer(number) => number.to_string(),
                _ => "NULL".to_owned(),
            };
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    let columns = [&row.id, &row.order, &row.ts, &row.json].map(value);
                    format!("({}, 1717236000000)", columns.join(", "))
                })
                .collect();
            let (schema, rows) = (&self.name, rows.join(", "));
            self.run(&format!("INSERT INTO {schema}.{table} VALUES {rows}"));
        }

        /// Runs statements.
        ///
        /// # Panics
        ///
        /// Where the server refuses one.
        pub fn run(&self, text: &str) {
            (self.server)(text);
        }

        /// Everything in the schema: each object's name, file on the disk and transaction, and each
        /// row's place, transaction and text.
        ///
        /// # Panics
        ///
        /// Where the server does not answer.
        #[must_use]
        pub fn contents(&self) -> Vec<String> {
            let schema = &self.name;
            let text = &self.server;
            let mut contents = text(&format!(
                "SELECT concat_ws(' ', relname, relkind, relfilenode, xmin) FROM pg_class
                 WHERE relnamespace = '{schema}'::regnamespace ORDER BY relname"
            ));
            let tables = text(&format!(
                "SELECT relname::text FROM pg_class
                 WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' ORDER BY relname"
            ));
            for table in tables {
                contents.extend(text(&format!(
                    "SELECT concat_ws(' ', ctid, xmin, xmax, t) FROM {schema}.{table} t ORDER BY ctid"
                )));
            }
            contents
        }
    }

    impl Drop for Schema {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                self.run(&format!("DROP SCHEMA {} CASCADE", self.name));
            }
        }
    }

    impl std::fmt::Debug for Schema {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_tuple("Schema").field(&self.name).finish()
        }
    }
}
