//! The deployed system's tables: recognised, read, checked row by row, and put away.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Statement};
use sync_core::{Error, ErrorKind, Operation, Result, StateKey, limits};
use sync_takeover::{Columns, Found, Reading, RefusedReason, RefusedRow, RefusedState};

use crate::NAME;
use crate::error::failed;

/// What the deployed tables are called after their file was taken over in place.
const TAKEN_OVER: [(&str, &str); 2] = [
    ("operations", "taken_over_operations"),
    ("sync_state", "taken_over_sync_state"),
];

/// How a file's tables have to be read.
pub(super) struct Deployed {
    /// `sync_order`, or NULL in a file from before that column.
    order: &'static str,
    /// `signed_ts`, or `ts` in a file from before it was renamed.
    ts: &'static str,
    has_state: bool,
}

/// A row of `operations` as it was found.
pub(super) struct Raw<'r> {
    rowid: i64,
    id: ValueRef<'r>,
    order: ValueRef<'r>,
    ts: ValueRef<'r>,
    json: ValueRef<'r>,
}

impl Deployed {
    /// The deployed tables of a file; an error that says what is missing where they are not there.
    pub(super) fn of(connection: &Connection) -> Result<Self> {
        let columns = columns(connection, "operations").map_err(failed("takeover"))?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        if columns.is_empty() {
            return Err(foreign("the file has no table `operations`"));
        }
        for column in ["id", "operation_json"] {
            if !has(column) {
                let message = format!("the table `operations` has no column `{column}`");
                return Err(foreign(message));
            }
        }
        let ts = match (has("signed_ts"), has("ts")) {
            (true, _) => "signed_ts",
            (false, true) => "ts",
            (false, false) => {
                let message = "the table `operations` has neither `signed_ts` nor `ts`";
                return Err(foreign(message));
            }
        };
        let state = columns_of_state(connection)?;
        Ok(Self {
            order: if has("sync_order") {
                "sync_order"
            } else {
                "NULL"
            },
            ts,
            has_state: state,
        })
    }

    /// The statements that read all rows: first those with an order, by (order, ts, id), then the
    /// others by (ts, id). Two statements, because the deployed indexes serve each without sorting
    /// payloads.
    pub(super) fn rows<'c>(
        &self,
        connection: &'c Connection,
    ) -> rusqlite::Result<[Statement<'c>; 2]> {
        let Self { order, ts, .. } = self;
        Ok([
            connection.prepare(&format!(
                "SELECT rowid, id, {order}, {ts}, operation_json FROM operations
                 WHERE {order} IS NOT NULL ORDER BY {order}, {ts}, id"
            ))?,
            // The plus sign keeps the planner from the index on the order, which would have it
            // sort.
            connection.prepare(&format!(
                "SELECT rowid, id, {order}, {ts}, operation_json FROM operations
                 WHERE +{order} IS NULL ORDER BY {ts}, id"
            ))?,
        ])
    }

    /// The statement that reads all state.
    pub(super) fn state<'c>(
        &self,
        connection: &'c Connection,
    ) -> rusqlite::Result<Option<Statement<'c>>> {
        self.has_state
            .then(|| connection.prepare("SELECT key, value FROM sync_state ORDER BY key"))
            .transpose()
    }

    /// Puts the tables away under other names, and views in their place.
    ///
    /// The deployed program creates its tables where they are missing: without the views it would
    /// start with empty ones in a file that has become ours. On a view its indexes, its inserts
    /// and its reads of a column all fail.
    pub(super) fn put_away(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (old, new) in TAKEN_OVER {
            if old == "sync_state" && !self.has_state {
                connection.execute_batch("CREATE TABLE taken_over_sync_state (key, value)")?;
            } else {
                drop_indexes(connection, old)?;
                connection.execute_batch(&format!("ALTER TABLE {old} RENAME TO {new}"))?;
            }
            connection.execute_batch(&format!(
                "CREATE VIEW {old} AS SELECT 'see {new}' AS taken_over"
            ))?;
        }
        Ok(())
    }
}

fn columns_of_state(connection: &Connection) -> Result<bool> {
    let columns = columns(connection, "sync_state").map_err(failed("takeover"))?;
    for column in ["key", "value"] {
        if !columns.is_empty() && !columns.iter().any(|found| found == column) {
            let message = format!("the table `sync_state` has no column `{column}`");
            return Err(foreign(message));
        }
    }
    Ok(!columns.is_empty())
}

