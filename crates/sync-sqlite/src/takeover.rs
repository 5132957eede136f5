//! The deployed system's database becomes one of ours.

mod deployed;
mod import;

use std::fmt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use sync_core::{Error, Operation, Result, SpaceName};
use sync_takeover::Reading;
pub use sync_takeover::{
    Found, LegacyRow, RefusedReason, RefusedRow, RefusedState, TakeoverReport,
};

use self::deployed::Deployed;
pub(crate) use self::deployed::recognises;
use self::import::Import;
use crate::apply::boundary;
use crate::connection::{self, Contents, Role};
use crate::error::failed;
use crate::pool::Pool;
use crate::{NAME, SqliteConfig, migrate, space};

/// Takes over the database of the deployed system, MDIP's mediator: its operations become rows
/// and its cursors state of one space.
///
/// - Rows are taken in the order of their sync order, those without one last, then of their time,
///   then of their id. Seqs are minted in that order.
/// - State keeps its keys and values.
/// - A row that cannot be taken is left out and [reported](TakeoverReport::refused) with the
///   [reason](RefusedReason). It never stops the others.
/// - Files from before `sync_order`, from before `signed_ts`, or without `sync_state` are read as
///   the deployed system's own migration reads them.
/// - All is written in one transaction: a takeover that was killed has changed nothing, and can
///   simply be run again.
///
/// ```no_run
/// use sync_sqlite::{SqliteBackend, SqliteConfig, Takeover};
/// use sync_core::{Backend, SpaceName};
///
/// # async fn example() -> sync_core::Result<()> {
/// let config = SqliteConfig::new("sync.db");
/// SqliteBackend::migrate(&config).await?;
/// let report = Takeover::from_copy("data/hyperswarm/operations.db", config, SpaceName::new("mdip")?)
///     .run()
///     .await?;
/// for row in &report.refused {
///     eprintln!("{row}");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Takeover {
    /// The old file, where it is not the new one.
    copy: Option<PathBuf>,
    config: SqliteConfig,
    space: SpaceName,
    reading: Box<Reading>,
}

impl Takeover {
    /// Fills `space` of the file behind `config` from the deployed file `old`.
    ///
    /// - `old` is only read, from one snapshot; nothing may be left in a journal beside it that
    ///   would have to be rolled back.
    /// - The file behind `config` must have been migrated; `space` must be empty.
    pub fn from_copy(old: impl Into<PathBuf>, config: SqliteConfig, space: SpaceName) -> Self {
        Self {
            copy: Some(old.into()),
            config,
            space,
            reading: Box::new(|row| Ok(row.as_it_is())),
        }
    }

    /// Turns the deployed file behind `config` into one of ours, with `space` in it.
    ///
    /// - The file must hold the deployed tables and nothing else, in UTF-8.
    /// - While another program reads or writes the file, the takeover waits, and in the end fails
    ///   with [`Busy`](sync_core::ErrorKind::Busy).
    /// - The old tables stay, without their indexes, as `taken_over_operations` and
    ///   `taken_over_sync_state`. Whoever does not want them any more may drop them.
    /// - In their place are views of the old names, to which nothing can be written and no index
    ///   added, without the old columns. The deployed program therefore fails when it is started
    ///   again, instead of beginning anew in this file.
    /// - The write-ahead log is turned on after the transaction. Where another program keeps the
    ///   file busy, or the process is killed in between, the next
    ///   [`migrate`](sync_core::Backend::migrate) does it.
    pub fn in_place(config: SqliteConfig, space: SpaceName) -> Self {
        Self {
            copy: None,
            config,
            space,
            reading: Box::new(|row| Ok(row.as_it_is())),
        }
    }

