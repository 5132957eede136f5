//! The deployed system's tables: found, read, checked row by row, and put away.

use sync_core::{Error, ErrorKind, Operation, Result, StateKey, limits};
use sync_takeover::{Columns, Found, Reading, RefusedReason, RefusedRow, RefusedState};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{qualified, refused, rows, run};
use crate::NAME;
use crate::columns::value;
use crate::error::failed;
use crate::pool::Connection;
use crate::statements::quoted;

/// What the deployed tables are called: operations, state.
const NAMES: [(&str, &str); 2] = [
    ("hyperswarm_sync_operations", "hyperswarm_sync_state"),
    ("operations", "sync_state"),
];

/// What stands before their names once they were taken over in place.
const TAKEN_OVER: &str = "taken_over_";

/// The deployed tables, and how they have to be read.
pub(super) struct Deployed {
    schema: String,
    operations: &'static str,
    state: Option<&'static str>,
    /// The order, or NULL in a table from before that column.
    order: &'static str,
    /// `signed_ts`, or `ts` in a table from before it was renamed.
    ts: &'static str,
}

/// A row of the operations, every column in the server's text.
pub(super) struct Raw<'r> {
    place: &'r str,
    id: Option<&'r str>,
    order: Option<&'r str>,
    ts: Option<&'r str>,
    json: Option<&'r str>,
}

impl Deployed {
    /// The deployed tables of `schema`; an error that says what is missing where they are not there.
    pub(super) async fn of(connection: &Connection, schema: &str) -> Result<Self> {
        let mut found = None;
        for (operations, state) in NAMES {
            let columns = columns(connection, schema, operations).await?;
            if columns.iter().any(|column| column == "taken_over") {
                return Err(refused("the tables were taken over before"));
            }
            if !columns.is_empty() {
                found = Some((operations, state, columns));
                break;
            }
        }
        let Some((operations, state, found)) = found else {
            let message = format!("the schema {schema:?} has no deployed table of operations");
            return Err(foreign(message));
        };
        let has = |name: &str| found.iter().any(|column| column == name);
        for column in ["id", "operation_json"] {
            if !has(column) {
                let message = format!("the table `{operations}` has no column `{column}`");
                return Err(foreign(message));
            }
        }
        let ts = match (has("signed_ts"), has("ts")) {
            (true, _) => "signed_ts",
            (false, true) => "ts",
            (false, false) => {
                let message = format!("the table `{operations}` has neither `signed_ts` nor `ts`");
                return Err(foreign(message));
            }
        };
        let state_columns = columns(connection, schema, state).await?;
        let has_state = !state_columns.is_empty();
        for column in ["key", "value"] {
            if has_state && !state_columns.iter().any(|found| found == column) {
                let message = format!("the table `{state}` has no column `{column}`");
                return Err(foreign(message));
            }
        }
        Ok(Self {
            schema: schema.to_owned(),
            operations,
            state: has_state.then_some(state),
            order: if has("sync_order") {
                "t.sync_order"
            } else {
                "NULL::bigint"
            },
            ts,
        })
    }

