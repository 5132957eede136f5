//! The takeover of a deployed system's database.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use pollster::block_on;
use sync_core::{
    Backend, Limit, Operation, Result, SpaceName, SyncOrder, SyncStore, TimeRange, Ts,
};
use sync_sqlite::rusqlite::types::Value;
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore, Takeover, TakeoverReport};

#[path = "../common/deployed.rs"]
mod deployed;
mod files;
mod refused;
mod taken;

use deployed::Old;

/// The order by which the deployed system marks what its Gatekeeper rejected.
const SENTINEL: i64 = 9_007_199_254_740_991;

/// From a copy into a file of ours, or in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Copy,
    InPlace,
}

const WAYS: [Way; 2] = [Way::Copy, Way::InPlace];

fn space() -> SpaceName {
    SpaceName::new("mdip").unwrap()
}

/// The takeover of `old`, not yet run, and the configuration of the file that will be ours.
fn takeover(way: Way, old: &Path) -> (Takeover, SqliteConfig) {
    match way {
        Way::Copy => {
            let config = SqliteConfig::new(old.with_extension("new"));
            block_on(SqliteBackend::migrate(&config)).unwrap();
            let takeover = Takeover::from_copy(old, config.clone(), space());
            (takeover, config)
        }
        Way::InPlace => {
            let config = SqliteConfig::new(old);
            (Takeover::in_place(config.clone(), space()), config)
        }
    }
}

fn run(way: Way, old: &Path) -> Result<TakeoverReport> {
    block_on(takeover(way, old).0.run())
}

fn open(config: &SqliteConfig) -> SqliteStore {
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    block_on(backend.open(&space())).unwrap()
}

/// All rows by seq.
fn rows(store: &SqliteStore) -> Vec<Operation> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let batch = block_on(store.scan_time(TimeRange::ALL, after, Limit::rows(1_000))).unwrap();
        rows.extend(batch.items);
        after = batch.next;
        if after.is_none() {
            rows.sort_by_key(|row| row.seq);
            return rows.into_iter().map(|row| row.operation).collect();
        }
    }
}

/// What must come of a sound row.
fn expected(row: &Old) -> Operation {
    let (Value::Text(id), Value::Integer(ts), Value::Text(json)) = (&row.id, &row.ts, &row.json)
    else {
        panic!("not a sound row: {row:?}");
    };
    Operation {
        id: id.parse().unwrap(),
        ts: Ts::try_from(*ts).unwrap(),
        object: None,
        sync_order: match row.order {
            Value::Integer(order) => Some(SyncOrder::try_from(order).unwrap()),
            _ => None,
        },
        payload: json.clone().into(),
    }
}
