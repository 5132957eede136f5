//! A cluster of Redis or Valkey: three servers that share the slots.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

use super::start;

pub(super) const NODES: u16 = 3;

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
    bail!("no port is free together with its bus port")
}
