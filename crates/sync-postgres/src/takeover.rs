//! The deployed system's tables become a space of ours.

mod deployed;
mod import;

use std::fmt;

use sync_core::{Error, Operation, Result, SpaceName};
use sync_takeover::Reading;
pub use sync_takeover::{
    Found, LegacyRow, RefusedReason, RefusedRow, RefusedState, TakeoverReport,
};

use self::deployed::Deployed;
use crate::apply::boundary;
use crate::connection;
use crate::driver::{Driver, Work};
use crate::error::{failed, named};
use crate::pool::{Connection, Pool};
use crate::{NAME, PostgresConfig, migrate, statements};

/// Takes over the tables of the deployed system, MDIP's mediator: its operations become rows and its
/// cursors state of one space, in the schema of ours in the same database.
///
/// - The tables are `hyperswarm_sync_operations` and `hyperswarm_sync_state`, or `operations` and
///   `sync_state`, in the schema `public` unless [another is named](Self::schema).
/// - Rows are taken in the order of their sync order, those without one last, then of their time,
///   then of their id. Seqs are minted in that order.
/// - State keeps its keys and values.
/// - An operation is the text that the server gives for the column. Where that is `jsonb`, spaces,
///   the order of keys and repeated keys of what was once signed are lost, so that a
///   [reading](Self::reading) has to bring the payload into the form that is wanted.
/// - A row that cannot be taken is left out and [reported](TakeoverReport::refused) with the
///   [reason](RefusedReason). It never stops the others.
/// - Tables from before `sync_order`, from before `signed_ts`, or without state are read as the
///   deployed system's own migration reads them.
/// - All is written in one transaction: a takeover that was killed has changed nothing, and can
///   simply be run again.
///
/// ```no_run
/// use sync_core::SpaceName;
/// use sync_postgres::{PostgresConfig, Takeover, tokio_postgres};
///
/// # async fn example() -> sync_core::Result<()> {
/// let mut server = tokio_postgres::Config::new();
/// server.host("db.example").user("mediator").dbname("mdip");
/// let config = PostgresConfig::new(server);
/// let report = Takeover::in_place(config, SpaceName::new("mdip")?).run().await?;
/// for row in &report.refused {
///     eprintln!("{row}");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Takeover {
    config: PostgresConfig,
    space: SpaceName,
    schema: String,
    /// Put the old tables away.
    in_place: bool,
    reading: Box<Reading>,
}

impl Takeover {
    /// Fills `space` from the deployed tables, and leaves these as they are.
    ///
    /// - They are not written to meanwhile: who tries waits.
    /// - Our schema must have been migrated; `space` must be empty.
    pub fn from_tables(config: PostgresConfig, space: SpaceName) -> Self {
        Self {
            config,
            space,
            schema: "public".to_owned(),
            in_place: false,
            reading: Box::new(|row| Ok(row.as_it_is())),
        }
    }

    /// Fills `space` from the deployed tables, and puts these away.
    ///
    /// - Our schema is created where it is missing, in the same transaction.
    /// - While another program reads or writes the tables, the takeover waits, and in the end fails
    ///   with [`Busy`](sync_core::ErrorKind::Busy).
    /// - The old tables stay, without their indexes, under names that begin with `taken_over_`.
    ///   Whoever does not want them any more may drop them.
    /// - In their place are views of the old names, to which nothing can be written and no index
    ///   added, without the old columns. The deployed program therefore fails when it is started
    ///   again, instead of beginning anew.
    pub fn in_place(config: PostgresConfig, space: SpaceName) -> Self {
        Self {
            in_place: true,
            ..Self::from_tables(config, space)
        }
    }

    /// The schema that holds the deployed tables. Default: `public`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
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
    /// - [`Foreign`](sync_core::ErrorKind::Foreign) where the deployed tables are missing or have
    ///   other columns; the message says which.
    /// - [`InvalidInput`](sync_core::ErrorKind::InvalidInput) where the space is not empty, or the
    ///   tables were taken over before.
    pub async fn run(self) -> Result<TakeoverReport> {
        self.config.validate().map_err(named("takeover"))?;
        let driver = Driver::new().map_err(named("takeover"))?;
        let running = async move { self.on_driver().await.map_err(named("takeover")) };
        driver.run(Work::Write, "takeover", running).await
    }

    async fn on_driver(&self) -> Result<TakeoverReport> {
        let pool = Pool::new(&self.config)?;
        let _turn = pool.turn(&self.space).await;
        let connection = pool.writer("takeover").await?;
        let taken = self.in_transaction(&connection).await;
        if taken.is_err() {
            connection.roll_back().await;
        }
        let report = taken?;
        tracing::info!(
            backend = NAME,
            space = self.space.as_str(),
            taken = report.taken,
            refused = report.refused.len(),
            "took tables over"
        );
        Ok(report)
    }

    async fn in_transaction(&self, connection: &Connection) -> Result<TakeoverReport> {
        connection.begin_page().await?;
        if self.in_place {
            boundary(&self.config, "schema")?;
            migrate::migrate_inside(connection.driver()?, &self.config.schema).await?;
        } else {
            let schema = &self.config.schema;
            let found = connection::contents(connection.driver()?, schema, "takeover").await?;
            connection::require_schema(found, schema, "takeover")?;
        }
        // A large table is sorted, and takes its time.
        run(
            connection,
            "SET LOCAL enable_sort = on; SET LOCAL statement_timeout = 0",
        )
        .await?;
        boundary(&self.config, "tables")?;
        let deployed = Deployed::of(connection, &self.schema).await?;
        deployed.lock(connection, self.in_place).await?;
        let report = import::import(
            connection,
            &self.config,
            &self.space,
            &deployed,
            &self.reading,
        )
        .await?;
        if self.in_place {
            boundary(&self.config, "put away")?;
            deployed.put_away(connection).await?;
        }
        boundary(&self.config, "commit")?;
        crate::apply::commit(connection, &self.config, &self.space).await?;
        Ok(report)
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover")
            .field("config", &self.config)
            .field("space", &self.space)
            .field("schema", &self.schema)
            .field("in_place", &self.in_place)
            .finish_non_exhaustive()
    }
}

/// Runs statements without parameters.
async fn run(connection: &Connection, text: &str) -> Result<()> {
    let ran = connection.driver()?.batch_execute(text).await;
    ran.map_err(failed("takeover"))
}

/// The rows of a statement without parameters.
async fn rows(connection: &Connection, text: &str) -> Result<Vec<tokio_postgres::Row>> {
    let rows = connection.driver()?.query_typed(text, &[]).await;
    rows.map_err(failed("takeover"))
}

fn refused(message: impl Into<String>) -> Error {
    Error::invalid("takeover", message.into())
        .of_backend(NAME)
        .during("takeover")
}

/// A table's name in statements.
fn qualified(schema: &str, table: &str) -> String {
    format!(
        "{}.{}",
        statements::quoted(schema),
        statements::quoted(table)
    )
}
