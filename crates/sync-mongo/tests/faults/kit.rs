//! What every test here needs.

use std::error::Error as _;
use std::fmt::Write as _;
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, Error, FeedCursor, Limit, OpId, Operation, Page, Payloads, Result, SpaceName,
    StateKey, SyncOrder, SyncStore, Ts,
};
use sync_mongo::{MongoBackend, MongoConfig, MongoStore};

use crate::set::ReplicaSet;

/// A configuration that gives up soon.
pub(crate) fn config(set: &ReplicaSet, database: &str) -> MongoConfig {
    MongoConfig::new(set.url(database))
        .busy_timeout(Duration::from_secs(20))
        .commit_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(10))
}

pub(crate) fn migrated(config: &MongoConfig) -> MongoStore {
    let _ = block_on(MongoBackend::migrate(config)).unwrap();
    open(config).unwrap()
}

/// A handle with connections of its own.
pub(crate) fn open(config: &MongoConfig) -> Result<MongoStore> {
    let space = SpaceName::new("space")?;
    block_on(async {
        let backend = MongoBackend::connect(config.clone()).await?;
        backend.open(&space).await
    })
}

pub(crate) fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[24..].copy_from_slice(&n.to_be_bytes());
    OpId::new(bytes)
}

pub(crate) fn operation(n: u64) -> Operation {
    let payload = format!("the payload of operation {n}");
    Operation::new(id(n), Ts::new(n).unwrap(), payload).at(SyncOrder::new(n + 1).unwrap())
}

pub(crate) fn cursor() -> StateKey {
    StateKey::new("cursor").unwrap()
}

/// A page that moves the cursor from `n` to `n + 1`, and so may be sent again.
pub(crate) fn step(n: u64) -> Page {
    let before = (n > 0).then(|| n.to_string());
    Page::new()
        .expect(cursor(), before)
        .upsert(operation(n))
        .set(cursor(), (n + 1).to_string())
}

/// Every id of the feed, from its beginning.
pub(crate) fn delivered(store: &MongoStore) -> Result<Vec<OpId>> {
    let (mut after, mut ids) = (FeedCursor::Beginning, Vec::new());
    loop {
        let page = block_on(store.feed(after, Limit::rows(100), Payloads::Skip))?;
        ids.extend(page.entries.iter().map(|entry| entry.id));
        after = page.next;
        if !page.more {
            return Ok(ids);
        }
    }
}

/// All the text of an error and its causes.
pub(crate) fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string does not fail.
        let _ = write!(told, " {cause} {cause:?}");
        source = cause.source();
    }
    told
}
