//! A mediator's SQLite file.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use sync_core::{Bytes, Error, ErrorKind, Result};

use crate::old::{Contents, Layout, OldDatabase, OldRow, OldState, OldValue};

/// Rows that are read at once.
const BATCH: usize = 200;

/// A deployed mediator's SQLite file, `data/hyperswarm/operations.db`, opened for reading alone.
///
/// Files from before `sync_order`, from before `signed_ts`, or without `sync_state` are read as the
/// mediator's own migration reads them.
///
/// What it reads is one snapshot, from [`open`](Self::open) until it is dropped. In a file with a
/// rollback journal, as the mediator makes them, writers wait as long. Reading happens on the
/// thread that polls, a batch of rows at a time.
#[derive(Debug)]
pub struct OldSqlite {
    connection: Connection,
    contents: Contents,
    /// The rows by their order, and how many of them were read.
    rowids: Vec<i64>,
    read: usize,
    select: String,
}

/// The columns that hold the order and the time.
struct Columns {
    order: &'static str,
    ts: &'static str,
    has_state: bool,
}

impl OldSqlite {
    /// Opens `file` and reads through it once, for its [mark](Contents::mark).
    ///
    /// - Nothing is written, and a file that is not there is not created.
    /// - [`Foreign`](ErrorKind::Foreign) where the mediator's tables are missing or have other
    ///   columns; the message says which.
    /// - [`Busy`](ErrorKind::Busy) where another program keeps the file locked for longer than
    ///   `busy_timeout`.
    /// - [`ReadOnly`](ErrorKind::ReadOnly) where a journal lies beside the file that would have to
    ///   be rolled back first.
    pub fn open(file: impl AsRef<Path>, busy_timeout: Duration) -> Result<Self> {
        // Absolute, because SQLite takes some relative names for something else: `:memory:`, ``.
        let file = std::path::absolute(&file).unwrap_or_else(|_| file.as_ref().to_owned());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags).map_err(|source| {
            let shown = file.display();
            failed(source).with_message(format!("the old file {shown} cannot be opened"))
        })?;
        connection.busy_timeout(busy_timeout).map_err(failed)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        let columns = Columns::of(&connection)?;
        let state = columns.state(&connection).map_err(failed)?;
        let (mark, rows) = columns.mark(&connection, &state).map_err(failed)?;
        let Columns { order, ts, .. } = columns;
        Ok(Self {
            rowids: columns.rowids(&connection).map_err(failed)?,
            read: 0,
            select: format!(
                "SELECT rowid, id, {order}, {ts}, operation_json FROM operations WHERE rowid = ?1"
            ),
            contents: Contents { mark, rows, state },
            connection,
        })
    }

    fn read(&self, rowids: &[i64]) -> rusqlite::Result<Vec<OldRow>> {
        let mut select = self.connection.prepare_cached(&self.select)?;
        let read = |rowid: &i64| select.query_row([rowid], old_row);
        rowids.iter().map(read).collect()
    }
}

impl OldDatabase for OldSqlite {
    fn contents(&self) -> &Contents {
        &self.contents
    }

    async fn rows(&mut self) -> Result<Vec<OldRow>> {
        let rest = self.rowids.get(self.read..).unwrap_or_default();
        let rows = self
            .read(rest.get(..BATCH).unwrap_or(rest))
            .map_err(failed)?;
        self.read += rows.len();
        Ok(rows)
    }
}

impl Columns {
    /// The mediator's columns; an error that says what is missing where they are not there.
    fn of(connection: &Connection) -> Result<Self> {
        let found = columns(connection, "operations").map_err(failed)?;
        if found.is_empty() {
            return Err(foreign("the file has no table `operations`".to_owned()));
        }
        let state = columns(connection, "sync_state").map_err(failed)?;
        let layout = Layout::of(("operations", &found), ("sync_state", &state));
        let layout = layout.map_err(foreign)?;
        Ok(Self {
            order: if layout.has_order {
                "sync_order"
            } else {
                "NULL"
            },
            ts: layout.ts,
            has_state: layout.has_state,
        })
    }

