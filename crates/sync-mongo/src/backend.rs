use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Bson, Document, rawdoc};
use sync_core::{
    Backend, Capabilities, Description, Durability, Migrated, Result, SpaceName, Swept,
};

use crate::database::Database;
use crate::documents::wrong;
use crate::error::{corrupt, named};
use crate::executor::Executor;
use crate::patience::Patience;
use crate::signal::{NOTIFY_DELAY, Signals};
use crate::snapshot::{BATCH, Snapshot};
use crate::space::{self, Space};
use crate::transaction::Transaction;
use crate::{MongoConfig, MongoStore, NAME, migrate, schema, sweep};

/// One database of a replica set, and a thread of its own that talks to it.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
#[derive(Clone)]
pub struct MongoBackend {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: MongoConfig,
    pub(crate) database: Arc<Database>,
    pub(crate) signals: Signals,
    /// A sweep runs.
    sweeping: AtomicBool,
    /// After what it runs, so that the driver's own ends are told first.
    pub(crate) executor: Executor,
    /// For work that must not keep the backend alive.
    this: Weak<Self>,
}

impl Inner {
    /// Sweeps in the background, piece by piece, until nothing is left or the backend is gone; the
    /// next one goes on.
    pub(crate) fn schedule_sweep(&self) {
        if self.sweeping.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Weak::clone(&self.this);
        self.executor.background(async move {
            while let Some(inner) = this.upgrade() {
                let swept = sweep::sweep_piece(&inner.database, sweep::PIECE).await;
                let more = match swept {
                    Ok(swept) => swept.more,
                    Err(error) => {
                        // The next page that resets, or the next program, tries again.
                        tracing::warn!(backend = NAME, %error, "sweep failed");
                        false
                    }
                };
                if !more {
                    inner.sweeping.store(false, Ordering::SeqCst);
                    return;
                }
                drop(inner);
                tokio::task::yield_now().await;
            }
        });
    }
}

impl fmt::Debug for MongoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBackend")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for MongoBackend {
    type Config = MongoConfig;
    type Store = MongoStore;

    const NAME: &'static str = NAME;

    async fn connect(config: MongoConfig) -> Result<Self> {
        let executor = Executor::new()?;
        let ours = config.clone();
        let connect = async move {
            let database = Arc::new(Database::connect(&ours).await?);
            schema::require(&database, "connect").await?;
            let garbage = sweep::oldest(&database, "connect").await?.is_some();
            Ok((database, garbage))
        };
        let (database, garbage) = executor.run("connect", connect).await?;
        let inner = Arc::new_cyclic(|this| Inner {
            config,
            database,
            signals: Signals::default(),
            sweeping: AtomicBool::new(false),
            executor,
            this: Weak::clone(this),
        });
        if garbage {
            inner.schedule_sweep();
        }
        Ok(Self { inner })
    }

    async fn migrate(config: &MongoConfig) -> Result<Migrated> {
        let executor = Executor::new()?;
        let config = config.clone();
        let migrate = async move {
            let database = Database::connect(&config).await.map_err(named("migrate"))?;
            migrate::migrate(&database).await
        };
        executor.run("migrate", migrate).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Machine,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(&self) -> Result<Description> {
        let database = Arc::clone(&self.inner.database);
        self.inner
            .executor
            .run("describe", async move { describe(&database).await })
            .await
    }

    async fn open(&self, space: &SpaceName) -> Result<MongoStore> {
        Ok(MongoStore::new(Arc::clone(&self.inner), space.clone()))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let after = after.map_or_else(String::new, |space| space.as_str().to_owned());
        let limit = i64::try_from(limit)
            .unwrap_or(i64::MAX)
            .min(i32::MAX.into());
        let database = Arc::clone(&self.inner.database);
        self.inner
            .executor
            .run("spaces", async move {
                let command = rawdoc! {
                    "find": database.collections.spaces.as_str(),
                    "filter": { "_id": { "$gt": after } },
                    "projection": { "_id": 1 },
                    "sort": { "_id": 1 },
                    "hint": { "_id": 1 },
                    "limit": limit,
                    "batchSize": limit.min(BATCH),
                };
                Snapshot::new(&database, "spaces")
                    .find_all(command, name)
                    .await
            })
            .await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let (inner, name) = (Arc::clone(&self.inner), space.clone());
        // What follows a drop is part of the work, which is done also when nobody waits for it.
        self.inner
            .executor
            .finish("drop_space", async move {
                let signal = inner.signals.of(&name);
                let _turn = signal.turn.lock().await;
                let dropped = drop_space(&inner.database, &name).await?;
                if dropped {
                    signal.notify();
                    inner.schedule_sweep();
                }
                Ok(dropped)
            })
            .await
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let database = Arc::clone(&self.inner.database);
        self.inner
            .executor
            .run("sweep", async move {
                let (mut left, mut removed) = (rows, 0);
                loop {
                    let piece = sweep::sweep_piece(&database, left.min(sweep::PIECE)).await?;
                    removed += piece.removed;
                    let gone = usize::try_from(piece.removed).unwrap_or(usize::MAX);
                    left = left.saturating_sub(gone);
                    if !piece.more || left == 0 {
                        let more = piece.more;
                        return Ok(Swept { removed, more });
                    }
                }
            })
            .await
    }
}

async fn describe(database: &Database) -> Result<Description> {
    let build = database.run("describe", rawdoc! { "buildInfo": 1 }).await?;
    let size = database.run("describe", rawdoc! { "dbStats": 1 }).await?;
    let set = database.hello().await?;
    let version = build.get_str("version").unwrap_or("of no version");
    let members = set.get_array("hosts").map_or(0, Vec::len);
    let settings = [
        ("replica set", set.get_str("setName").unwrap_or_default()),
        ("members", &members.to_string()),
        ("w", "majority"),
        ("j", "true"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Ok(Description {
        server: format!("MongoDB {version}"),
        settings: settings.map(owned).into(),
        bytes: whole(&size, "storageSize").and_then(|data| Some(data + whole(&size, "indexSize")?)),
    })
}

/// A size, which the server tells as a number of any type.
fn whole(document: &Document, name: &str) -> Option<u64> {
    match document.get(name)? {
        Bson::Int32(size) => u64::try_from(*size).ok(),
        Bson::Int64(size) => u64::try_from(*size).ok(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size in bytes"
        )]
        Bson::Double(size) if *size >= 0.0 => Some(*size as u64),
        _ => None,
    }
}

fn name(document: &RawDocument) -> Result<SpaceName> {
    let name = document.get_str("_id").map_err(|_| wrong("_id"))?;
    SpaceName::new(name).map_err(corrupt)
}

async fn drop_space(database: &Database, name: &SpaceName) -> Result<bool> {
    let mut patience = Patience::new(database);
    loop {
        let mut transaction = Transaction::begin(database, "drop_space").await?;
        let written = discard(&mut transaction, name).await;
        let locked = transaction.locked;
        let ended = match written {
            Ok(true) => transaction.commit().await.map(|()| true),
            other => {
                transaction.abort().await;
                other
            }
        };
        match ended {
            Ok(dropped) => return Ok(dropped),
            Err(error) => patience.after(named("drop_space")(error), locked).await?,
        }
    }
}

async fn discard(transaction: &mut Transaction<'_>, name: &SpaceName) -> Result<bool> {
    let Some(space) = Space::lock(transaction, name).await? else {
        return Ok(false);
    };
    let spaces = transaction.database.collections.spaces.clone();
    transaction
        .delete(&spaces, rawdoc! { "_id": name.as_str() })
        .await?;
    space::discard(transaction, space.incarnation).await?;
    Ok(true)
}
