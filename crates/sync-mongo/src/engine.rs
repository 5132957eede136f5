use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use mongodb::bson::rawdoc;
use sync_core::{Capabilities, Description, Durability, Migrated, Page, Result, SpaceName, Swept};
use sync_kit::digests;
use sync_kit::driver::Driver;
use sync_kit::{Altered, Answer, Change, Engine, LeavesGarbage, Query, Space, Spaces, Written};

use crate::alter::{AlterSpace, DropSpace};
use crate::apply::ApplyPage;
use crate::database::Database;
use crate::documents::{BATCH, space_name, whole};
use crate::retry::{Work, transact};
use crate::snapshot::Snapshot;
use crate::watch::{LONGEST, NOTIFY_DELAY, Writes};
use crate::{MongoConfig, NAME, check, migrate, read, schema, sweep};

/// One database of a replica set, and a thread of its own that talks to it.
///
/// The connections are closed when the last reference and the last store opened from it are gone.
pub type MongoBackend = sync_kit::Connection<Mongo>;

/// A handle on one space of a database.
pub type MongoStore = sync_kit::Store<Mongo>;

/// The engine of [`MongoBackend`].
pub struct Mongo {
    database: Arc<Database>,
    spaces: Weak<Spaces<()>>,
    /// The task that looks for what other processes commit was started.
    watched: AtomicBool,
    sweeps: Arc<AtomicUsize>,
    /// Dropped after the database, whose connections are closed on it.
    driver: Driver,
}

impl Mongo {
    /// Runs `work` after the space's writers that came before, to its end, and wakes its waiters.
    async fn write<W: Work + Send + 'static>(
        self: &Arc<Self>,
        space: &Arc<Space<()>>,
        work: W,
    ) -> Result<W::Answer>
    where
        W::Answer: LeavesGarbage,
    {
        let (database, space) = (Arc::clone(&self.database), Arc::clone(space));
        let engine = Arc::downgrade(self);
        let work = async move {
            let turn = space.turn().await;
            let answer = transact(&database, space.name(), &work).await;
            drop(turn);
            // Also after an error: its outcome may be unknown, and a look costs little.
            space.notify();
            if answer.as_ref().is_ok_and(LeavesGarbage::leaves_garbage)
                && let Some(engine) = engine.upgrade()
            {
                engine.schedule_sweep();
            }
            answer
        };
        self.driver.write(work).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl Engine for Mongo {
    const NAME: &'static str = NAME;
    type Config = MongoConfig;
    type Local = ();

    async fn connect(config: MongoConfig, spaces: Arc<Spaces<()>>) -> Result<Arc<Self>> {
        let driver = Driver::new("sync-mongo")?;
        let connect = async move {
            let database = Arc::new(Database::connect(&config).await?);
            schema::require(&database).await?;
            let garbage = sweep::oldest(&database).await?.is_some();
            Ok((database, garbage))
        };
        let (database, garbage) = driver.read(connect).await?;
        let engine = Arc::new(Self {
            database,
            spaces: Arc::downgrade(&spaces),
            watched: AtomicBool::new(false),
            sweeps: Arc::default(),
            driver,
        });
        if garbage {
            engine.schedule_sweep();
        }
        Ok(engine)
    }

    async fn migrate(config: &MongoConfig) -> Result<Migrated> {
        let driver = Driver::new("sync-mongo")?;
        let config = config.clone();
        let migrate = async move { migrate::migrate(&Database::connect(&config).await?).await };
        driver.read(migrate).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Machine,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(self: &Arc<Self>) -> Result<Description> {
        let database = Arc::clone(&self.database);
        self.driver
            .read(async move { describe(&database).await })
            .await
    }

    fn local(&self, _: &SpaceName) {}

    async fn read(self: &Arc<Self>, space: &Arc<Space<()>>, query: Query) -> Result<Answer> {
        let (database, space) = (Arc::clone(&self.database), Arc::clone(space));
        let read = async move { read::read(&database, space.name(), &query).await };
        self.driver.read(read).await
    }

    async fn apply(self: &Arc<Self>, space: &Arc<Space<()>>, page: Page) -> Result<Written> {
        let page = Arc::new(page);
        let digests = digests::begin(&page, self.driver.handle());
        self.write(space, ApplyPage { page, digests }).await
    }

    async fn alter(self: &Arc<Self>, space: &Arc<Space<()>>, change: Change) -> Result<Altered> {
        self.write(space, AlterSpace(change)).await
    }

    async fn check(self: &Arc<Self>, space: &Arc<Space<()>>) -> Result<Vec<String>> {
        let (database, space) = (Arc::clone(&self.database), Arc::clone(space));
        let check = async move { check::check(&database, space.name()).await };
        self.driver.read(check).await
    }

    fn watch(self: &Arc<Self>, _: &Arc<Space<()>>) {
        if !self.watched.swap(true, Ordering::SeqCst) {
            let writes = Writes(Arc::downgrade(&self.database));
            let watch = sync_kit::watch::watch(Weak::clone(&self.spaces), writes, LONGEST);
            self.driver.handle().spawn(watch);
        }
    }

    async fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> Result<Vec<SpaceName>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let command = rawdoc! {
            "find": self.database.collections.spaces.as_str(),
            "filter": { "_id": { "$gt": after.as_ref().map_or("", SpaceName::as_str) } },
            "projection": { "_id": 1 },
            "sort": { "_id": 1 },
            "hint": { "_id": 1 },
            "limit": limit.min(i32::MAX.into()),
            "batchSize": limit.min(BATCH),
        };
        let mut snapshot = Snapshot::new(&self.database);
        let names = async move { snapshot.find_all(command, space_name).await };
        self.driver.read(names).await
    }

    async fn drop_space(self: &Arc<Self>, space: &Arc<Space<()>>) -> Result<bool> {
        self.write(space, DropSpace).await
    }

    async fn sweep_piece(self: &Arc<Self>, rows: usize) -> Result<Swept> {
        let database = Arc::clone(&self.database);
        // Given up with the caller, which harms nothing: the next piece goes on anywhere.
        let sweep = async move { sweep::sweep_piece(&database, rows).await };
        self.driver.read(sweep).await
    }

    fn schedule_sweep(self: &Arc<Self>) {
        self.driver.sweep(self, &self.sweeps, sweep::PIECE);
    }
}

async fn describe(database: &Database) -> Result<Description> {
    let build = database.run(rawdoc! { "buildInfo": 1 }).await?;
    let sizes = database.run(rawdoc! { "dbStats": 1 }).await?;
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
    let bytes = |name| u64::try_from(whole(&sizes, name)?).ok();
    Ok(Description {
        server: format!("MongoDB {version}"),
        settings: settings.map(owned).into(),
        bytes: bytes("storageSize").and_then(|data| Some(data + bytes("indexSize")?)),
    })
}
