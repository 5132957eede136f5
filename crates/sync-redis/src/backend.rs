use std::fmt;
use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::Value;
use sync_core::{
    Backend, Capabilities, Description, Durability, Error, ErrorKind, Migrated, Result, SpaceName,
    Swept,
};

use crate::error::{corrupt, named};
use crate::layout::{Key, Keys, SpaceKeys};
use crate::reply::{Parts, bytes, number};
use crate::runtime::Runtime;
use crate::scripts::{Names, Script};
use crate::server::{Info, setting};
use crate::servers::{Access, Call, Node, Servers};
use crate::signal::{NOTIFY_DELAY, Signals, Watcher};
use crate::space::Space;
use crate::{NAME, RedisConfig, RedisStore, migrate, slots};

/// Names that one look at the list of spaces asks for.
const NAMES: usize = 500;

/// A server or a cluster, with the connections to it.
///
/// A clone is another reference. The connections are closed when the last reference and the last
/// store opened from it are gone.
#[derive(Clone)]
pub struct RedisBackend {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) servers: Servers,
    pub(crate) keys: Keys,
    pub(crate) names: Names,
    pub(crate) signals: Arc<Signals>,
    pub(crate) watcher: Watcher,
    durability: Durability,
    pub(crate) runtime: Runtime,
}

impl RedisBackend {
    async fn run<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T> {
        self.inner.runtime.run(work(Arc::clone(&self.inner))).await
    }
}

impl Inner {
    fn space(self: &Arc<Self>, name: &SpaceName) -> Space {
        let shared = self.signals.of(name);
        Space {
            keys: SpaceKeys::of(&self.keys.prefix, name),
            name: name.clone(),
            shared,
            inner: Arc::clone(self),
        }
    }

    /// Sends a command about a key of the whole installation.
    pub(crate) async fn call(
        &self,
        operation: &'static str,
        key: &str,
        command: &redis::Cmd,
        writes: bool,
    ) -> Result<Value> {
        self.servers
            .call(
                slots::slot(key.as_bytes()),
                Access::Repeatable,
                Call::One(command),
            )
            .await
            .map_err(|failure| failure.into_error(operation, writes))
    }

    /// Whether scripts count what they do.
    pub(crate) fn counting(&self) -> bool {
        counting(self.servers.config())
    }

