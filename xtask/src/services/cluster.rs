//! A cluster of Redis or Valkey: three servers that share the slots.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::start::{self, POLL, READY};
use super::wire::Redis;

pub(super) const NODES: u16 = 3;

/// Keys belong to one of as many slots.
const SLOTS: u16 = 16384;

/// The port on which nodes talk to each other lies that far above the one for clients.
const BUS: u16 = 10_000;

/// A port that is free together with the one for the other nodes.
pub(super) fn free_port() -> Result<u16> {
    for _ in 0..1000 {
        let port = start::free_port()?;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if port.checked_add(BUS).is_some_and(is_free) {
            return Ok(port);
        }
    }
    Err(anyhow::anyhow!(
        "no port is free together with its bus port"
    ))
}

/// Gives each node its part of the slots, makes them meet, and waits until every one of them says
/// that all slots are served.
pub(super) fn form(addresses: &[String], password: &str) -> Result<()> {
    let mut nodes = Vec::new();
    for address in addresses {
        nodes.push(Redis::connect(address, password)?);
    }
    let mut from = 0;
    for (node, rank) in nodes.iter_mut().zip(1..) {
        // Ranks that differ spare the nodes an election about who is right.
        node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &rank.to_string()])?;
        let to = SLOTS * rank / NODES;
        let slots: Vec<_> = (from..to).map(|slot| slot.to_string()).collect();
        let mut words = vec!["CLUSTER", "ADDSLOTS"];
        words.extend(slots.iter().map(String::as_str));
        node.ask(&words)?;
        from = to;
    }
    let (first, others) = nodes.split_first_mut().context("a cluster of no nodes")?;
    for address in addresses.iter().skip(1) {
        let (host, port) = address
            .rsplit_once(':')
            .context("an address without port")?;
        first.ask(&["CLUSTER", "MEET", host, port])?;
    }
    let started = Instant::now();
    for node in std::iter::once(first).chain(others) {
        while !is_complete(&node.ask(&["CLUSTER", "INFO"])?) {
            ensure!(started.elapsed() < READY, "the nodes do not find together");
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Whether a node knows all the others, and of every slot that somebody serves it.
pub(super) fn is_complete(info: &str) -> bool {
    let has = |line: String| info.lines().any(|found| found.trim_end() == line);
    has("cluster_state:ok".to_owned())
        && has(format!("cluster_slots_ok:{SLOTS}"))
        && has(format!("cluster_known_nodes:{NODES}"))
}
