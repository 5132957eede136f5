//! What the schema holds, and how it comes to hold what this crate reads and writes.

use sync_core::schema::{self, Contents, Migration, Recorded};
use sync_core::{Error, ErrorKind, Migrated, Result};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, GenericClient, Row};

use crate::columns::{count, only, value};
use crate::config::{PostgresConfig, Server};
use crate::error::{corrupt, failed, no_connection};
use crate::statements::quoted;
use crate::{NAME, connection};

/// Every released migration, oldest first. A released one never changes.
const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "init",
    text: include_str!("../migrations/V1__init.sql"),
}];

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
  -- What was applied to this schema, and the BLAKE3 of its text.
  version    integer PRIMARY KEY,
  name       text    NOT NULL,
  checksum   text    NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)";

/// How long a migration waits for one that another process runs. A migration itself has no limit.
const TIMEOUTS: &str = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0";

/// Brings the configured schema to the supported version.
pub(crate) async fn migrate(config: &PostgresConfig) -> Result<Migrated> {
    if let Server::Adopted(pool) = &config.server {
        let mut client = pool.get().await.map_err(no_connection)?;
        return migrate_on(&mut client, &config.schema).await;
    }
    let (mut client, _running) = connection::alone(config, |_| ()).await?;
    migrate_on(&mut client, &config.schema).await
}

/// Refuses every schema that is not the supported one.
pub(crate) async fn require(client: &(impl GenericClient + Sync), schema: &str) -> Result<()> {
    let contents = contents(client, schema).await?;
    schema::require(contents, &MIGRATIONS).map_err(name_foreign(schema))
}

async fn migrate_on(client: &mut Client, schema: &str) -> Result<Migrated> {
    let transaction = client.transaction().await.map_err(failed)?;
    let migrated = migrate_inside(&transaction, schema).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(migrated)
}

async fn migrate_inside(
    transaction: &(impl GenericClient + Sync),
    schema: &str,
) -> Result<Migrated> {
    let run = async |text: &str| transaction.batch_execute(text).await.map_err(failed);
    run(TIMEOUTS).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    ask(transaction, lock, &[(&lock_key(schema), Type::INT8)]).await?;
    let contents = contents(transaction, schema).await?;
    let name = quoted(schema);
    run(&format!("SET LOCAL search_path TO {name}, pg_catalog")).await?;
    let from = match contents {
        Contents::Ours { version } => version,
        Contents::Empty | Contents::Foreign => 0,
    };
    let history = if from > 0 {
        history(transaction).await?
    } else {
        Vec::new()
    };
    let missing = schema::decide(contents, &history, &MIGRATIONS).map_err(name_foreign(schema))?;
    if contents == Contents::Empty {
        if !exists(transaction, schema).await? {
            run(&format!("CREATE SCHEMA {name}")).await?;
        }
        run(HISTORY).await?;
    }
    for migration in missing {
        run(migration.text).await?;
        record(transaction, migration).await?;
        let version = migration.version;
        tracing::info!(backend = NAME, version, "applied a migration");
    }
    let to = schema::supported(&MIGRATIONS);
    Ok(Migrated { from, to })
}

/// What `schema` holds. Writes nothing.
async fn contents(client: &(impl GenericClient + Sync), schema: &str) -> Result<Contents> {
    let look = "SELECT
       (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n
          ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'v', 'm', 'p', 'f')),
       (SELECT count(*) FROM pg_catalog.pg_attribute a
          JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = 'schema_migration' AND a.attnum > 0
          AND a.attname IN ('version', 'name', 'checksum', 'applied_at')),
       current_setting('server_encoding')";
    let rows = ask(client, look, &[(&schema, Type::TEXT)]).await?;
    let row = only(&rows)?;
    let (tables, ours, encoding): (u64, u64, &str) =
        (count(row, 0)?, count(row, 1)?, value(row, 2)?);
    if encoding != "UTF8" {
        return Err(Error::new(ErrorKind::Unsupported).with_message(format!(
            "the database's encoding is {encoding}; create one with ENCODING 'UTF8'"
        )));
    }
    if tables == 0 {
        return Ok(Contents::Empty);
    }
    if ours != 4 {
        return Ok(Contents::Foreign);
    }
    let newest = format!(
        "SELECT max(version) FROM {}.schema_migration",
        quoted(schema)
    );
    let rows = ask(client, &newest, &[]).await?;
    let version: Option<i32> = value(only(&rows)?, 0)?;
    let version = version.and_then(|version| u32::try_from(version).ok());
    Ok(version.map_or(Contents::Foreign, |version| Contents::Ours { version }))
}

fn name_foreign(schema: &str) -> impl Fn(Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::Foreign => error.with_message(format!(
            "the schema {schema:?} holds another program's tables"
        )),
        _ => error,
    }
}

async fn exists(transaction: &(impl GenericClient + Sync), schema: &str) -> Result<bool> {
    let look = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let rows = ask(transaction, look, &[(&schema, Type::TEXT)]).await?;
    Ok(!rows.is_empty())
}

async fn history(transaction: &(impl GenericClient + Sync)) -> Result<Vec<Recorded>> {
    let look = "SELECT version, checksum FROM schema_migration";
    let rows = ask(transaction, look, &[]).await?;
    let recorded = |row| {
        Ok(Recorded {
            version: u32::try_from(value::<i32>(row, 0)?).map_err(corrupt)?,
            checksum: value(row, 1)?,
        })
    };
    rows.iter().map(recorded).collect()
}

async fn record(transaction: &(impl GenericClient + Sync), migration: &Migration) -> Result<()> {
    let version = i32::try_from(migration.version).unwrap_or(i32::MAX);
    let write = "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)";
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&version, Type::INT4),
        (&migration.name, Type::TEXT),
        (&migration.checksum(), Type::TEXT),
    ];
    ask(transaction, write, &parameters).await.map(drop)
}

async fn ask(
    client: &(impl GenericClient + Sync),
    text: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>> {
    client.query_typed(text, parameters).await.map_err(failed)
}

/// The number of the lock that migrations of `schema` take.
fn lock_key(schema: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"sync-store migrate ")
        .update(schema.as_bytes());
    let mut key = [0; 8];
    hasher.finalize_xof().fill(&mut key);
    i64::from_le_bytes(key)
}