    fn state(&self, connection: &Connection) -> rusqlite::Result<Vec<OldState>> {
        if !self.has_state {
            return Ok(Vec::new());
        }
        connection
            .prepare("SELECT key, value FROM sync_state ORDER BY key, value")?
            .query_map([], |row| {
                Ok(OldState {
                    key: text(row.get_ref(0)?).map(str::to_owned),
                    value: match row.get_ref(1)? {
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                            Some(Bytes::copy_from_slice(bytes))
                        }
                        _ => None,
                    },
                })
            })?
            .collect()
    }

    /// The hash of everything that is read, and how many rows there are.
    fn mark(&self, connection: &Connection, state: &[OldState]) -> rusqlite::Result<(String, u64)> {
        let Self { order, ts, .. } = self;
        let mut hasher = blake3::Hasher::new();
        let mut count = 0;
        let select =
            format!("SELECT id, {order}, {ts}, operation_json FROM operations ORDER BY rowid");
        let mut select = connection.prepare(&select)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            count += 1;
            for column in 0..4 {
                let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
                    ValueRef::Null => (0, &[]),
                    ValueRef::Integer(value) => (1, &value.to_le_bytes()),
                    ValueRef::Real(value) => (2, &value.to_le_bytes()),
                    ValueRef::Text(bytes) => (3, bytes),
                    ValueRef::Blob(bytes) => (4, bytes),
                };
                hasher.update(&[kind]);
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
        }
        hasher.update(format!("{state:?}").as_bytes());
        Ok((hasher.finalize().to_hex().as_str().to_owned(), count))
    }

    /// The rows by (order, time, id), those without an order last.
    fn rowids(&self, connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let Self { order, ts, .. } = self;
        let select =
            format!("SELECT rowid FROM operations ORDER BY {order} IS NULL, {order}, {ts}, id");
        connection
            .prepare(&select)?
            .query_map([], |row| row.get(0))?
            .collect()
    }
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

fn old_row(row: &Row<'_>) -> rusqlite::Result<OldRow> {
    Ok(OldRow {
        place: row.get::<_, i64>(0)?.to_string(),
        id: old_value(row.get_ref(1)?),
        sync_order: old_value(row.get_ref(2)?),
        ts: old_value(row.get_ref(3)?),
        json: text(row.get_ref(4)?).map(str::to_owned),
    })
}

fn old_value(value: ValueRef<'_>) -> OldValue {
    match value {
        ValueRef::Null => OldValue::Null,
        ValueRef::Integer(value) => OldValue::Integer(value),
        ValueRef::Real(value) => OldValue::Real(value),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => OldValue::Text(text.to_owned()),
            Err(_) => OldValue::Blob(bytes.len()),
        },
        ValueRef::Blob(bytes) => OldValue::Blob(bytes.len()),
    }
}

fn text(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn foreign(message: String) -> Error {
    named(Error::new(ErrorKind::Foreign).with_message(message))
}

fn failed(source: rusqlite::Error) -> Error {
    let kind = match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
        Some(ErrorCode::PermissionDenied) => ErrorKind::Denied,
        Some(ErrorCode::CannotOpen) => ErrorKind::NotFound,
        Some(ErrorCode::NotADatabase) => ErrorKind::Foreign,
        Some(ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        _ => ErrorKind::Failed,
    };
    let mut error = Error::new(kind);
    let code = source.sqlite_error().map(|error| error.extended_code);
    if code == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK) {
        error = error.with_message(
            "a journal lies beside the old file, of a write that was not finished; any program that \
             opens the file for writing rolls it back",
        );
    }
    named(error.with_source(source))
}

fn named(error: Error) -> Error {
    error.of_backend("sqlite").during("takeover")
}
