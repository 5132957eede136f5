//! The connections that pages and reads take in turn.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use deadpool_postgres::{Object, Pool as Objects, PoolError, TimeoutType, Timeouts};
use futures_util::future::{BoxFuture, Either, join, poll_immediate};
use futures_util::{FutureExt, SinkExt};
use sync_core::{Error, ErrorKind, Result, SpaceName};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Row};

use crate::config::PostgresConfig;
use crate::error::{failed, named, no_connection, passes};
use crate::statements::{Statement, Statements};
use crate::{NAME, connection};

/// The parameters of a statement.
pub(crate) type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A pool of connections, of which writers never take all.
pub(crate) struct Pool {
    objects: Objects,
    shared: Arc<Shared>,
    timeout: Duration,
    retry_timeout: Duration,
    /// As many permits as writers may have connections.
    writers: Arc<Semaphore>,
    turns: Turns,
}

/// What every connection needs.
struct Shared {
    statements: Statements,
    /// Whether a pooler may give every transaction another session, so that no statement can be
    /// prepared for longer.
    pooled: bool,
    begin_page: String,
    begin_read: String,
    #[cfg(feature = "fault-injection")]
    counted: Option<Counted>,
}

#[cfg(feature = "fault-injection")]
struct Counted {
    work: crate::fault::Work,
    touched: String,
}

impl Pool {
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self> {
        let objects = connection::pool(config)?;
        let sessions = config.has_sessions();
        let settings = if sessions {
            String::new()
        } else {
            connection::set_up(config, true)
        };
        let size = objects.status().max_size;
        let shared = Shared {
            statements: Statements::of(&config.schema),
            pooled: config.pooler == crate::Pooler::Transaction,
            begin_page: format!("BEGIN ISOLATION LEVEL READ COMMITTED;{settings}"),
            begin_read: format!("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;{settings}"),
            #[cfg(feature = "fault-injection")]
            counted: config.work.clone().map(|work| Counted {
                work,
                touched: crate::fault::touched(&config.schema),
            }),
        };
        Ok(Self {
            objects,
            shared: Arc::new(shared),
            timeout: config.pool_timeout,
            retry_timeout: config.retry_timeout,
            writers: Arc::new(Semaphore::new((size / 2).max(1))),
            turns: Turns::default(),
        })
    }

    /// A connection for reading.
    pub(crate) async fn reader(&self, operation: &'static str) -> Result<Connection> {
        self.connect(operation, None).await
    }

