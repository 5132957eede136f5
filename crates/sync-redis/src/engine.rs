use std::sync::{Arc, Weak};

use redis::Value;
use sync_core::{Capabilities, Description, Durability, Migrated, Page, Result, SpaceName, Swept};
use sync_kit::driver::Driver;
use sync_kit::fault::Faults;
use sync_kit::{Altered, Answer, Change, Engine, Query, Spaces, Written};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::connect::{self, Connected};
use crate::scripts::{Names, Script};
use crate::servers::Servers;
use crate::space::{self, Local, Shared, Space};
use crate::watcher::{self, NOTIFY_DELAY};
use crate::{NAME, RedisConfig, apply, check, migrate, names, read};

/// A server or a cluster, with the connections to it.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
pub type RedisBackend = sync_kit::Connection<Redis>;

/// A handle on one space. A clone is another reference to the same handle.
pub type RedisStore = sync_kit::Store<Redis>;

/// The engine of [`RedisBackend`].
pub struct Redis {
    pub(crate) servers: Servers,
    pub(crate) names: Names,
    durability: Durability,
    /// Tells the watcher of a space that is waited for. The watcher ends with it.
    watched: UnboundedSender<Weak<Shared>>,
    pub(crate) driver: Driver,
}

impl Redis {
    /// What tests ask of this backend.
    pub(crate) fn faults(&self) -> &Faults {
        &self.servers.config().faults
    }

    fn space(self: &Arc<Self>, shared: &Arc<Shared>) -> Space {
        Space {
            engine: Arc::clone(self),
            shared: Arc::clone(shared),
        }
    }

    /// Takes from a script's answer what it counted.
    pub(crate) fn counted(&self, script: Script, answer: Value) -> Value {
        if !self.faults().counts_work() {
            return answer;
        }
        let Value::Array(parts) = answer else {
            return answer;
        };
        let mut parts = parts.into_iter();
        let answer = parts.next().unwrap_or_default();
        if let Some(Value::Int(values)) = parts.next() {
            let values = u64::try_from(values).unwrap_or(0);
            self.faults().cost(script.name(), values);
        }
        answer
    }
}

#[deny(clippy::missing_trait_methods)]
impl Engine for Redis {
    const NAME: &'static str = NAME;
    type Config = RedisConfig;
    type Local = Local;

    async fn connect(config: RedisConfig, _: Arc<Spaces<Local>>) -> Result<Arc<Self>> {
        let driver = Driver::new("sync-redis")?;
        let Connected {
            servers,
            names,
            durability,
        } = driver.read(connect::connect(config)).await?;
        let (watched, spaces) = unbounded_channel();
        let engine = Arc::new(Self {
            servers,
            names,
            durability,
            watched,
            driver,
        });
        let watching = watcher::watch(Arc::downgrade(&engine), spaces);
        engine.driver.handle().spawn(watching);
        Ok(engine)
    }

    async fn migrate(config: &RedisConfig) -> Result<Migrated> {
        let config = config.clone();
        let driver = Driver::new("sync-redis")?;
        driver
            .write(async move {
                let servers = connect::reach(config).await?.servers;
                migrate::migrate(&servers).await
            })
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
        let engine = Arc::clone(self);
        let describing = async move { connect::describe(&engine.servers).await };
        self.driver.read(describing).await
    }

    fn local(&self, space: &SpaceName) -> Local {
        Local::new(&self.servers.config().prefix, space)
    }

    async fn read(self: &Arc<Self>, space: &Arc<Shared>, query: Query) -> Result<Answer> {
        let space = self.space(space);
        let reading = async move { read::read(&space, query).await };
        self.driver.read(reading).await
    }

    async fn apply(self: &Arc<Self>, space: &Arc<Shared>, page: Page) -> Result<Written> {
        apply::apply(self.space(space), page).await
    }

    async fn alter(self: &Arc<Self>, space: &Arc<Shared>, change: Change) -> Result<Altered> {
        let altering = async move |space: Space| space::alter(&space, change).await;
        self.space(space).in_turn(altering).await
    }

    async fn check(self: &Arc<Self>, space: &Arc<Shared>) -> Result<Vec<String>> {
        let space = self.space(space);
        let checking = async move { check::check(&space).await };
        self.driver.read(checking).await
    }

    fn watch(self: &Arc<Self>, space: &Arc<Shared>) {
        space.local().watch(space, &self.watched);
    }

    async fn names(
        self: &Arc<Self>,
        after: Option<SpaceName>,
        limit: usize,
    ) -> Result<Vec<SpaceName>> {
        let engine = Arc::clone(self);
        let listing = async move { names::list(&engine.servers, after, limit).await };
        self.driver.read(listing).await
    }

    async fn drop_space(self: &Arc<Self>, space: &Arc<Shared>) -> Result<bool> {
        let dropping = async |space: Space| space::drop_space(&space).await;
        self.space(space).in_turn(dropping).await
    }

    async fn sweep_piece(self: &Arc<Self>, _: usize) -> Result<Swept> {
        // A reset and a drop take the keys away, and the server frees them by itself.
        Ok(Swept {
            removed: 0,
            more: false,
        })
    }

    fn schedule_sweep(self: &Arc<Self>) {}
}
