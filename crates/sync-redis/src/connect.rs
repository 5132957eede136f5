//! Reaching the servers, and refusing those that cannot be used.

use std::sync::Arc;

use sync_core::{Description, Durability, Error, ErrorKind, Result};

use crate::error::corrupt;
use crate::scripts::{Names, Script};
use crate::server::{ServerInfo, setting};
use crate::servers::{Access, Node, Servers};
use crate::{RedisConfig, migrate};

/// Servers that can be used.
pub(crate) struct Connected {
    pub(crate) servers: Servers,
    pub(crate) names: Names,
    pub(crate) durability: Durability,
}

/// Servers that answer, and what one of them says about itself.
pub(crate) struct Reached {
    pub(crate) servers: Servers,
    info: ServerInfo,
}

/// Connects, checks the schema, and loads the scripts.
pub(crate) async fn connect(config: RedisConfig) -> Result<Connected> {
    let counting = config.faults.counts_work();
    let Reached { servers, info } = reach(config).await?;
    migrate::require_schema(&servers).await?;
    let node = servers.node(0);
    let fsync = append_fsync(&servers, &node).await;
    let mut load = redis::Pipeline::with_capacity(Script::ALL.len());
    for script in Script::ALL {
        load.add_command(script.load(counting));
    }
    let names = servers.on(&node, Access::Repeatable, &load).await?;
    Ok(Connected {
        names: Names::of(names).ok_or_else(|| corrupt("scripts without names"))?,
        durability: info.durability(fsync.as_deref()),
        servers,
    })
}

/// Finds the servers of a configuration, and refuses those that cannot keep the promises.
pub(crate) async fn reach(config: RedisConfig) -> Result<Reached> {
    let refused = |message| Error::new(ErrorKind::Config).with_message(message);
    let several = config.hosts.len() > 1;
    let database = config.database;
    let servers = Servers::new(config)?;
    let (node, info) = ask_any(&servers).await?;
    if info.is_cluster() {
        if database != 0 {
            return Err(refused("a cluster has only the database 0"));
        }
        servers.learn(&node).await?;
        if !servers.is_cluster() {
            return Err(
                Error::new(ErrorKind::Unavailable).with_message("the cluster serves no slots")
            );
        }
    } else if several {
        return Err(refused(
            "several hosts are nodes of one cluster, and the first that answers is of none",
        ));
    }
    // A seed may be a replica; what has slots is a primary.
    for node in servers.nodes() {
        let mut command = redis::cmd("INFO");
        let info = servers.on(&node, Access::Repeatable, command.arg("everything"));
        ServerInfo::of(info.await?)?.require()?;
    }
    Ok(Reached { servers, info })
}

/// The server, for people; of a cluster, the first node that answers.
pub(crate) async fn describe(servers: &Servers) -> Result<Description> {
    let (node, info) = ask_any(servers).await?;
    let fsync = append_fsync(servers, &node).await;
    Ok(info.describe(fsync.as_deref()))
}

async fn ask_any(servers: &Servers) -> Result<(Arc<Node>, ServerInfo)> {
    let mut command = redis::cmd("INFO");
    let (node, answer) = servers.any(command.arg("everything")).await?;
    Ok((node, ServerInfo::of(answer)?))
}

/// The setting `appendfsync`, which hosted services do not show.
async fn append_fsync(servers: &Servers, node: &Node) -> Option<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendfsync");
    let answer = servers.on(node, Access::Repeatable, &command).await;
    setting(answer.ok()?).ok()
}
