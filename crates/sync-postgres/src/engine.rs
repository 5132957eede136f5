use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use sync_core::{Capabilities, Description, Durability, Migrated, Page, Result, SpaceName, Swept};
use sync_kit::driver::Driver;
use sync_kit::streak::Streak;
use sync_kit::{
    Altered, Answer, Change, Engine, LeavesGarbage, Query, Space, Spaces, Written, watch,
};

use crate::apply::{self, Job};
use crate::columns::{only, value};
use crate::error::failed;
use crate::pool::Pool;
use crate::session::{Session, Work};
use crate::watch::{Changes, NOTIFY_DELAY};
use crate::{NAME, PostgresConfig, alter, check, migrate, read, sweep};

/// Rows that one transaction of a sweep in the background removes.
const SWEPT_AT_ONCE: usize = 1_000;

/// One schema of one database: a pool of connections, and a thread that drives them.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
pub type PostgresBackend = sync_kit::Connection<Postgres>;

/// A handle on one space of a database. A clone is another reference to the same handle.
pub type PostgresStore = sync_kit::Store<Postgres>;

/// The engine of [`PostgresBackend`].
pub struct Postgres {
    pool: Arc<Pool>,
    durability: Durability,
    sweeps_asked: Arc<AtomicUsize>,
    /// Goes last.
    driver: Driver,
}

impl Postgres {
    /// Runs `work` on a connection for reading.
    async fn read_with<I, T>(&self, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        let pool = Arc::clone(&self.pool);
        let reading = async move { pool.read(&input, work).await };
        self.driver.read(reading).await
    }

