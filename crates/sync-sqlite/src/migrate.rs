use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use sync_core::schema::{self, Contents, Migration, Recorded};
use sync_core::{Migrated, Result};

use crate::NAME;
use crate::connection::{self, APPLICATION_ID};
use crate::error::failed;

/// Every released migration, oldest first.
pub(crate) const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "init",
    text: include_str!("../migrations/V1__init.sql"),
}];

/// How long a migration waits for one that another process runs.
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_mins(1);

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
    if missing(connection)?.1.is_empty() {
        // A backup made by `VACUUM INTO` has the log off.
        switch_to_wal(connection).map_err(failed)?;
    } else {
        prepare_file(connection).map_err(failed)?;
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let (from, missing) = missing(&transaction)?;
    for migration in missing {
        apply(&transaction, migration).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    let to = schema::supported(&MIGRATIONS);
    Ok(Migrated { from, to })
}

/// The version of the file's schema, 0 for an empty file, and the migrations it lacks.
fn missing(connection: &Connection) -> Result<(u32, Vec<&'static Migration>)> {
    let contents = connection::contents(connection).map_err(failed)?;
    let history = match contents {
        Contents::Ours { .. } => history(connection).map_err(failed)?,
        Contents::Empty | Contents::Foreign => Vec::new(),
    };
    let missing = schema::decide(contents, &history, &MIGRATIONS);
    let from = match contents {
        Contents::Ours { version } => version,
        Contents::Empty | Contents::Foreign => 0,
    };
    Ok((from, missing.map_err(connection::name_foreign)?))
}

fn history(connection: &Connection) -> rusqlite::Result<Vec<Recorded>> {
    if !connection.table_exists(None, "schema_migration")? {
        return Ok(Vec::new());
    }
    let mut history = connection.prepare("SELECT version, checksum FROM schema_migration")?;
    let recorded = |row: &rusqlite::Row<'_>| {
        Ok(Recorded {
            version: row.get(0)?,
            checksum: row.get(1)?,
        })
    };
    history.query_map([], recorded)?.collect()
}

fn apply(connection: &Connection, migration: &Migration) -> rusqlite::Result<()> {
    let Migration {
        version,
        name,
        text,
    } = *migration;
    connection.execute_batch(HISTORY)?;
    connection.execute_batch(text)?;
    connection.execute(
        "INSERT INTO schema_migration (version, name, checksum, applied_at)
         VALUES (?1, ?2, ?3, unixepoch())",
        params![version, name, migration.checksum()],
    )?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", version)?;
    tracing::info!(backend = NAME, version, "applied a migration");
    Ok(())
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
                    && began.elapsed() < LOCK_TIMEOUT =>
            {
                std::thread::sleep(Duration::from_millis(fastrand::u64(1..=20)));
            }
            other => return other.map(drop),
        }
    }
}
