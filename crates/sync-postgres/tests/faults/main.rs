//! What a server, a network and an operator can do to a backend.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod cluster;
mod control;
mod failover;
mod proxy;
mod refused;
mod restart;
#[path = "../common/server.rs"]
mod server;
mod terminated;
mod trouble;

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, FeedPage, Limit, OpId, Operation, Page, Payloads, Result, SpaceName,
    StateKey, SyncStore, Ts,
};
use sync_postgres::{PostgresBackend, PostgresConfig, PostgresStore};

use server::{Direct, config, unique};

/// A schema of the shared server, dropped with the value.
struct Schema {
    name: String,
}

impl Schema {
    fn new() -> Self {
        let schema = Self { name: unique() };
        let migrated = block_on(PostgresBackend::migrate(&schema.config()));
        let _ = migrated.unwrap();
        schema
    }

    fn config(&self) -> PostgresConfig {
        config(&self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Ok(direct) = Direct::open() {
            let _ = direct.run(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name));
        }
    }
}

/// A connection of the test's own to the shared server.
fn direct() -> Direct {
    Direct::open().unwrap()
}

fn name() -> SpaceName {
    SpaceName::new("space").unwrap()
}

fn connect(config: PostgresConfig) -> PostgresStore {
    let backend = block_on(PostgresBackend::connect(config)).unwrap();
    block_on(backend.open(&name())).unwrap()
}

fn key(key: &str) -> StateKey {
    StateKey::new(key).unwrap()
}

fn operation(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[24..].copy_from_slice(&n.to_be_bytes());
    Operation::new(OpId::new(id), Ts::new(n).unwrap(), format!("payload {n}"))
}

/// A page with one operation, and a cursor that has to hold the number of the one before.
fn step(n: u64) -> Page {
    let before = n.checked_sub(1).map(|before| before.to_string());
    Page::new()
        .expect(key("cursor"), before)
        .upsert(operation(n))
        .set(key("cursor"), n.to_string())
}

fn read(store: &PostgresStore, after: FeedCursor) -> Result<FeedPage> {
    block_on(store.feed(after, Limit::rows(100_000), Payloads::Skip))
}