    fn tables(&self) -> impl Iterator<Item = &'static str> {
        [Some(self.operations), self.state].into_iter().flatten()
    }

    /// Keeps others from writing to the tables, or from using them at all, to the end of the
    /// transaction.
    pub(super) async fn lock(&self, connection: &Connection, whole: bool) -> Result<()> {
        let mode = if whole { "ACCESS EXCLUSIVE" } else { "SHARE" };
        for table in self.tables() {
            let table = qualified(&self.schema, table);
            run(connection, &format!("LOCK TABLE {table} IN {mode} MODE")).await?;
        }
        Ok(())
    }

    /// The statement that reads all rows: by (order, time, id), those without an order last.
    pub(super) fn rows(&self) -> String {
        let Self { order, ts, .. } = self;
        let table = qualified(&self.schema, self.operations);
        // By the columns, not by the text that is answered under their names.
        format!(
            "SELECT t.ctid::text, t.id::text, ({order})::text, (t.{ts})::text,
               t.operation_json::text
             FROM {table} t ORDER BY {order} NULLS LAST, t.{ts}, t.id::text COLLATE \"C\""
        )
    }

    /// The statement that reads all state.
    pub(super) fn state(&self) -> Option<String> {
        let table = qualified(&self.schema, self.state?);
        Some(format!(
            "SELECT key::text, value::text FROM {table} ORDER BY key::text COLLATE \"C\""
        ))
    }

    /// Puts the tables away under other names, and views in their place.
    ///
    /// The deployed program creates its tables where they are missing: without the views it would
    /// begin anew in empty ones. On a view its indexes, its inserts and its reads of a column all
    /// fail.
    pub(super) async fn put_away(&self, connection: &Connection) -> Result<()> {
        for table in self.tables() {
            self.drop_indexes(connection, table).await?;
            let old = qualified(&self.schema, table);
            let new = format!("{TAKEN_OVER}{table}");
            let text = format!(
                "ALTER TABLE {old} RENAME TO {};
                 CREATE VIEW {old} AS SELECT 'see {new}'::text AS taken_over",
                quoted(&new)
            );
            run(connection, &text).await?;
        }
        Ok(())
    }

    /// What was renamed is an archive: nobody looks rows up in it. Its names of indexes would also
    /// be in the way of the views.
    async fn drop_indexes(&self, connection: &Connection, table: &str) -> Result<()> {
        let of_table = qualified(&self.schema, table).replace('\'', "''");
        let found = rows(
            connection,
            &format!(
                "SELECT indexrelid::regclass::text FROM pg_catalog.pg_index i
                 WHERE indrelid = '{of_table}'::regclass AND NOT EXISTS (
                   SELECT 1 FROM pg_catalog.pg_constraint c WHERE c.conindid = i.indexrelid)"
            ),
        )
        .await?;
        for index in &found {
            let index: &str = value(index, 0)?;
            run(connection, &format!("DROP INDEX {index}")).await?;
        }
        Ok(())
    }
}

/// The columns of a table or view, none where there is no such thing.
async fn columns(connection: &Connection, schema: &str, table: &str) -> Result<Vec<String>> {
    let ask = "SELECT a.attname::text FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
         AND c.relkind IN ('r', 'p', 'v')";
    let rows = connection
        .driver()?
        .query_typed(ask, &[(&schema, Type::TEXT), (&table, Type::TEXT)])
        .await
        .map_err(failed("takeover"))?;
    rows.iter().map(|row| value(row, 0)).collect()
}

fn foreign(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Foreign)
        .with_message(message)
        .of_backend(NAME)
        .during("takeover")
}

impl<'r> Raw<'r> {
    pub(super) fn of(row: &'r Row) -> Result<Self> {
        Ok(Self {
            place: value(row, 0)?,
            id: value(row, 1)?,
            order: value(row, 2)?,
            ts: value(row, 3)?,
            json: value(row, 4)?,
        })
    }

    /// The operation that the row holds.
    pub(super) fn operation(&self, reading: &Reading) -> Result<Operation, RefusedReason> {
        let sync_order = match self.order {
            None => Ok(None),
            Some(order) => order.parse().map(Some).map_err(|_| RefusedReason::BadOrder),
        };
        let columns = Columns {
            id: self.id,
            ts: self.ts.and_then(|ts| ts.parse().ok()),
            sync_order,
            json: self.json,
        };
        columns.operation(reading)
    }

    /// The row in a report.
    pub(super) fn refused(&self, reason: RefusedReason) -> RefusedRow {
        RefusedRow {
            place: self.place.to_owned(),
            id: self.id.into(),
            sync_order: self.order.into(),
            ts: self.ts.into(),
            reason,
        }
    }
}

/// The state entry that a row of the state holds.
pub(super) fn state_entry(row: &Row) -> Result<Result<(StateKey, String), RefusedState>> {
    let (key, text): (Option<&str>, Option<&str>) = (value(row, 0)?, value(row, 1)?);
    let refused = |reason| RefusedState {
        key: Found::from(key),
        bytes: text.map_or(0, str::len),
        reason,
    };
    let name = key.and_then(|key| StateKey::new(key).ok());
    Ok(match (name, text) {
        (None, _) => Err(refused(RefusedReason::BadKey)),
        (Some(name), Some(text)) if text.len() <= limits::STATE_VALUE_BYTES => {
            Ok((name, text.to_owned()))
        }
        (Some(_), _) => Err(refused(RefusedReason::BadValue)),
    })
}