    /// Runs `work` on a connection for writing, when it is the turn of this writer of the space,
    /// and then wakes the space's waiters.
    async fn write_with<I, T>(
        self: &Arc<Self>,
        space: &Arc<Space<Streak>>,
        input: I,
        work: Work<(SpaceName, I), T>,
    ) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: LeavesGarbage + Send + 'static,
    {
        let (pool, space) = (Arc::clone(&self.pool), Arc::clone(space));
        let engine = Arc::downgrade(self);
        let writing = async move {
            let input = (space.name().clone(), input);
            let turn = space.turn().await;
            let written = pool.write(&input, work).await;
            drop(turn);
            space.notify();
            sweep_after(&engine, &written);
            written
        };
        self.driver.write(writing).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Engine for Postgres {
    const NAME: &'static str = NAME;
    type Config = PostgresConfig;
    /// What the last pages of the space were like.
    type Local = Streak;

    async fn connect(config: PostgresConfig, spaces: Arc<Spaces<Streak>>) -> Result<Arc<Self>> {
        config.validate()?;
        let driver = Driver::new("sync-postgres")?;
        let (pool, durability, garbage) = {
            let config = config.clone();
            driver.read(async move { look(&config).await }).await?
        };
        let pool = Arc::new(pool);
        let spaces = Arc::downgrade(&spaces);
        let changes = Changes::new(config, Arc::clone(&pool), spaces.clone());
        // The task ends with the driver. Waiters need no waking but by news.
        let watching = watch::watch(spaces, changes, Duration::MAX);
        driver.handle().spawn(watching);
        let engine = Arc::new(Self {
            pool,
            durability,
            sweeps_asked: Arc::default(),
            driver,
        });
        if garbage {
            engine.schedule_sweep();
        }
        Ok(engine)
    }

    async fn migrate(config: &PostgresConfig) -> Result<Migrated> {
        config.validate()?;
        let driver = Driver::new("sync-postgres")?;
        let config = config.clone();
        driver
            .write(async move { migrate::migrate(&config).await })
            .await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: self.durability,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(self: &Arc<Self>) -> Result<Description> {
        self.read_with((), |session, ()| describe(session).boxed())
            .await
    }

    fn local(&self, _: &SpaceName) -> Streak {
        Streak::default()
    }

    async fn read(self: &Arc<Self>, space: &Arc<Space<Streak>>, query: Query) -> Result<Answer> {
        let input = (space.name().clone(), query);
        self.read_with(input, |session, (name, query)| {
            read::read(session, name, query).boxed()
        })
        .await
    }

    async fn apply(self: &Arc<Self>, space: &Arc<Space<Streak>>, page: Page) -> Result<Written> {
        let (pool, space) = (Arc::clone(&self.pool), Arc::clone(space));
        let job = Job::new(Arc::clone(&space), page, self.driver.handle());
        let engine = Arc::downgrade(self);
        let applying = async move {
            let written = apply::apply(&pool, &job).await;
            space.notify();
            sweep_after(&engine, &written);
            written
        };
        self.driver.write(applying).await
    }

    async fn alter(
        self: &Arc<Self>,
        space: &Arc<Space<Streak>>,
        change: Change,
    ) -> Result<Altered> {
        self.write_with(space, change, |session, (name, change)| {
            alter::alter(session, name, *change).boxed()
        })
        .await
    }

    async fn check(self: &Arc<Self>, space: &Arc<Space<Streak>>) -> Result<Vec<String>> {
        self.read_with(space.name().clone(), |session, name| {
            check::check(session, name).boxed()
        })
        .await
    }

    /// Nothing: the task that [`connect`](Self::connect) starts sleeps until there is a waiter.
    fn watch(self: &Arc<Self>, _: &Arc<Space<Streak>>) {}

    async fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> Result<Vec<SpaceName>> {
        self.read_with((after, limit), |session, (after, limit)| {
            names(session, after.as_ref(), *limit).boxed()
        })
        .await
    }

    async fn drop_space(self: &Arc<Self>, space: &Arc<Space<Streak>>) -> Result<bool> {
        self.write_with(space, (), |session, (name, ())| {
            alter::drop_space(session, name).boxed()
        })
        .await
    }

    async fn sweep_piece(self: &Arc<Self>, rows: usize) -> Result<Swept> {
        let pool = Arc::clone(&self.pool);
        let sweeping = async move {
            pool.write(&rows, |session, rows| {
                sweep::sweep_piece(session, *rows).boxed()
            })
            .await
        };
        self.driver.write(sweeping).await
    }

    fn schedule_sweep(self: &Arc<Self>) {
        self.driver.sweep(self, &self.sweeps_asked, SWEPT_AT_ONCE);
    }
}

/// Schedules a sweep of what a write left behind.
fn sweep_after<T: LeavesGarbage>(engine: &Weak<Postgres>, written: &Result<T>) {
    if written.as_ref().is_ok_and(T::leaves_garbage)
        && let Some(engine) = engine.upgrade()
    {
        engine.schedule_sweep();
    }
}

/// Looks whether the schema is the supported one, what the server promises, and whether something
/// waits to be swept.
async fn look(config: &PostgresConfig) -> Result<(Pool, Durability, bool)> {
    let pool = Pool::new(config)?;
    let (synced, garbage) = pool
        .read_once(&(), |session, ()| look_with(session).boxed())
        .await?;
    let durability = if synced {
        Durability::Machine
    } else {
        tracing::warn!(
            backend = NAME,
            "the server runs with fsync off: a crash of its machine may destroy the database"
        );
        Durability::Process
    };
    Ok((pool, durability, garbage))
}

async fn look_with(session: &Session) -> Result<(bool, bool)> {
    let client = session.driver()?;
    migrate::require(client, session.schema()).await?;
    let settings = "SELECT current_setting('fsync') = 'on', pg_is_in_recovery()";
    let rows = client.query_typed(settings, &[]).await.map_err(failed)?;
    let row = only(&rows)?;
    let (synced, standby) = (value(row, 0)?, value::<bool>(row, 1)?);
    let garbage = !standby && sweep::pending(session).await?;
    Ok((synced, garbage))
}

async fn describe(session: &Session) -> Result<Description> {
    let rows = session.read(&session.statements().describe, &[]).await?;
    let row = only(&rows)?;
    let (names, settings): (Vec<String>, Vec<String>) = (value(row, 1)?, value(row, 2)?);
    Ok(Description {
        server: format!("PostgreSQL {}", value::<&str>(row, 0)?),
        settings: names.into_iter().zip(settings).collect(),
        bytes: u64::try_from(value::<i64>(row, 3)?).ok(),
    })
}

async fn names(
    session: &Session,
    after: Option<&SpaceName>,
    limit: usize,
) -> Result<Vec<SpaceName>> {
    let after = after.map_or("", SpaceName::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let statement = &session.statements().spaces;
    let rows = session.read(statement, &[&after, &limit]).await?;
    rows.iter()
        .map(|row| SpaceName::new(value(row, 0)?))
        .collect()
}
