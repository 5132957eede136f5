//! One connection of the pool: its transactions, and the statements in them.

mod copy;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use deadpool_postgres::Object;
use futures_util::future::{BoxFuture, join, join3, poll_immediate};
use futures_util::{FutureExt, TryStreamExt};
use sync_core::{Error, ErrorKind, Result, SpaceName};
use sync_kit::fault::Faults;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use crate::config::{Pooler, PostgresConfig};
use crate::connection;
use crate::error::failed;
use crate::statements::{Statement, Statements, quoted};

/// The parameters of a statement.
pub(crate) type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// Work with a session, and what it needs.
pub(crate) type Work<I, T> = for<'w> fn(&'w Session, &'w I) -> BoxFuture<'w, Result<T>>;

/// A connection of the pool, which goes back to it clean or not at all.
///
/// Calls that are polled one after the other send their statements in that order without waiting
/// for each other, once they are [prepared](Self::prepare).
pub(crate) struct Session {
    connection: Option<Object>,
    shared: Arc<Shared>,
    /// A transaction has begun and has not ended.
    open: AtomicBool,
    /// Driver and server no longer agree on who speaks next.
    broken: AtomicBool,
    /// What the session had touched after the last statement, where that is counted.
    touched: AtomicU64,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What every session needs.
pub(crate) struct Shared {
    statements: Statements,
    schema: String,
    /// Whether a pooler may give every transaction another session, so that no statement can be
    /// prepared for longer.
    pooled: bool,
    begin_page: String,
    begin_read: String,
    count_touched: String,
    faults: Faults,
}

impl Shared {
    pub(crate) fn new(config: &PostgresConfig) -> Self {
        let settings = if config.has_sessions() {
            String::new()
        } else {
            connection::set_up(config, true)
        };
        Self {
            statements: Statements::of(&config.schema),
            schema: config.schema.clone(),
            pooled: config.pooler == Pooler::Transaction,
            begin_page: format!("BEGIN ISOLATION LEVEL READ COMMITTED;{settings}"),
            begin_read: format!("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;{settings}"),
            count_touched: count_touched(&config.schema),
            faults: config.faults.clone(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without the connection the server ends the transaction.
        if (self.open.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst))
            && let Some(connection) = self.connection.take()
        {
            drop(Object::take(connection));
        }
    }
}

impl Session {
    pub(crate) fn new(
        connection: Object,
        shared: Arc<Shared>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            connection: Some(connection),
            shared,
            open: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            touched: AtomicU64::new(0),
            _permit: permit,
        }
    }

    /// Runs `work`, and rolls back what it has begun where it fails.
    pub(crate) async fn run<I: Sync, T>(&self, work: Work<I, T>, input: &I) -> Result<T> {
        let done = work(self, input).await;
        if done.is_err() {
            self.roll_back().await;
        }
        done
    }

    pub(crate) fn statements(&self) -> &Statements {
        &self.shared.statements
    }

    pub(crate) fn schema(&self) -> &str {
        &self.shared.schema
    }

    /// What tests ask for.
    pub(crate) fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The driver's own connection, inside whatever transaction has begun.
    pub(crate) fn driver(&self) -> Result<&Client> {
        self.connection().map(|connection| &***connection)
    }

    fn connection(&self) -> Result<&Object> {
        let connection = self.connection.as_ref();
        connection.ok_or_else(|| Error::new(ErrorKind::Closed))
    }

    /// Prepares these statements, so that they can be sent without waiting for anything.
    pub(crate) async fn prepare(&self, statements: &[&Statement]) -> Result<()> {
        if !self.shared.pooled {
            for statement in statements {
                self.prepared(statement).await?;
            }
        }
        Ok(())
    }

    async fn prepared(&self, statement: &Statement) -> Result<tokio_postgres::Statement> {
        let connection = self.connection()?;
        let prepared = connection.prepare_typed_cached(&statement.text, statement.types);
        prepared.await.map_err(failed)
    }

    /// Begins the transaction of a page. Each statement of it sees what was committed before it.
    pub(crate) async fn begin_page(&self) -> Result<()> {
        self.begin(&self.shared.begin_page).await
    }

    /// Begins the transaction of a read: one snapshot.
    pub(crate) async fn begin_read(&self) -> Result<()> {
        self.begin(&self.shared.begin_read).await
    }

    async fn begin(&self, text: &str) -> Result<()> {
        let connection = self.connection()?;
        self.open.store(true, Ordering::SeqCst);
        let begun = self.counting(None, connection.batch_execute(text)).await;
        begun.map_err(failed)
    }