    /// Reads rows with `reading` instead of [`LegacyRow::as_it_is`]. What it answers is taken as it
    /// is, as long as the payload is within the limit.
    pub fn reading(
        mut self,
        reading: impl Fn(&LegacyRow<'_>) -> Result<Operation, RefusedReason> + Send + Sync + 'static,
    ) -> Self {
        self.reading = Box::new(reading);
        self
    }

    /// Does it.
    ///
    /// - [`Foreign`](sync_core::ErrorKind::Foreign) where the deployed tables are missing or have other
    ///   columns; the message says which.
    /// - [`InvalidInput`](sync_core::ErrorKind::InvalidInput) where the space is not empty, or the file was
    ///   taken over before.
    pub async fn run(self) -> Result<TakeoverReport> {
        Pool::new(self.config.clone(), Role::Writer, 1)
            .run("takeover", move |connection| match &self.copy {
                Some(old) => self.copy_from(connection, old),
                None => self.convert(connection),
            })
            .await
    }

    fn copy_from(&self, connection: &mut Connection, old: &Path) -> Result<TakeoverReport> {
        connection::require_schema(connection, "takeover")?;
        let mut old = open_old(old, &self.config).map_err(failed("takeover"))?;
        let old = old.transaction().map_err(failed("takeover"))?;
        if let Contents::Ours { .. } = connection::contents(&old).map_err(unreadable)? {
            return Err(taken_before());
        }
        let deployed = Deployed::of(&old)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed("takeover"))?;
        let import = Import::new(&transaction, &self.config, &self.space)?;
        let report = import.all(&deployed, &old, &self.reading)?;
        boundary(&self.config, "commit")?;
        space::commit(transaction, "takeover")?;
        self.log(&report);
        Ok(report)
    }

    fn convert(&self, connection: &mut Connection) -> Result<TakeoverReport> {
        // With a rollback journal anything less may damage the file in a power failure.
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(failed("takeover"))?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed("takeover"))?;
        match connection::contents(&transaction).map_err(failed("takeover"))? {
            Contents::Ours { .. } => return Err(taken_before()),
            Contents::Empty | Contents::Deployed | Contents::Foreign => {}
        }
        let deployed = Deployed::of(&transaction)?;
        deployed::require_convertible(&transaction)?;
        boundary(&self.config, "schema")?;
        migrate::migrate_in(&transaction, 0)?;
        let import = Import::new(&transaction, &self.config, &self.space)?;
        let report = import.all(&deployed, &transaction, &self.reading)?;
        boundary(&self.config, "put away")?;
        deployed
            .put_away(&transaction)
            .map_err(failed("takeover"))?;
        boundary(&self.config, "commit")?;
        space::commit(transaction, "takeover")?;
        boundary(&self.config, "wal")?;
        if let Err(error) = migrate::switch_to_wal(connection) {
            tracing::warn!(backend = NAME, %error, "the write-ahead log is off until the next migration");
        }
        self.log(&report);
        Ok(report)
    }

    fn log(&self, report: &TakeoverReport) {
        tracing::info!(
            backend = NAME,
            space = self.space.as_str(),
            taken = report.taken,
            refused = report.refused.len(),
            "took a database over"
        );
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover")
            .field("copy", &self.copy)
            .field("config", &self.config)
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

/// Opens the old file so that nothing can be written to it.
fn open_old(old: &Path, config: &SqliteConfig) -> rusqlite::Result<Connection> {
    let path = std::path::absolute(old).unwrap_or_else(|_| old.to_owned());
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(config.busy_timeout)?;
    Ok(connection)
}

/// An error of the first read of an old file.
fn unreadable(source: rusqlite::Error) -> Error {
    let code = source.sqlite_error().map(|error| error.extended_code);
    let error = failed("takeover")(source);
    if code == Some(rusqlite::ffi::SQLITE_READONLY_ROLLBACK) {
        error.with_message(
            "a journal lies beside the old file, of a write that was not finished; whatever opens \
             the file for writing rolls it back",
        )
    } else {
        error
    }
}

fn taken_before() -> Error {
    refused("the file is one of ours, perhaps taken over before")
}

fn refused(message: impl Into<String>) -> Error {
    Error::invalid("takeover", message.into())
        .of_backend(NAME)
        .during("takeover")
}
