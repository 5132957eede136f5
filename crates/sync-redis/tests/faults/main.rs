//! What a server does to its clients: it forgets scripts, fills up, follows another one, vanishes,
//! comes back with less than it had, and moves a space to its neighbour.
//!
//! Each test starts servers of its own, from the folder that `SYNC_TEST_REDIS_BIN` names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod access;
mod cluster;
mod failover;
#[cfg(feature = "fault-injection")]
mod gate;
mod limits;
mod relay;
mod server;
mod tls;
#[cfg(feature = "fault-injection")]
mod watched;

use pollster::block_on;
use sync_core::{
    Backend, Bytes, FeedCursor, Limit, OpId, Operation, Page, Payloads, SpaceName, StateKey,
    SyncStore, Ts,
};
use sync_redis::{RedisBackend, RedisConfig, RedisStore};

/// A configuration of a server that has the schema.
fn migrated(url: &str) -> RedisConfig {
    let config = RedisConfig::from_url(url).unwrap();
    block_on(RedisBackend::migrate(&config)).unwrap();
    config
}

/// A handle of its own on the space called `name`.
fn open(config: &RedisConfig, name: &str) -> RedisStore {
    block_on(async {
        let backend = RedisBackend::connect(config.clone()).await.unwrap();
        backend.open(&SpaceName::new(name).unwrap()).await.unwrap()
    })
}

fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    bytes[24..].copy_from_slice(&n.to_be_bytes());
    OpId::new(bytes)
}

fn op(n: u64) -> Operation {
    Operation::new(id(n), Ts::new(n).unwrap(), format!("payload {n}"))
}

/// A page of such operations.
fn page(range: std::ops::Range<u64>) -> Page {
    Page::new().upserts(range.map(op))
}

fn key(name: &str) -> StateKey {
    StateKey::new(name).unwrap()
}

fn value(n: u64) -> Bytes {
    Bytes::from(n.to_string())
}

/// A cursor at the head.
fn cursor(store: &RedisStore) -> FeedCursor {
    let mut after = FeedCursor::Beginning;
    loop {
        let page = block_on(store.feed(after, Limit::rows(1_000), Payloads::Skip)).unwrap();
        after = page.next;
        if !page.more {
            return after;
        }
    }
}

/// Every message of an error and its causes.
fn messages(error: &sync_core::Error) -> String {
    let mut all = vec![format!("{error} {error:?}")];
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        all.push(format!("{source} {source:?}"));
        cause = source.source();
    }
    all.join(" ")
}
