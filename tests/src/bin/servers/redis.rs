use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;
use redis::{Client, cmd};

/// Keys belong to one of as many slots.
const SLOTS: usize = 16384;

/// How often nodes are asked whether they have found together.
const POLL: Duration = Duration::from_millis(20);

pub(crate) async fn version(url: &str) -> Result<String> {
    // Of a cluster the first node.
    let first = url.split(',').next().unwrap_or(url);
    let info: String = cmd("INFO")
        .arg("server")
        .query_async(&mut connect(first).await?)
        .await?;
    product(&info).context("it does not say what it is")
}

/// Valkey names a version of Redis as well, for old clients.
fn product(info: &str) -> Option<String> {
    let field = |name: &str| {
        let mut fields = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'));
        fields.find_map(|(found, value)| (found == name).then_some(value))
    };
    let valkey = field("valkey_version").map(|number| format!("Valkey {number}"));
    valkey.or_else(|| Some(format!("Redis {}", field("redis_version")?)))
}

/// Gives each node its part of the slots, makes them meet, and waits until every one of them says
/// that all slots are served.
pub(crate) async fn form(addresses: &[&str], password: &str) -> Result<String> {
    let mut nodes = Vec::new();
    for address in addresses {
        nodes.push(connect(&format!("redis://:{password}@{address}")).await?);
    }
    let count = nodes.len();
    for (rank, node) in nodes.iter_mut().enumerate() {
        // Ranks that differ spare the nodes an election about who is right.
        let mut command = cmd("CLUSTER");
        command.arg("SET-CONFIG-EPOCH").arg(rank + 1);
        command.exec_async(node).await?;
        let (from, to) = (SLOTS * rank / count, SLOTS * (rank + 1) / count);
        // One by one, because Redis 6.2 does not know ranges.
        let mut command = cmd("CLUSTER");
        command.arg("ADDSLOTS").arg((from..to).collect::<Vec<_>>());
        command.exec_async(node).await?;
    }
    let (first, _) = nodes.split_first_mut().context("a cluster of no nodes")?;
    for address in addresses.iter().skip(1) {
        let (host, port) = address
            .rsplit_once(':')
            .context("an address without port")?;
        let mut command = cmd("CLUSTER");
        command.arg("MEET").arg(host).arg(port);
        command.exec_async(first).await?;
    }
    for node in &mut nodes {
        while !is_complete(&info(node).await?, count) {
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(format!("a cluster of {count}"))
}

async fn info(node: &mut MultiplexedConnection) -> Result<String> {
    Ok(cmd("CLUSTER").arg("INFO").query_async(node).await?)
}

/// Whether a node knows all the others, and of every slot that some node serves it.
fn is_complete(info: &str, nodes: usize) -> bool {
    let has = |line: String| info.lines().any(|found| found.trim_end() == line);
    has("cluster_state:ok".to_owned())
        && has(format!("cluster_slots_ok:{SLOTS}"))
        && has(format!("cluster_known_nodes:{nodes}"))
}

async fn connect(url: &str) -> Result<MultiplexedConnection> {
    let client = Client::open(url)?;
    Ok(client.get_multiplexed_async_connection().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_and_valkey_are_told_apart() {
        let valkey = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nprocess_id:42\r\n";
        assert_eq!(product(valkey).as_deref(), Some("Valkey 9.1.2"));
        let redis = "redis_version:6.2.14\r\n";
        assert_eq!(product(redis).as_deref(), Some("Redis 6.2.14"));
        assert_eq!(product("# Server\r\n"), None);
    }

    #[test]
    fn a_cluster_is_complete_when_every_slot_and_every_node_is_known() {
        let info = "cluster_state:ok\r\ncluster_slots_ok:16384\r\ncluster_known_nodes:3\r\n";
        assert!(is_complete(info, 3));
        for (part, other) in [(":ok", ":fail"), ("16384", "10922"), ("nodes:3", "nodes:2")] {
            assert!(!is_complete(&info.replace(part, other), 3), "{part}");
        }
    }
}
