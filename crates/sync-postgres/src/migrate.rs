use sync_core::{Error, ErrorKind, Migrated, Result};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient};

use crate::NAME;
use crate::config::{PostgresConfig, Server};
use crate::connection::{self, Contents};
use crate::error::{failed, no_connection};
use crate::statements::quoted;

/// The schema this crate reads and writes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

/// Every released migration, oldest first. A released one never changes.
const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [Migration {
    version: 1,
    name: "init",
    sql: include_str!("../migrations/V1__init.sql"),
}];

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
  -- What was applied to this schema, and the BLAKE3 of its text.
  version    integer PRIMARY KEY,
  name       text    NOT NULL,
  checksum   text    NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
)";

/// How long a migration waits for one that another process runs. A migration itself may take as
/// long as it does.
const PATIENCE: &str = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0";

/// Brings the configured schema to the supported version.
pub(crate) async fn migrate(config: &PostgresConfig) -> Result<Migrated> {
    if let Server::Adopted(pool) = &config.server {
        let mut client = pool.get().await.map_err(no_connection("migrate"))?;
        return migrate_on(&mut client, &config.schema).await;
    }
    let (mut client, _running) = connection::alone(config, |_| ()).await?;
    migrate_on(&mut client, &config.schema).await
}

async fn migrate_on(client: &mut Client, schema: &str) -> Result<Migrated> {
    let transaction = client.transaction().await.map_err(failed("migrate"))?;
    let migrated = migrate_inside(&transaction, schema).await?;
    transaction.commit().await.map_err(failed("migrate"))?;
    Ok(migrated)
}

/// Applies what is missing, inside the caller's transaction.
async fn migrate_inside(
    transaction: &(impl GenericClient + Sync),
    schema: &str,
) -> Result<Migrated> {
    let run = async |text: &str| {
        let ran = transaction.batch_execute(text).await;
        ran.map_err(failed("migrate"))
    };
    run(PATIENCE).await?;
    let key = lock_key(schema);
    transaction
        .query_typed("SELECT pg_advisory_xact_lock($1)", &[(&key, Type::INT8)])
        .await
        .map_err(failed("migrate"))?;
    let from = version(transaction, schema).await?;
    let schema_name = quoted(schema);
    run(&format!(
        "SET LOCAL search_path TO {schema_name}, pg_catalog"
    ))
    .await?;
    if from > 0 {
        check_history(transaction, from).await?;
    }
    if from < SCHEMA_VERSION {
        if from == 0 && !exists(transaction, schema).await? {
            run(&format!("CREATE SCHEMA {schema_name}")).await?;
        }
        run(HISTORY).await?;
    }
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > from)
    {
        run(migration.sql).await?;
        record(transaction, migration).await?;
        tracing::info!(
            backend = NAME,
            version = migration.version,
            "applied a migration"
        );
    }
    Ok(Migrated {
        from,
        to: SCHEMA_VERSION,
    })
}

/// The version of the schema, 0 for an empty one; an error where it may not be touched.
async fn version(transaction: &(impl GenericClient + Sync), schema: &str) -> Result<u32> {
    match connection::contents(transaction, schema, "migrate").await? {
        Contents::Empty => Ok(0),
        Contents::Ours { version } if version <= SCHEMA_VERSION => Ok(version),
        Contents::Ours { version } => {
            let kind = ErrorKind::SchemaMismatch {
                found: version,
                supported: SCHEMA_VERSION,
            };
            Err(Error::new(kind).of_backend(NAME).during("migrate"))
        }
        Contents::Foreign => Err(connection::foreign(schema, "migrate")),
    }
}

async fn exists(transaction: &(impl GenericClient + Sync), schema: &str) -> Result<bool> {
    let rows = transaction
        .query_typed(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
            &[(&schema, Type::TEXT)],
        )
        .await;
    Ok(!rows.map_err(failed("migrate"))?.is_empty())
}

/// A migration whose text differs from what was applied means that two builds disagree about what
/// the schema is.
async fn check_history(transaction: &(impl GenericClient + Sync), version: u32) -> Result<()> {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= version)
    {
        let number = i32::try_from(migration.version).unwrap_or(i32::MAX);
        let rows = transaction
            .query_typed(
                "SELECT checksum FROM schema_migration WHERE version = $1",
                &[(&number, Type::INT4)],
            )
            .await
            .map_err(failed("migrate"))?;
        let applied: Option<String> = match rows.first() {
            Some(row) => row.try_get(0).map_err(failed("migrate"))?,
            None => None,
        };
        if applied.as_deref() != Some(&*checksum(migration.sql)) {
            let what = match applied {
                Some(_) => "has another text than this program's",
                None => "is not recorded in this schema",
            };
            return Err(Error::new(ErrorKind::Corrupt)
                .with_message(format!("migration {} {what}", migration.version))
                .of_backend(NAME)
                .during("migrate"));
        }
    }
    Ok(())
}

async fn record(transaction: &(impl GenericClient + Sync), migration: &Migration) -> Result<()> {
    let number = i32::try_from(migration.version).unwrap_or(i32::MAX);
    transaction
        .query_typed(
            "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)",
            &[
                (&number, Type::INT4),
                (&migration.name, Type::TEXT),
                (&checksum(migration.sql), Type::TEXT),
            ],
        )
        .await
        .map(drop)
        .map_err(failed("migrate"))
}

fn checksum(sql: &str) -> String {
    blake3::hash(sql.as_bytes()).to_hex().to_string()
}

/// The number of the lock that migrations of `schema` take.
fn lock_key(schema: &str) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(b"sync-store migrate ")
        .update(schema.as_bytes());
    let mut half = [0; 8];
    half.copy_from_slice(hasher.finalize().as_slice().split_at(8).0);
    i64::from_le_bytes(half)
}