    /// Takes from a script's answer what it counted.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn counted(&self, script: Script, answer: Value) -> Value {
        let (Some(work), Value::Array(parts)) = (&self.servers.config().work, &answer) else {
            return answer;
        };
        if let Some(Value::Int(values)) = parts.get(1) {
            work.count(script.name(), u64::try_from(*values).unwrap_or(0));
        }
        match answer {
            Value::Array(parts) => parts.into_iter().next().unwrap_or_default(),
            other => other,
        }
    }

    #[cfg(not(feature = "fault-injection"))]
    #[expect(clippy::unused_self, reason = "the twin of the method above")]
    pub(crate) fn counted(&self, _: Script, answer: Value) -> Value {
        answer
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("config", self.inner.servers.config())
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Backend for RedisBackend {
    type Config = RedisConfig;
    type Store = RedisStore;

    const NAME: &'static str = NAME;

    async fn connect(config: RedisConfig) -> Result<Self> {
        let runtime = Runtime::start().map_err(named("connect"))?;
        let connected = runtime.run(connect(config)).await;
        let (servers, keys, names, durability) = connected.map_err(named("connect"))?;
        let signals = Arc::new(Signals::default());
        let inner = Arc::new_cyclic(|inner| Inner {
            watcher: Watcher::new(inner.clone(), Arc::clone(&signals)),
            servers,
            keys,
            names,
            signals,
            durability,
            runtime,
        });
        Ok(Self { inner })
    }

    async fn migrate(config: &RedisConfig) -> Result<Migrated> {
        let runtime = Runtime::start().map_err(named("migrate"))?;
        let config = config.clone();
        let migrated = runtime
            .run(async move {
                let (servers, _) = reach(config).await?;
                migrate::migrate(&servers).await
            })
            .await;
        migrated.map_err(named("migrate"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: self.inner.durability,
            multi_process: true,
            notify_delay: NOTIFY_DELAY,
        }
    }

    async fn describe(&self) -> Result<Description> {
        // Of a cluster, the first node that answers.
        self.run(|inner| async move {
            let (node, info) = info(&inner.servers, "describe").await?;
            let fsync = append_fsync(&inner.servers, &node).await;
            Ok(info.describe(fsync.as_deref()))
        })
        .await
    }

    async fn open(&self, space: &SpaceName) -> Result<RedisStore> {
        Ok(RedisStore::new(self.inner.space(space)))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let after = after.cloned();
        self.run(|inner| async move {
            let listed = spaces(&inner, after, limit).await;
            listed.map_err(named("spaces"))
        })
        .await
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let space = self.inner.space(space);
        self.run(|_| async move {
            let _turn = space.shared.turn.lock().await;
            let mut answer = space.change("drop_space", Script::Drop, &[]).await?;
            space.shared.event.notify(usize::MAX);
            answer.flag().map_err(named("drop_space"))
        })
        .await
    }

    async fn sweep(&self, _rows: usize) -> Result<Swept> {
        // A reset and a drop take the keys away, and the server frees them by itself.
        Ok(Swept {
            removed: 0,
            more: false,
        })
    }
}

/// A server that answers, and what it says about itself.
async fn reach(config: RedisConfig) -> Result<(Servers, Info)> {
    let several = config.hosts.len() > 1;
    let database = config.database;
    let servers = Servers::new(config)?;
    let (node, info) = info(&servers, "connect").await?;
    if info.is_cluster() {
        if database != 0 {
            return Err(
                Error::new(ErrorKind::Config).with_message("a cluster has only the database 0")
            );
        }
        let learned = servers.learn(&node).await;
        learned.map_err(|failure| failure.into_error("connect", false))?;
        if !servers.is_cluster() {
            return Err(
                Error::new(ErrorKind::Unavailable).with_message("the cluster serves no slots")
            );
        }
    } else if several {
        return Err(Error::new(ErrorKind::Config).with_message(
            "several hosts are nodes of one cluster, and the first that answers is of none",
        ));
    }
    // A seed may be a replica; what has slots is a primary.
    for node in servers.nodes() {
        let mut command = redis::cmd("INFO");
        let info = servers.on(
            &node,
            Access::Repeatable,
            Call::One(command.arg("everything")),
        );
        let info = info
            .await
            .map_err(|failure| failure.into_error("connect", false))?;
        Info::of(info)?.require()?;
    }
    Ok((servers, info))
}

async fn connect(config: RedisConfig) -> Result<(Servers, Keys, Names, Durability)> {
    let counting = counting(&config);
    let (servers, info) = reach(config).await?;
    migrate::require_schema(&servers).await?;
    let node = servers.node(0);
    let fsync = append_fsync(&servers, &node).await;
    let durability = info.durability(fsync.as_deref());
    let mut load = redis::Pipeline::with_capacity(Script::ALL.len());
    for script in Script::ALL {
        load.add_command(script.load(counting));
    }
    let names = servers
        .on(&node, Access::Repeatable, Call::Many(&load))
        .await
        .map_err(|failure| failure.into_error("connect", false))?;
    let names = Names::of(names).ok_or_else(|| corrupt("scripts without names"))?;
    let prefix = servers.config().prefix.clone();
    Ok((servers, Keys { prefix }, names, durability))
}

async fn info(servers: &Servers, operation: &'static str) -> Result<(Arc<Node>, Info)> {
    let mut command = redis::cmd("INFO");
    let (node, answer) = servers
        .any(command.arg("everything"))
        .await
        .map_err(|failure| failure.into_error(operation, false))?;
    Ok((node, Info::of(answer)?))
}

/// The setting `appendfsync`, which hosted services do not show.
async fn append_fsync(servers: &Servers, node: &Node) -> Option<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendfsync");
    let answer = servers
        .on(node, Access::Repeatable, Call::One(&command))
        .await;
    setting(answer.ok()?).ok()
}

#[cfg(feature = "fault-injection")]
fn counting(config: &RedisConfig) -> bool {
    config.work.is_some()
}

#[cfg(not(feature = "fault-injection"))]
fn counting(_: &RedisConfig) -> bool {
    false
}

/// The spaces there are, of all whose names were ever written down.
async fn spaces(
    inner: &Arc<Inner>,
    after: Option<SpaceName>,
    limit: usize,
) -> Result<Vec<SpaceName>> {
    let key = inner.keys.spaces();
    let mut from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
    let mut found = Vec::new();
    while found.len() < limit {
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(&key).arg(&from).arg("+").arg("LIMIT").arg(0);
        let listed = inner
            .call("spaces", &key, command.arg(NAMES), false)
            .await?;
        let names = Parts::of(listed)?
            .map(|name| {
                let name = String::from_utf8(bytes(name)?).map_err(corrupt)?;
                SpaceName::new(&name).map_err(corrupt)
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(last) = names.last() else {
            break;
        };
        from = format!("({last}");
        let ended = names.len() < NAMES;
        // They share the connections, and with it the round trip.
        let exist = try_join_all(names.iter().map(|name| exists(inner, name))).await?;
        let existing = names.into_iter().zip(exist).filter(|(_, exists)| *exists);
        found.extend(existing.map(|(name, _)| name));
        if ended {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

async fn exists(inner: &Arc<Inner>, name: &SpaceName) -> Result<bool> {
    let keys = SpaceKeys::of(&inner.keys.prefix, name);
    let mut command = redis::cmd("HEXISTS");
    command.arg(keys.name(Key::Meta)).arg("epoch");
    let answer = inner
        .servers
        .call(keys.slot, Access::Repeatable, Call::One(&command))
        .await
        .map_err(|failure| failure.into_error("spaces", false))?;
    Ok(number(&answer)? == 1)
}
