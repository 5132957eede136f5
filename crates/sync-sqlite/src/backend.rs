use std::fmt;
use std::sync::{Arc, Weak};

use rusqlite::{Connection, TransactionBehavior, params};
use sync_core::{
    Backend, Capabilities, Description, Error, ErrorKind, Migrated, Result, SpaceName, Swept,
};

use crate::connection::{self, Role};
use crate::error::failed;
use crate::pool::Pool;
use crate::signal::{NOTIFY_DELAY, Signals, Watcher};
use crate::space::{self, Space};
use crate::{NAME, SqliteConfig, SqliteStore, migrate, sweep};

/// One database file: a writer, a few readers, each with a connection on a thread of its own.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
#[derive(Clone)]
pub struct SqliteBackend {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: SqliteConfig,
    pub(crate) writer: Pool,
    pub(crate) readers: Pool,
    pub(crate) signals: Arc<Signals>,
    pub(crate) watcher: Watcher,
    /// For work that must not keep the backend alive.
    this: Weak<Self>,
}

impl Inner {
    fn new(config: SqliteConfig) -> Arc<Self> {
        let signals = Arc::new(Signals::default());
        Arc::new_cyclic(|this| Self {
            writer: Pool::new(config.clone(), Role::Writer, 1),
            readers: Pool::new(config.clone(), Role::Reader, config.readers),
            watcher: Watcher::new(config.clone(), Arc::clone(&signals)),
            signals,
            config,
            this: Weak::clone(this),
        })
    }

    /// Queues one piece of a sweep behind the pages that wait, and the next one behind those that
    /// wait then. Ends with the backend; the next one goes on.
    pub(crate) fn schedule_sweep(&self) {
        let this = Weak::clone(&self.this);
        self.writer.spawn(move |connection| {
            let swept = sweep::sweep_piece(connection, sweep::PIECE);
            match (swept, this.upgrade()) {
                (Ok(Swept { more: true, .. }), Some(inner)) => inner.schedule_sweep(),
                (Ok(_), _) | (_, None) => {}
                // The next page that resets, or the next program that opens the file, tries again.
                (Err(error), Some(_)) => tracing::warn!(backend = NAME, %error, "sweep failed"),
            }
        });
    }

    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        operation: &'static str,
        write: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer
            .run(operation, move |connection| {
                write(connection).map_err(failed(operation))
            })
            .await
    }
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for SqliteBackend {
    type Config = SqliteConfig;
    type Store = SqliteStore;

    const NAME: &'static str = NAME;

    async fn connect(config: SqliteConfig) -> Result<Self> {
        let inner = Inner::new(config);
        let garbage = inner
            .readers
            .run("connect", |connection| {
                connection::require_schema(connection, "connect")?;
                sweep::pending(connection).map_err(failed("connect"))
            })
            .await
            .map_err(|error| connection::explain(&inner.config, error))?;
        if garbage && !inner.config.read_only {
            inner.schedule_sweep();
        }
        Ok(Self { inner })
    }

    async fn migrate(config: &SqliteConfig) -> Result<Migrated> {
        // SQLite would call it a misuse: what may be created is opened for writing.
        if config.read_only {
            return Err(Error::new(ErrorKind::ReadOnly)
                .with_message("the configuration is for reading only")
                .of_backend(NAME)
                .during("migrate"));
        }
        let config = config.clone().busy_timeout(migrate::PATIENCE);
        Pool::new(config.clone(), Role::Migrator, 1)
            .run("migrate", migrate::migrate)
            .await
            .map_err(|error| connection::explain(&config, error))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: self.inner.config.durability,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(&self) -> Result<Description> {
        let read = |connection: &mut Connection| describe(connection).map_err(failed("describe"));
        self.inner.readers.run("describe", read).await
    }

    async fn open(&self, space: &SpaceName) -> Result<SqliteStore> {
        Ok(SqliteStore::new(Arc::clone(&self.inner), space.clone()))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let after = after.map_or_else(String::new, |space| space.as_str().to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.inner
            .readers
            .run("spaces", move |connection| {
                let names = names(connection, &after, limit).map_err(failed("spaces"))?;
                names.iter().map(|name| SpaceName::new(name)).collect()
            })
            .await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let name = space.clone();
        let inner = Arc::clone(&self.inner);
        // What follows a drop is part of the work, which is done also when nobody waits for it.
        self.inner
            .writer
            .run("drop_space", move |connection| {
                let dropped = drop_space(connection, &name)?;
                if dropped {
                    inner.signals.of(&name).notify(usize::MAX);
                    inner.schedule_sweep();
                }
                Ok(dropped)
            })
            .await
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let (mut left, mut removed) = (rows, 0);
        loop {
            // Each piece queues anew: the pages that wait go first.
            let piece = left.min(sweep::PIECE);
            let piece = self
                .inner
                .write("sweep", move |connection| {
                    sweep::sweep_piece(connection, piece)
                })
                .await?;
            removed += piece.removed;
            left = left.saturating_sub(usize::try_from(piece.removed).unwrap_or(usize::MAX));
            if !piece.more || left == 0 {
                let more = piece.more;
                return Ok(Swept { removed, more });
            }
        }
    }
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

fn drop_space(connection: &mut Connection, name: &SpaceName) -> Result<bool> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("drop_space"))?;
    let Some(space) = Space::load(&transaction, name).map_err(failed("drop_space"))? else {
        return Ok(false);
    };
    let remove = || {
        transaction
            .prepare_cached("DELETE FROM space WHERE space_id = ?1")?
            .execute([space.row_id])?;
        space::discard(&transaction, space.incarnation)
    };
    remove().map_err(failed("drop_space"))?;
    space::commit(transaction, "drop_space")?;
    Ok(true)
}