    /// Runs a statement and answers its rows. Boxed, as [`execute`](Self::execute), because pages
    /// and reads join many of them, and a compiler that looks through all of that takes minutes.
    pub(crate) fn rows<'s>(
        &'s self,
        statement: &'s Statement,
        parameters: Parameters<'s>,
    ) -> BoxFuture<'s, Result<Vec<Row>>> {
        let answer = self.answer(statement, parameters);
        async move { Ok(answer.await?.0) }.boxed()
    }

    /// Runs a statement and answers how many rows it wrote.
    pub(crate) fn execute<'s>(
        &'s self,
        statement: &'s Statement,
        parameters: Parameters<'s>,
    ) -> BoxFuture<'s, Result<u64>> {
        let answer = self.answer(statement, parameters);
        async move { Ok(answer.await?.1) }.boxed()
    }

    /// The rows that a statement answers, and how many it answered or wrote.
    async fn answer(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<(Vec<Row>, u64)> {
        let connection = self.connection()?;
        let prepared = if self.shared.pooled {
            None
        } else {
            Some(self.prepared(statement).await?)
        };
        let parameters = parameters.iter().copied();
        let running = async {
            let sent = if let Some(prepared) = &prepared {
                connection.query_raw(prepared, parameters).await?
            } else {
                let typed = parameters.zip(statement.types.iter().cloned());
                connection.query_typed_raw(&statement.text, typed).await?
            };
            let mut stream = pin!(sent);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
            }
            Ok((rows, stream.rows_affected().unwrap_or(0)))
        };
        let answer = self.counting(Some(statement.name), running).await;
        answer.map_err(failed)
    }

    /// The rows of one statement, which has one snapshot of its own.
    pub(crate) async fn read(
        &self,
        statement: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>> {
        self.prepare(&[statement]).await?;
        let (begun, rows, ended) = join3(
            self.begin_read(),
            self.rows(statement, parameters),
            self.end(),
        )
        .await;
        begun?;
        let rows = rows?;
        ended?;
        Ok(rows)
    }

    /// Commits the transaction of a page, and tells the listeners of other processes that the space
    /// called `name` has changed.
    ///
    /// The notification is a statement of its own behind the commit: inside the transaction it would
    /// make the commits of all spaces wait for each other.
    pub(crate) async fn commit(&self, name: &SpaceName) -> Result<()> {
        let notify = &self.shared.statements.notify;
        let (schema, name) = (self.schema(), name.as_str());
        if self.shared.pooled {
            self.commit_alone().await?;
            let _ = self.execute(notify, &[&schema, &name]).await;
            return Ok(());
        }
        let notifying = async {
            let _ = self
                .send_last(self.execute(notify, &[&schema, &name]))
                .await;
        };
        join(self.commit_alone(), notifying).await.0
    }

    /// Where the connection breaks, the server may have committed; where the server says why it
    /// refused, nothing was written.
    async fn commit_alone(&self) -> Result<()> {
        let connection = self.connection()?;
        let committed = connection.batch_execute("COMMIT").await;
        self.open.store(committed.is_err(), Ordering::SeqCst);
        committed.map_err(|source| {
            let severity = source.as_db_error().and_then(DbError::parsed_severity);
            let error = failed(source);
            if severity == Some(Severity::Error) {
                return error;
            }
            Error::new(ErrorKind::UnknownOutcome).with_source(error)
        })
    }

    /// Ends the transaction of a read.
    pub(crate) async fn end(&self) -> Result<()> {
        let connection = self.connection()?;
        let ended = connection.batch_execute("COMMIT").await;
        self.open.store(ended.is_err(), Ordering::SeqCst);
        ended.map_err(failed)
    }

    /// Ends the transaction and discards what it has written.
    pub(crate) async fn roll_back(&self) {
        if let Some(connection) = &self.connection {
            let ended = self.send_last(connection.batch_execute("ROLLBACK")).await;
            let failed = matches!(ended, Some(Err(_)));
            self.open.store(failed, Ordering::SeqCst);
        }
    }

    /// Sends a last statement without waiting for its answer, which is `None` then. A pooler hands
    /// the server's session on when a transaction has ended, whatever was sent behind it, so that
    /// there the answer has to come first.
    async fn send_last<T>(&self, sent: impl Future<Output = T>) -> Option<T> {
        if self.shared.pooled {
            Some(sent.await)
        } else {
            poll_immediate(pin!(sent)).await
        }
    }

    /// Counts what `running` touches under `name`, where a test wants to know: the question is sent
    /// right behind it.
    async fn counting<T>(
        &self,
        name: Option<&'static str>,
        running: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        let (true, Some(connection)) = (self.faults().counts_work(), &self.connection) else {
            return running.await;
        };
        let asked = connection.simple_query(&self.shared.count_touched);
        let (answer, touched) = join(running, asked).await;
        let touched = touched.ok().and_then(|messages| {
            messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0)?.parse::<u64>().ok(),
                _ => None,
            })
        });
        if let Some(touched) = touched {
            let before = self.touched.swap(touched, Ordering::SeqCst);
            if let Some(name) = name {
                self.faults().cost(name, touched.saturating_sub(before));
            }
        }
        answer
    }
}

/// The statement that answers how many entries of our indexes and rows of our tables this session
/// has read and written since the server last collected its counts, which it does between
/// transactions only.
fn count_touched(schema: &str) -> String {
    let schema = quoted(schema).replace('\'', "''");
    format!(
        "SELECT coalesce(sum(
           pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)
           + pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
           + pg_stat_get_xact_tuples_deleted(oid)), 0)
         FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'i', 't')"
    )
}
