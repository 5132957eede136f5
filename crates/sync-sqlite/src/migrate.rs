use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use sync_core::{Error, ErrorKind, Migrated, Result};

use crate::NAME;
use crate::connection::{self, APPLICATION_ID, Contents};
use crate::error::failed;

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

/// How long a migration waits for one that another process runs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
  -- What was applied to this file, and the BLAKE3 of its text.
  version    INTEGER PRIMARY KEY,
  name       TEXT    NOT NULL,
  checksum   TEXT    NOT NULL,
  applied_at INTEGER NOT NULL  -- seconds since 1970
) STRICT";

/// Brings the file behind `connection` to the supported schema.
pub(crate) fn migrate(connection: &mut Connection) -> Result<Migrated> {
    // The first look decides whether the file may be touched at all: even the journal mode is
    // written to it.
    let from = version(connection)?;
    if from < SCHEMA_VERSION {
        prepare_file(connection).map_err(failed("migrate"))?;
    } else {
        // A backup made by `VACUUM INTO` has the log off.
        switch_to_wal(connection).map_err(failed("migrate"))?;
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("migrate"))?;
    let from = version(&transaction)?;
    migrate_in(&transaction, from)?;
    transaction.commit().map_err(failed("migrate"))?;
    Ok(Migrated {
        from,
        to: SCHEMA_VERSION,
    })
}

/// Applies what is missing after version `from`, inside the caller's transaction.
fn migrate_in(connection: &Connection, from: u32) -> Result<()> {
    if from > 0 {
        check_history(connection, from)?;
    }
    if from == SCHEMA_VERSION {
        return Ok(());
    }
    apply_after(connection, from).map_err(failed("migrate"))
}

fn apply_after(connection: &Connection, from: u32) -> rusqlite::Result<()> {
    connection.execute_batch(HISTORY)?;
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > from)
    {
        connection.execute_batch(migration.sql)?;
        connection.execute(
            "INSERT INTO schema_migration (version, name, checksum, applied_at)
             VALUES (?1, ?2, ?3, unixepoch())",
            params![migration.version, migration.name, checksum(migration.sql)],
        )?;
        tracing::info!(
            backend = NAME,
            version = migration.version,
            "applied a migration"
        );
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Page size and journal mode belong to the file, and can only be set outside a transaction. The
/// page size holds only for a file without tables; a busy file has them set already.
fn prepare_file(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", 8_192)?;
    switch_to_wal(connection)
}

/// Turns the write-ahead log on. SQLite does not wait for a lock here, so this does.
fn switch_to_wal(connection: &Connection) -> rusqlite::Result<()> {
    let began = Instant::now();
    loop {
        let result = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match result {
            Err(error)
                if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
                    && began.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(fastrand::u64(1..=20)));
            }
            other => return other.map(drop),
        }
    }
}

/// The version of the file's schema, 0 for an empty file; an error where it may not be touched.
fn version(connection: &Connection) -> Result<u32> {
    match connection::contents(connection).map_err(failed("migrate"))? {
        Contents::Empty => Ok(0),
        Contents::Ours { version } if version <= SCHEMA_VERSION => Ok(version),
        Contents::Ours { version } => {
            let kind = ErrorKind::SchemaMismatch {
                found: version,
                supported: SCHEMA_VERSION,
            };
            Err(Error::new(kind).of_backend(NAME).during("migrate"))
        }
        Contents::Foreign => Err(connection::foreign("migrate")),
    }
}

/// A migration whose text differs from what was applied means that two builds disagree about what
/// the schema is.
fn check_history(connection: &Connection, version: u32) -> Result<()> {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= version)
    {
        let applied = applied_checksum(connection, migration.version).map_err(failed("migrate"))?;
        if applied.as_deref() != Some(&*checksum(migration.sql)) {
            let what = match applied {
                Some(_) => "has another text than this program's",
                None => "is not recorded in this file",
            };
            return Err(Error::new(ErrorKind::Corrupt)
                .with_message(format!("migration {} {what}", migration.version))
                .of_backend(NAME)
                .during("migrate"));
        }
    }
    Ok(())
}

fn applied_checksum(connection: &Connection, version: u32) -> rusqlite::Result<Option<String>> {
    if !connection.table_exists(None, "schema_migration")? {
        return Ok(None);
    }
    connection
        .query_row(
            "SELECT checksum FROM schema_migration WHERE version = ?1",
            [version],
            |row| row.get(0),
        )
        .optional()
}

fn checksum(sql: &str) -> String {
    blake3::hash(sql.as_bytes()).to_hex().to_string()
}