    /// A connection for writing, once those that asked before have theirs.
    pub(crate) async fn writer(&self, operation: &'static str) -> Result<Connection> {
        let permit = Arc::clone(&self.writers).acquire_owned();
        let permit = match tokio::time::timeout(self.timeout, permit).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(named(operation)(Error::new(ErrorKind::Closed))),
            Err(_) => {
                let timeout = PoolError::Timeout(TimeoutType::Wait);
                return Err(no_connection(operation)(timeout));
            }
        };
        self.connect(operation, Some(permit)).await
    }

    async fn connect(
        &self,
        operation: &'static str,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Connection> {
        let timeouts = Timeouts {
            wait: Some(self.timeout),
            create: None,
            recycle: None,
        };
        let object = self.objects.timeout_get(&timeouts).await;
        Ok(Connection {
            object: Some(object.map_err(no_connection(operation))?),
            shared: Arc::clone(&self.shared),
            operation,
            open: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            #[cfg(feature = "fault-injection")]
            touched: Mutex::default(),
            _permit: permit,
        })
    }

    /// The turn of a writer of `space`: writers of one process queue here, before they take a
    /// connection and wait for the lock that those of other processes hold.
    pub(crate) async fn turn(&self, space: &SpaceName) -> OwnedMutexGuard<()> {
        self.turns.of(space).lock_owned().await
    }

    /// Tries anew, for a bounded time, what has failed in a way that passes.
    pub(crate) async fn retrying<T, F: Future<Output = Result<T>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(5);
        loop {
            let error = match attempt().await {
                Err(error) if passes(&error) => error,
                other => return other,
            };
            if begun.elapsed() + pause > self.retry_timeout {
                return Err(error);
            }
            tracing::debug!(backend = NAME, %error, "trying again");
            let spread = Duration::from_micros(fastrand::u64(0..=2_000));
            tokio::time::sleep(pause + spread).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// One queue for the writers of each space.
#[derive(Default)]
struct Turns(Mutex<HashMap<SpaceName, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, space: &SpaceName) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(space).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= 64 {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(space.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// A connection of the pool, which goes back to it clean or not at all.
///
/// Calls that are polled one after the other send their statements in that order without waiting
/// for each other, once they are [prepared](Self::prepare).
pub(crate) struct Connection {
    object: Option<Object>,
    shared: Arc<Shared>,
    operation: &'static str,
    /// A transaction has begun and has not ended.
    open: AtomicBool,
    /// The driver and the server no longer agree on whose turn it is.
    broken: AtomicBool,
    /// What the session had touched after the last statement.
    #[cfg(feature = "fault-injection")]
    touched: Mutex<u64>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without the connection the server ends the transaction.
        if (self.open.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst))
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

impl Connection {
    pub(crate) fn statements(&self) -> &Statements {
        &self.shared.statements
    }

    /// An error of the driver, on this connection.
    pub(crate) fn failed(&self, source: tokio_postgres::Error) -> Error {
        failed(self.operation)(source)
    }

    /// The driver's own connection, inside whatever transaction has begun.
    pub(crate) fn driver(&self) -> Result<&tokio_postgres::Client> {
        self.client().map(|object| &***object)
    }

    fn client(&self) -> Result<&Object> {
        self.object
            .as_ref()
            .ok_or_else(|| named(self.operation)(Error::new(ErrorKind::Closed)))
    }

    /// Sees to it that these statements can be sent without waiting for anything.
    pub(crate) async fn prepare(&self, statements: &[&Statement]) -> Result<()> {
        if !self.shared.pooled {
            for statement in statements {
                self.named_statement(statement).await?;
            }
        }
        Ok(())
    }

    async fn named_statement(&self, statement: &Statement) -> Result<tokio_postgres::Statement> {
        let client = self.client()?;
        client
            .prepare_typed_cached(&statement.text, statement.types)
            .await
            .map_err(|source| self.failed(source))
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
        let client = self.client()?;
        self.open.store(true, Ordering::SeqCst);
        let begun = client.batch_execute(text);
        #[cfg(feature = "fault-injection")]
        let begun = self.counting(None, begun);
        begun.await.map_err(|source| self.failed(source))
    }

    /// Commits the transaction of a page. Where the connection breaks nobody can say whether the
    /// server has; where the server says why it refused, nothing was written.
    async fn commit(&self) -> Result<()> {
        let client = self.client()?;
        let committed = client.batch_execute("COMMIT").await;
        self.open.store(committed.is_err(), Ordering::SeqCst);
        committed.map_err(|source| {
            let severity = source.as_db_error().and_then(DbError::parsed_severity);
            let error = self.failed(source);
            if severity == Some(Severity::Error) {
                return error;
            }
            Error::new(ErrorKind::UnknownOutcome)
                .with_source(error)
                .of_backend(NAME)
                .during(self.operation)
        })
    }

    /// Ends the transaction of a read.
    pub(crate) async fn end(&self) -> Result<()> {
        let client = self.client()?;
        let ended = client.batch_execute("COMMIT").await;
        self.open.store(ended.is_err(), Ordering::SeqCst);
        ended.map_err(|source| self.failed(source))
    }

    /// Ends the transaction without a trace.
    pub(crate) async fn roll_back(&self) {
        if let Some(client) = &self.object {
            let ended = self.last(client.batch_execute("ROLLBACK")).await;
            let failed = matches!(ended, Some(Err(_)));
            self.open.store(failed, Ordering::SeqCst);
        }
    }

    /// Sends what nobody waits for. A pooler hands the server's session on when a transaction has
    /// ended, whatever was sent behind it, so that there the answer has to come first.
    async fn last<T>(&self, sent: impl Future<Output = T>) -> Option<T> {
        if self.shared.pooled {
            Some(sent.await)
        } else {
            poll_immediate(std::pin::pin!(sent)).await
        }
    }

    /// Runs a statement and answers its rows. Boxed, as the next one, because pages and reads join
    /// many of them, and a compiler that looks through all of that takes minutes.
    pub(crate) fn rows<'c>(
        &'c self,
        statement: &'c Statement,
        parameters: Parameters<'c>,
    ) -> BoxFuture<'c, Result<Vec<Row>>> {
        async move {
            let client = self.client()?;
            let named;
            let running = if self.shared.pooled {
                let typed: Vec<_> = parameters
                    .iter()
                    .copied()
                    .zip(statement.types.iter().cloned())
                    .collect();
                Either::Left(async move { client.query_typed(&statement.text, &typed).await })
            } else {
                named = self.named_statement(statement).await?;
                Either::Right(client.query(&named, parameters))
            };
            #[cfg(feature = "fault-injection")]
            let running = self.counting(Some(statement.name), running);
            running.await.map_err(|source| self.failed(source))
        }
        .boxed()
    }

    /// Runs a statement and answers how many rows it wrote.
    pub(crate) fn execute<'c>(
        &'c self,
        statement: &'c Statement,
        parameters: Parameters<'c>,
    ) -> BoxFuture<'c, Result<u64>> {
        async move {
            let client = self.client()?;
            let named;
            let running = if self.shared.pooled {
                let typed: Vec<_> = parameters
                    .iter()
                    .copied()
                    .zip(statement.types.iter().cloned())
                    .collect();
                Either::Left(async move { client.execute_typed(&statement.text, &typed).await })
            } else {
                named = self.named_statement(statement).await?;
                Either::Right(client.execute(&named, parameters))
            };
            #[cfg(feature = "fault-injection")]
            let running = self.counting(Some(statement.name), running);
            running.await.map_err(|source| self.failed(source))
        }
        .boxed()
    }

    /// Commits the transaction of a page, and runs `news` behind it.
    pub(crate) async fn commit_and_tell(
        &self,
        news: &Statement,
        parameters: Parameters<'_>,
    ) -> Result<()> {
        if self.shared.pooled {
            self.commit().await?;
            let _ = self.execute(news, parameters).await;
            return Ok(());
        }
        let telling = async {
            let _ = self.last(self.execute(news, parameters)).await;
        };
        join(self.commit(), telling).await.0
    }

    /// Begins to copy rows into a table. A connection where that fails is not used again: the driver
    /// ends the copy that has not begun, and does not expect what the server says to that.
    pub(crate) async fn copy(&self, statement: &Statement) -> Result<CopyInSink<Bytes>> {
        let client = self.client()?;
        let sink = if self.shared.pooled {
            // Prepared and given back before the transaction ends.
            client.copy_in(statement.text.as_str()).await
        } else {
            let named = self.named_statement(statement).await?;
            client.copy_in(&named).await
        };
        self.broken.store(sink.is_err(), Ordering::SeqCst);
        sink.map_err(|source| self.failed(source))
    }

    /// Sends the rows of a copy and ends it.
    pub(crate) async fn finish_copy(
        &self,
        statement: &Statement,
        sink: CopyInSink<Bytes>,
        data: impl Iterator<Item = Bytes>,
    ) -> Result<()> {
        let mut sink = std::pin::pin!(sink);
        let copying = async {
            for part in data {
                sink.feed(part).await?;
            }
            sink.finish().await
        };
        #[cfg(feature = "fault-injection")]
        let copying = self.counting(Some(statement.name), copying);
        #[cfg(not(feature = "fault-injection"))]
        let _ = statement;
        copying
            .await
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// Counts what `running` touches, where somebody wants to know: the question is sent right
    /// behind it.
    #[cfg(feature = "fault-injection")]
    async fn counting<T>(
        &self,
        name: Option<&'static str>,
        running: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        let (Some(counted), Some(client)) = (&self.shared.counted, &self.object) else {
            return running.await;
        };
        let asked = client.simple_query(&counted.touched);
        let (answer, told) = join(running, asked).await;
        let touched = told.ok().and_then(|messages| {
            messages.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    row.get(0).and_then(|text| text.parse::<u64>().ok())
                }
                _ => None,
            })
        });
        if let Some(touched) = touched {
            let mut before = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(name) = name {
                counted.work.add(name, touched.saturating_sub(*before));
            }
            *before = touched;
        }
        answer
    }
}
