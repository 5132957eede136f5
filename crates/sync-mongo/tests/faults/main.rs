//! What servers, networks and operators do, on servers of the tests' own.
#![cfg(feature = "fault-injection")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/server.rs"]
mod server;

mod commands;
mod failover;
mod kit;
mod refused;
mod set;
mod writers;
