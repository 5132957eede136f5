use std::sync::{Arc, Weak};

use rusqlite::{Connection, params};
use sync_core::{Capabilities, Description, Error, ErrorKind, Migrated, Result, SpaceName, Swept};
use sync_core::{Page, schema};
use sync_kit::digests::Digested;
use sync_kit::{Altered, Answer, Change, Engine, LeavesGarbage, Query, Space, Spaces, Written};

use crate::connection::{self, Role};
use crate::error::failed;
use crate::pool::Pool;
use crate::watcher::{NOTIFY_DELAY, Watcher};
use crate::{NAME, SqliteConfig, apply, check, migrate, read, space, sweep};

/// One database file: a writer and a few readers, each with a connection on a thread of its own.
///
/// The connections are closed when the last reference and the last store opened from it are gone.
pub type SqliteBackend = sync_kit::Connection<Sqlite>;

/// A handle on one space of a database file.
pub type SqliteStore = sync_kit::Store<Sqlite>;

/// The engine of [`SqliteBackend`].
pub struct Sqlite {
    config: SqliteConfig,
    writer: Pool,
    readers: Pool,
    watcher: Watcher,
}

impl Sqlite {
    /// Runs `work` on the writer's connection, wakes the waiters of `space`, and schedules a sweep
    /// of what was left behind.
    async fn write<T: LeavesGarbage + Send + 'static>(
        self: &Arc<Self>,
        space: &Arc<Space<()>>,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (engine, space) = (Arc::downgrade(self), Arc::clone(space));
        self.writer
            .run(move |connection| {
                let done = work(connection);
                space.notify();
                if done.as_ref().is_ok_and(T::leaves_garbage)
                    && let Some(engine) = engine.upgrade()
                {
                    engine.schedule_sweep();
                }
                done
            })
            .await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Engine for Sqlite {
    const NAME: &'static str = NAME;
    type Config = SqliteConfig;
    type Local = ();

    async fn connect(config: SqliteConfig, spaces: Arc<Spaces<()>>) -> Result<Arc<Self>> {
        let engine = Arc::new(Self {
            writer: Pool::new(config.clone(), Role::Writer, 1),
            readers: Pool::new(config.clone(), Role::Reader, config.readers),
            watcher: Watcher::new(config.clone(), spaces),
            config,
        });
        let garbage = engine.readers.run(|connection| {
            let contents = connection::contents(connection).map_err(failed)?;
            schema::require(contents, &migrate::MIGRATIONS).map_err(connection::name_foreign)?;
            sweep::pending(connection).map_err(failed)
        });
        let garbage = garbage.await;
        let garbage = garbage.map_err(|error| connection::explain(&engine.config, error))?;
        if garbage && !engine.config.read_only {
            engine.schedule_sweep();
        }
        Ok(engine)
    }

    async fn migrate(config: &SqliteConfig) -> Result<Migrated> {
        // SQLite would call it a misuse: what may be created is opened for writing.
        if config.read_only {
            return Err(Error::new(ErrorKind::ReadOnly)
                .with_message("the configuration is for reading only"));
        }
        let config = config.clone().busy_timeout(migrate::LOCK_TIMEOUT);
        let pool = Pool::new(config.clone(), Role::Migrator, 1);
        let migrated = pool.run(migrate::migrate).await;
        migrated.map_err(|error| connection::explain(&config, error))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: self.config.durability,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(self: &Arc<Self>) -> Result<Description> {
        let describe = |connection: &mut Connection| describe(connection).map_err(failed);
        self.readers.run(describe).await
    }

    fn local(&self, _: &SpaceName) {}

    async fn read(self: &Arc<Self>, space: &Arc<Space<()>>, query: Query) -> Result<Answer> {
        let name = space.name().clone();
        self.readers
            .run(move |connection| read::read(connection, &name, &query).map_err(failed))
            .await
    }

    async fn apply(self: &Arc<Self>, space: &Arc<Space<()>>, page: Page) -> Result<Written> {
        let page = Arc::new(Digested::new(page));
        if page.is_long() {
            let page = Arc::clone(&page);
            self.readers.spawn(move |_| page.hash_ahead());
        }
        let (name, config) = (space.name().clone(), self.config.clone());
        self.write(space, move |connection| {
            let written = apply::apply(connection, &config, &name, &page);
            page.finish();
            written
        })
        .await
    }

    async fn alter(self: &Arc<Self>, space: &Arc<Space<()>>, change: Change) -> Result<Altered> {
        let (name, durability) = (space.name().clone(), self.config.durability);
        self.write(space, move |connection| {
            space::alter(connection, &name, durability, change)
        })
        .await
    }

    async fn check(self: &Arc<Self>, space: &Arc<Space<()>>) -> Result<Vec<String>> {
        let name = space.name().clone();
        self.readers
            .run(move |connection| check::check(connection, &name).map_err(failed))
            .await
    }

    fn watch(self: &Arc<Self>, _: &Arc<Space<()>>) {
        self.watcher.start();
    }

    async fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> Result<Vec<SpaceName>> {
        let after = after.map_or_else(String::new, |space| space.as_str().to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .run(move |connection| {
                let names = names(connection, &after, limit).map_err(failed)?;
                names.iter().map(|name| SpaceName::new(name)).collect()
            })
            .await
    }

    async fn drop_space(self: &Arc<Self>, space: &Arc<Space<()>>) -> Result<bool> {
        let name = space.name().clone();
        self.write(space, move |connection| {
            space::drop_space(connection, &name)
        })
        .await
    }

    async fn sweep_piece(self: &Arc<Self>, rows: usize) -> Result<Swept> {
        self.writer
            .run(move |connection| sweep::sweep_piece(connection, rows).map_err(failed))
            .await
    }

    fn schedule_sweep(self: &Arc<Self>) {
        schedule_sweep(self, &Arc::downgrade(self));
    }
}

/// Queues one piece of a sweep behind the pages that wait, and the next one behind those that wait
/// then. Ends with the engine; the next one goes on.
fn schedule_sweep(engine: &Sqlite, this: &Weak<Sqlite>) {
    let this = Weak::clone(this);
    engine.writer.spawn(move |connection| {
        match (sweep::sweep_piece(connection, sweep::PIECE), this.upgrade()) {
            (Ok(Swept { more: true, .. }), Some(engine)) => schedule_sweep(&engine, &this),
            (Ok(_), _) | (_, None) => {}
            // The next page that resets, or the next program that opens the file, tries again.
            (Err(error), Some(_)) => tracing::warn!(backend = NAME, %error, "sweep failed"),
        }
    });
}

fn describe(connection: &Connection) -> rusqlite::Result<Description> {
    let setting = |name: &str| {
        let value = connection.pragma_query_value(None, name, |row| {
            row.get::<_, String>(0)
                .or_else(|_| row.get::<_, i64>(0).map(|value| value.to_string()))
        })?;
        rusqlite::Result::Ok((name.to_owned(), value))
    };
    let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let bytes = u64::from(count("page_count")?) * u64::from(count("page_size")?);
    Ok(Description {
        server: format!("SQLite {}", rusqlite::version()),
        settings: ["journal_mode", "synchronous"]
            .into_iter()
            .map(setting)
            .collect::<rusqlite::Result<_>>()?,
        bytes: Some(bytes),
    })
}

fn names(connection: &Connection, after: &str, limit: i64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT name FROM space WHERE name > ?1 ORDER BY name LIMIT ?2")?
        .query_map(params![after, limit], |row| row.get(0))?
        .collect()
}
