//! Connections to the server, and what the schema holds.

use std::fmt::Write as _;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use sync_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, GenericClient};

use crate::config::{PostgresConfig, Server};
use crate::error::{failed, named};
use crate::migrate::SCHEMA_VERSION;
use crate::{NAME, tls};

/// What the schema of an installation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// No tables, or no schema of that name.
    Empty,
    Ours {
        version: u32,
    },
    Foreign,
}

/// What a session does for all of its life, in the form that `SET` takes.
///
/// The planner may neither sort nor read a table whole: it believes that a table which nobody has
/// analysed is small, and every statement has an index in its order. What that rules out costs so
/// much on paper that the server would compile the statement.
fn settings(config: &PostgresConfig) -> [(&'static str, String); 10] {
    let off = || "off".to_owned();
    let millis = |timeout: Duration| timeout.as_millis().min(i32::MAX as u128).to_string();
    [
        ("enable_seqscan", off()),
        ("enable_bitmapscan", off()),
        ("enable_sort", off()),
        ("enable_hashjoin", off()),
        ("enable_mergejoin", off()),
        ("jit", off()),
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        // A writer whose machine has gone must not hold the space for ever.
        ("idle_in_transaction_session_timeout", "60000".to_owned()),
    ]
}

/// Where the server answers before a commit is safe, it is told to wait; whoever made it wait for
/// more than that knows why.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', {local})
  WHERE current_setting('synchronous_commit') = 'off'";

/// The settings of a session, or of the transaction that the text follows the beginning of.
pub(crate) fn set_up(config: &PostgresConfig, local: bool) -> String {
    let scope = if local { "SET LOCAL" } else { "SET" };
    let mut text = String::new();
    for (name, value) in settings(config) {
        // Nothing but memory could fail, and it aborts.
        let _ = write!(text, "{scope} {name} = {value};");
    }
    text.push_str(&DURABLE.replace("{local}", if local { "true" } else { "false" }));
    text
}

/// The pool of `config`, with nothing in it yet.
pub(crate) fn pool(config: &PostgresConfig) -> Result<Pool> {
    let server = match &config.server {
        Server::Adopted(pool) => return Ok(pool.clone()),
        Server::Own(_) => config.driver().unwrap_or_default(),
    };
    let manager = Manager::from_config(
        server,
        tls::connector(config)?,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let mut builder = Pool::builder(manager)
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1);
    if config.has_sessions() {
        let text = set_up(config, false);
        builder = builder.post_create(Hook::async_fn(move |client, _| {
            let text = text.clone();
            Box::pin(async move {
                let set = client.batch_execute(&text).await;
                set.map_err(HookError::Backend)
            })
        }));
    }
    builder.build().map_err(|source| {
        Error::new(ErrorKind::Failed)
            .with_source(source)
            .of_backend(NAME)
    })
}

/// A connection of its own, outside every pool, and the task that keeps it going. What the server
/// says without being asked goes to `heard`.
pub(crate) async fn alone(
    config: &PostgresConfig,
    heard: impl Fn(AsyncMessage) + Send + 'static,
) -> Result<(Client, JoinHandle<()>)> {
    let Some(server) = config.driver() else {
        return Err(Error::new(ErrorKind::Unsupported).of_backend(NAME));
    };
    let tls = tls::connector(config)?;
    let (client, mut connection) = server.connect(tls).await.map_err(failed("connect"))?;
    let task = tokio::spawn(async move {
        let mut messages = std::pin::pin!(futures_util::stream::poll_fn(
            move |cx| connection.poll_message(cx)
        ));
        while let Some(Ok(message)) = futures_util::StreamExt::next(&mut messages).await {
            heard(message);
        }
    });
    Ok((client, task))
}

/// What `schema` holds. Writes nothing.
pub(crate) async fn contents(
    client: &(impl GenericClient + Sync),
    schema: &str,
    operation: &'static str,
) -> Result<Contents> {
    let look = "SELECT
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
          ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'v', 'm', 'p', 'f')),
       (SELECT count(*) FROM pg_catalog.pg_attribute a
          JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = 'schema_migration' AND a.attnum > 0
          AND a.attname IN ('version', 'name', 'checksum', 'applied_at')),
       current_setting('server_encoding')";
    let text = tokio_postgres::types::Type::TEXT;
    let rows = client.query_typed(look, &[(&schema, text)]).await;
    let rows = rows.map_err(failed(operation))?;
    let row = rows
        .first()
        .ok_or_else(|| named(operation)(Error::new(ErrorKind::Failed)))?;
    let (tables, ours): (i64, i64) = (
        row.try_get(0).map_err(failed(operation))?,
        row.try_get(1).map_err(failed(operation))?,
    );
    let encoding: &str = row.try_get(2).map_err(failed(operation))?;
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::Unsupported)
            .with_message(format!(
                "the database's encoding is {encoding}; create one with ENCODING 'UTF8'"
            ))
            .of_backend(NAME)
            .during(operation));
    }
    if tables == 0 {
        return Ok(Contents::Empty);
    }
    if ours != 4 {
        return Ok(Contents::Foreign);
    }
    let newest = format!(
        "SELECT max(version) FROM {}.schema_migration",
        crate::statements::quoted(schema)
    );
    let rows = client.query_typed(&newest, &[]).await;
    let rows = rows.map_err(failed(operation))?;
    let version: Option<i32> = match rows.first() {
        Some(row) => row.try_get(0).map_err(failed(operation))?,
        None => None,
    };
    Ok(
        match version.and_then(|version| u32::try_from(version).ok()) {
            Some(version) => Contents::Ours { version },
            None => Contents::Foreign,
        },
    )
}

/// Refuses every schema that is not the supported one.
pub(crate) fn require_schema(
    contents: Contents,
    schema: &str,
    operation: &'static str,
) -> Result<()> {
    let found = match contents {
        Contents::Ours {
            version: SCHEMA_VERSION,
        } => return Ok(()),
        Contents::Ours { version } => version,
        Contents::Empty => 0,
        Contents::Foreign => return Err(foreign(schema, operation)),
    };
    Err(Error::new(ErrorKind::SchemaMismatch {
        found,
        supported: SCHEMA_VERSION,
    })
    .of_backend(NAME)
    .during(operation))
}

/// The refusal of a schema that is not ours.
pub(crate) fn foreign(schema: &str, operation: &'static str) -> Error {
    Error::new(ErrorKind::Foreign)
        .with_message(format!(
            "the schema {schema:?} holds another program's tables"
        ))
        .of_backend(NAME)
        .during(operation)
}
