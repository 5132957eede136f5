use std::fmt;
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sync_core::{
    Backend, Capabilities, Description, Durability, Error, ErrorKind, Migrated, Result, SpaceName,
    Swept,
};

use crate::columns::value;
use crate::connection;
use crate::driver::{Driver, Work};
use crate::error::{failed, named};
use crate::pool::{Connection, Pool};
use crate::signal::{NOTIFY_DELAY, Signals, Watcher};
use crate::{NAME, PostgresConfig, PostgresStore, apply, migrate, scan, space, sweep};

/// One schema of one database: a pool of connections, and a thread that drives them.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
#[derive(Clone)]
pub struct PostgresBackend {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: PostgresConfig,
    pub(crate) pool: Arc<Pool>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) watcher: Watcher,
    durability: Durability,
    /// For work that must not keep the backend alive.
    this: Weak<Self>,
    /// Goes last.
    pub(crate) driver: Driver,
}

/// Work on a connection, with what it needs.
pub(crate) type OnConnection<I, T> =
    for<'c> fn(&'c Connection, &'c PostgresConfig, &'c I) -> BoxFuture<'c, Result<T>>;

impl Inner {
    fn new(
        config: PostgresConfig,
        pool: Arc<Pool>,
        durability: Durability,
        driver: Driver,
    ) -> Arc<Self> {
        let signals = Arc::new(Signals::default());
        Arc::new_cyclic(|this| Self {
            watcher: Watcher::new(
                config.clone(),
                Arc::clone(&pool),
                Arc::clone(&signals),
                driver.handle().clone(),
            ),
            config,
            pool,
            signals,
            durability,
            this: Weak::clone(this),
            driver,
        })
    }

    /// Sweeps piece after piece, until nothing is left or the backend is gone; the next one goes on.
    pub(crate) fn schedule_sweep(&self) {
        let this = Weak::clone(&self.this);
        self.driver.handle().spawn(async move {
            while let Some(inner) = this.upgrade() {
                let piece = async {
                    let connection = inner.pool.writer("sweep").await?;
                    let swept = sweep::sweep_piece(&connection, sweep::PIECE as usize).await;
                    if swept.is_err() {
                        connection.roll_back().await;
                    }
                    swept
                };
                match piece.await {
                    Ok(Swept { more: true, .. }) => {}
                    Ok(_) => return,
                    // The next page that resets, or the next program that connects, tries again.
                    Err(error) => {
                        tracing::warn!(backend = NAME, %error, "sweep failed");
                        return;
                    }
                }
            }
        });
    }

    /// Runs `work` on a connection for reading; again where that failed in a way that passes.
    pub(crate) async fn read<I: Send + Sync + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        input: I,
        work: OnConnection<I, T>,
    ) -> Result<T> {
        let inner = Arc::clone(self);
        let reading = async move {
            let (pool, config, input) = (&inner.pool, &inner.config, &input);
            pool.retrying(|| async move {
                let connection = pool.reader(operation).await?;
                let read = work(&connection, config, input).await;
                if read.is_err() {
                    connection.roll_back().await;
                }
                read
            })
            .await
            .map_err(named(operation))
        };
        self.driver.run(Work::Read, operation, reading).await
    }

    /// Runs `work` on a connection for writing, when it is the turn of this writer of the space.
    pub(crate) async fn write<I: Send + Sync + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        space: SpaceName,
        input: I,
        work: OnConnection<(SpaceName, I), T>,
    ) -> Result<T> {
        let inner = Arc::clone(self);
        let writing = async move {
            let input = (space, input);
            let (pool, config, input) = (&inner.pool, &inner.config, &input);
            let _turn = pool.turn(&input.0).await;
            let written = pool
                .retrying(|| async move {
                    let connection = pool.writer(operation).await?;
                    let written = work(&connection, config, input).await;
                    if written.is_err() {
                        connection.roll_back().await;
                    }
                    written
                })
                .await
                .map_err(named(operation));
            // Also after an error: its outcome may be unknown, and a look costs little.
            inner.signals.of(&input.0).notify(usize::MAX);
            written
        };
        self.driver.run(Work::Write, operation, writing).await
    }
}

