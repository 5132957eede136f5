//! A mediator's tables in `PostgreSQL`.

use std::fmt;

use sync_core::{Bytes, Error, ErrorKind, Result};
use sync_postgres::PostgresConfig;
use sync_postgres::tokio_postgres::types::{FromSql, Type};
use sync_postgres::tokio_postgres::{Client, Row};

use crate::old::{Contents, Layout, OldDatabase, OldRow, OldState, OldValue};

/// The names that the tables may have: operations, state.
const NAMES: [(&str, &str); 2] = [
    ("hyperswarm_sync_operations", "hyperswarm_sync_state"),
    ("operations", "sync_state"),
];

const FETCH: &str = "FETCH 200 FROM old_rows";

/// A deployed mediator's tables in `PostgreSQL`, read in one transaction that can write nothing.
///
/// They are `hyperswarm_sync_operations` and `hyperswarm_sync_state`, or `operations` and
/// `sync_state`. Tables from before `sync_order`, from before `signed_ts`, or without state are
/// read as the mediator's own migration reads them.
///
/// What it reads is one snapshot, from [`open`](Self::open) until it is dropped. No other program
/// waits for it.
pub struct OldPostgres {
    client: Client,
    contents: Contents,
}

/// The tables, and how they have to be read.
struct Tables {
    operations: String,
    state: Option<String>,
    /// The order, or NULL in a table from before that column.
    order: &'static str,
    /// The column of the time.
    ts: &'static str,
}

impl OldPostgres {
    /// Connects and reads through the tables once, for their [mark](Contents::mark).
    ///
    /// - The tables are those of the configuration's schema, which for a mediator is `public`.
    /// - [`Foreign`](ErrorKind::Foreign) where they are missing or have other columns; the message
    ///   says which.
    pub async fn open(config: &PostgresConfig) -> Result<Self> {
        let client = config.client().await?;
        // A large table is sorted, and a slow store keeps the transaction idle.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
                     SET LOCAL statement_timeout = 0;
                     SET LOCAL idle_in_transaction_session_timeout = 0";
        client.batch_execute(begin).await.map_err(failed)?;
        let tables = Tables::of(&client, config.schema_name()).await?;
        let state = tables.state(&client).await?;
        let (rows, sum) = tables.count(&client).await?;
        let mark = blake3::hash(format!("{rows} {sum} {state:?}").as_bytes()).to_hex();
        client
            .batch_execute(&tables.declare())
            .await
            .map_err(failed)?;
        Ok(Self {
            contents: Contents {
                mark: mark.as_str().to_owned(),
                rows,
                state,
            },
            client,
        })
    }
}

impl OldDatabase for OldPostgres {
    fn contents(&self) -> &Contents {
        &self.contents
    }

    async fn rows(&mut self) -> Result<Vec<OldRow>> {
        let rows = rows(&self.client, FETCH).await?;
        rows.iter().map(old_row).collect()
    }
}

impl fmt::Debug for OldPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OldPostgres")
            .field("contents", &self.contents)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// The mediator's tables in `schema`; an error that says what is missing where they are not
    /// there.
    async fn of(client: &Client, schema: &str) -> Result<Self> {
        for (operations, state) in NAMES {
            let found = columns(client, schema, operations).await?;
            if found.is_empty() {
                continue;
            }
            let state_found = columns(client, schema, state).await?;
            let layout = Layout::of((operations, &found), (state, &state_found));
            let layout = layout.map_err(foreign)?;
            let order = if layout.has_order {
                "t.sync_order"
            } else {
                "NULL::bigint"
            };
            return Ok(Self {
                operations: qualified(schema, operations),
                state: layout.has_state.then(|| qualified(schema, state)),
                order,
                ts: layout.ts,
            });
        }
        let message = format!("the schema {schema:?} has no table of a mediator's operations");
        Err(foreign(message))
    }

    async fn state(&self, client: &Client) -> Result<Vec<OldState>> {
        let Some(table) = &self.state else {
            return Ok(Vec::new());
        };
        let select =
            format!("SELECT key::text, value::text FROM {table} ORDER BY key::text COLLATE \"C\"");
        let entry = |row: &Row| {
            let text: Option<String> = value(row, 1)?;
            Ok(OldState {
                key: value(row, 0)?,
                value: text.map(Bytes::from),
            })
        };
        rows(client, &select).await?.iter().map(entry).collect()
    }

    /// How many rows there are, and the sum of their hashes, which the server takes.
    async fn count(&self, client: &Client) -> Result<(u64, String)> {
        let select = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} t",
            self.operations
        );
        let rows = rows(client, &select).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Failed))?;
        let count: i64 = value(row, 0)?;
        Ok((count.unsigned_abs(), value(row, 1)?))
    }

    /// The cursor over all rows: by (order, time, id), those without an order last.
    fn declare(&self) -> String {
        let Self {
            operations,
            order,
            ts,
            ..
        } = self;
        // By the columns, not by the text that is answered under their names.
        format!(
            "DECLARE old_rows NO SCROLL CURSOR FOR
             SELECT t.ctid::text, t.id::text, ({order})::text, t.{ts}::text, t.operation_json::text
             FROM {operations} t ORDER BY {order} NULLS LAST, t.{ts}, t.id::text COLLATE \"C\""
        )
    }
}

/// The columns of a table, none where there is no such table.
async fn columns(client: &Client, schema: &str, table: &str) -> Result<Vec<String>> {
    let select = "SELECT a.attname::text FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped
         AND c.relkind = 'r'";
    let rows = client
        .query_typed(select, &[(&schema, Type::TEXT), (&table, Type::TEXT)])
        .await
        .map_err(failed)?;
    rows.iter().map(|row| value(row, 0)).collect()
}

/// The rows of a statement without parameters.
async fn rows(client: &Client, text: &str) -> Result<Vec<Row>> {
    client.query_typed(text, &[]).await.map_err(failed)
}

fn value<'r, T: FromSql<'r>>(row: &'r Row, index: usize) -> Result<T> {
    row.try_get(index).map_err(failed)
}

fn old_row(row: &Row) -> Result<OldRow> {
    Ok(OldRow {
        place: value(row, 0)?,
        id: value::<Option<String>>(row, 1)?.map_or(OldValue::Null, OldValue::Text),
        sync_order: number(value(row, 2)?),
        ts: number(value(row, 3)?),
        json: value(row, 4)?,
    })
}

/// A number in the server's text.
fn number(text: Option<&str>) -> OldValue {
    let Some(text) = text else {
        return OldValue::Null;
    };
    let number = text.parse().map(OldValue::Integer);
    number.unwrap_or_else(|_| OldValue::Text(text.to_owned()))
}

/// A table's name in statements.
fn qualified(schema: &str, table: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("{}.{}", quoted(schema), quoted(table))
}

fn foreign(message: String) -> Error {
    let error = Error::new(ErrorKind::Foreign).with_message(message);
    error.of_backend("postgres").during("takeover")
}

fn failed(source: sync_postgres::tokio_postgres::Error) -> Error {
    sync_postgres::failed(source).during("takeover")
}