/// Whether the file has the table that only the deployed system's files have.
pub(crate) fn recognises(connection: &Connection) -> rusqlite::Result<bool> {
    let columns = columns(connection, "operations")?;
    Ok(columns.iter().any(|column| column == "operation_json"))
}

/// Refuses a file that cannot become ours as it is.
///
/// One that holds anything beside the deployed tables would be taken from whoever else uses it. And
/// the encoding, which is the file's, decides how SQLite compares text.
pub(super) fn require_convertible(connection: &Connection) -> Result<()> {
    let encoding: String = connection
        .pragma_query_value(None, "encoding", |row| row.get(0))
        .map_err(failed("takeover"))?;
    if encoding != "UTF-8" {
        let message = format!("the file's text is {encoding}; it can be taken over from a copy");
        return Err(foreign(message));
    }
    let others = || -> rusqlite::Result<Vec<String>> {
        connection
            .prepare(
                "SELECT name FROM sqlite_schema
                 WHERE tbl_name NOT IN ('operations', 'sync_state') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                    OR type NOT IN ('table', 'index')
                 ORDER BY name LIMIT 5",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let others = others().map_err(failed("takeover"))?;
    if others.is_empty() {
        return Ok(());
    }
    let message = format!("the file also holds {}", others.join(", "));
    Err(foreign(message))
}

/// The columns of a table; none where there is no such table.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare(
            "SELECT c.name FROM sqlite_schema AS s, pragma_table_info(s.name) AS c
             WHERE s.type = 'table' AND s.name = ?1",
        )?
        .query_map([table], |row| row.get(0))?
        .collect()
}

/// What was renamed is an archive: nobody looks rows up in it.
fn drop_indexes(connection: &Connection, table: &str) -> rusqlite::Result<()> {
    let indexes: Vec<String> = connection
        .prepare(
            "SELECT name FROM sqlite_schema
             WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL",
        )?
        .query_map([table], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for index in indexes {
        let quoted = index.replace('"', "\"\"");
        connection.execute_batch(&format!("DROP INDEX \"{quoted}\""))?;
    }
    Ok(())
}

pub(super) fn foreign(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Foreign)
        .with_message(message)
        .of_backend(NAME)
        .during("takeover")
}

impl<'r> Raw<'r> {
    pub(super) fn of(row: &'r Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            rowid: row.get(0)?,
            id: row.get_ref(1)?,
            order: row.get_ref(2)?,
            ts: row.get_ref(3)?,
            json: row.get_ref(4)?,
        })
    }

    /// The operation that the row holds.
    pub(super) fn operation(&self, reading: &Reading) -> Result<Operation, RefusedReason> {
        let sync_order = match self.order {
            ValueRef::Null => Ok(None),
            order => integer(order).map(Some).ok_or(RefusedReason::BadOrder),
        };
        let columns = Columns {
            id: text(self.id),
            ts: integer(self.ts),
            sync_order,
            json: text(self.json),
        };
        columns.operation(reading)
    }

    /// The row in a report.
    pub(super) fn refused(&self, reason: RefusedReason) -> RefusedRow {
        RefusedRow {
            place: self.rowid.to_string(),
            id: found(self.id),
            sync_order: found(self.order),
            ts: found(self.ts),
            reason,
        }
    }
}

/// The state entry that a row of `sync_state` holds.
pub(super) fn state_entry(
    row: &Row<'_>,
) -> rusqlite::Result<Result<(StateKey, Vec<u8>), RefusedState>> {
    let (key, value) = (row.get_ref(0)?, row.get_ref(1)?);
    let bytes = match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
    };
    let refused = |reason| RefusedState {
        key: found(key),
        bytes: bytes.map_or(0, <[u8]>::len),
        reason,
    };
    let name = text(key).and_then(|key| StateKey::new(key).ok());
    Ok(match (name, bytes) {
        (None, _) => Err(refused(RefusedReason::BadKey)),
        (Some(name), Some(bytes)) if bytes.len() <= limits::STATE_VALUE_BYTES => {
            Ok((name, bytes.to_vec()))
        }
        (Some(_), _) => Err(refused(RefusedReason::BadValue)),
    })
}

/// A value in a report.
fn found(value: ValueRef<'_>) -> Found {
    match value {
        ValueRef::Null => Found::Null,
        ValueRef::Integer(value) => Found::Integer(value),
        ValueRef::Real(value) => Found::Real(value),
        ValueRef::Text(text) => Found::text(text),
        ValueRef::Blob(bytes) => Found::Blob(bytes.len()),
    }
}

fn text(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn integer(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(value) => Some(value),
        _ => None,
    }
}