impl fmt::Debug for PostgresBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBackend")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for PostgresBackend {
    type Config = PostgresConfig;
    type Store = PostgresStore;

    const NAME: &'static str = NAME;

    async fn connect(config: PostgresConfig) -> Result<Self> {
        config.validate().map_err(named("connect"))?;
        let driver = Driver::new().map_err(named("connect"))?;
        let (pool, durability, garbage) = {
            let config = config.clone();
            let looking = async move { look(&config).await.map_err(named("connect")) };
            driver.run(Work::Read, "connect", looking).await?
        };
        let inner = Inner::new(config, Arc::new(pool), durability, driver);
        if garbage {
            inner.schedule_sweep();
        }
        Ok(Self { inner })
    }

    async fn migrate(config: &PostgresConfig) -> Result<Migrated> {
        config.validate().map_err(named("migrate"))?;
        let driver = Driver::new().map_err(named("migrate"))?;
        let config = config.clone();
        let migrating = async move { migrate::migrate(&config).await.map_err(named("migrate")) };
        driver.run(Work::Write, "migrate", migrating).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: self.inner.durability,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(&self) -> Result<Description> {
        self.inner
            .read("describe", (), |connection, _, ()| {
                describe(connection).boxed()
            })
            .await
    }

    async fn open(&self, space: &SpaceName) -> Result<PostgresStore> {
        Ok(PostgresStore::new(Arc::clone(&self.inner), space.clone()))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let after = after.map_or_else(String::new, |space| space.as_str().to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.inner
            .read("spaces", (after, limit), |connection, _, (after, limit)| {
                spaces(connection, after, *limit).boxed()
            })
            .await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let dropped = self
            .inner
            .write(
                "drop_space",
                space.clone(),
                (),
                |connection, config, (name, ())| drop_space(connection, config, name).boxed(),
            )
            .await?;
        if dropped {
            self.inner.schedule_sweep();
        }
        Ok(dropped)
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let inner = Arc::clone(&self.inner);
        let sweeping = async move {
            let (mut left, mut removed) = (rows, 0);
            loop {
                let piece = left.min(sweep::PIECE as usize);
                let piece = inner
                    .pool
                    .retrying(|| async {
                        let connection = inner.pool.writer("sweep").await?;
                        let swept = sweep::sweep_piece(&connection, piece).await;
                        if swept.is_err() {
                            connection.roll_back().await;
                        }
                        swept
                    })
                    .await
                    .map_err(named("sweep"))?;
                removed += piece.removed;
                left = left.saturating_sub(usize::try_from(piece.removed).unwrap_or(usize::MAX));
                if !piece.more || left == 0 {
                    let more = piece.more;
                    return Ok(Swept { removed, more });
                }
            }
        };
        self.inner.driver.run(Work::Write, "sweep", sweeping).await
    }
}

/// Looks whether the schema is the supported one, what the server promises, and whether something
/// waits to be swept.
async fn look(config: &PostgresConfig) -> Result<(Pool, Durability, bool)> {
    let pool = Pool::new(config)?;
    let connection = pool.reader("connect").await?;
    let client = connection.driver()?;
    let contents = connection::contents(client, &config.schema, "connect").await?;
    connection::require_schema(contents, &config.schema, "connect")?;
    let settings = "SELECT current_setting('fsync') = 'on', pg_is_in_recovery()";
    let rows = client.query_typed(settings, &[]).await;
    let rows = rows.map_err(failed("connect"))?;
    let (synced, standby) = match rows.first() {
        Some(row) => (value(row, 0)?, value(row, 1)?),
        None => (false, false),
    };
    let durability = if synced {
        Durability::Machine
    } else {
        tracing::warn!(
            backend = NAME,
            "the server runs with fsync off: a crash of its machine may destroy the database"
        );
        Durability::Process
    };
    let garbage = !standby && sweep::pending(&connection).await?;
    drop(connection);
    Ok((pool, durability, garbage))
}

async fn describe(connection: &Connection) -> Result<Description> {
    let statement = &connection.statements().describe;
    let rows = scan::one(connection, statement, &[]).await?;
    let row = rows.first().ok_or_else(|| Error::new(ErrorKind::Failed))?;
    let (names, settings): (Vec<String>, Vec<String>) = (value(row, 1)?, value(row, 2)?);
    Ok(Description {
        server: format!("PostgreSQL {}", value::<&str>(row, 0)?),
        settings: names.into_iter().zip(settings).collect(),
        bytes: u64::try_from(value::<i64>(row, 3)?).ok(),
    })
}

async fn spaces(connection: &Connection, after: &str, limit: i64) -> Result<Vec<SpaceName>> {
    let statement = &connection.statements().spaces;
    let rows = scan::one(connection, statement, &[&after, &limit]).await?;
    rows.iter()
        .map(|row| SpaceName::new(value(row, 0)?))
        .collect()
}

async fn drop_space(
    connection: &Connection,
    config: &PostgresConfig,
    name: &SpaceName,
) -> Result<bool> {
    let Some((_, space)) = sweep::begin(connection, name).await? else {
        return Ok(false);
    };
    let statement = &connection.statements().drop_space;
    let dropped = connection.execute(statement, &[&name.as_str()]).await?;
    if dropped != 1 {
        return Err(Error::new(ErrorKind::Busy));
    }
    space::discard(connection, space.incarnation).await?;
    apply::commit(connection, config, name).await?;
    Ok(true)
}
