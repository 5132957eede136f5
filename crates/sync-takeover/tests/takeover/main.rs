//! A mediator's SQLite file into a store in memory.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, Limit, Operation, Payloads, Result, SpaceName, StateKey, SyncState,
    SyncStore,
};
use sync_memory::{MemoryBackend, MemoryConfig, MemoryStore};
use sync_takeover::{CURSOR_KEY, Contents, OldDatabase, OldRow, OldSqlite, TakeoverReport};
use sync_tests::mediator::{self, Row};
use tempfile::TempDir;

mod files;
mod filled;
mod resumed;
mod taken;

/// A mediator's file in a directory of its own.
struct Old {
    directory: TempDir,
}

impl Old {
    fn new(rows: &[Row]) -> Self {
        let old = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        mediator::write_file(&old.path(), rows);
        old
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("operations.db")
    }

    fn open(&self) -> OldSqlite {
        OldSqlite::open(self.path(), Duration::ZERO).unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }
}

/// An old database that does something else before each batch of rows.
struct Before<O, F> {
    old: O,
    act: F,
    batches: u32,
}

fn before<O, F: FnMut(u32) -> Result<()> + Send>(old: O, act: F) -> Before<O, F> {
    Before {
        old,
        act,
        batches: 0,
    }
}

impl<O: OldDatabase, F: FnMut(u32) -> Result<()> + Send> OldDatabase for Before<O, F> {
    fn contents(&self) -> &Contents {
        self.old.contents()
    }

    async fn rows(&mut self) -> Result<Vec<OldRow>> {
        (self.act)(self.batches)?;
        self.batches += 1;
        self.old.rows().await
    }
}

fn store() -> MemoryStore {
    store_of(MemoryConfig::new())
}

fn store_of(config: MemoryConfig) -> MemoryStore {
    let backend = block_on(MemoryBackend::connect(config)).unwrap();
    block_on(backend.open(&SpaceName::new("mdip").unwrap())).unwrap()
}

fn take_over(old: impl OldDatabase, store: &MemoryStore) -> Result<TakeoverReport> {
    block_on(sync_takeover::take_over(old, store, |_| ()))
}

/// The rows by seq.
fn rows(store: &MemoryStore) -> Vec<Operation> {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let batch = block_on(store.scan_time(sync_core::TimeRange::ALL, None, all)).unwrap();
    let mut rows = batch.items;
    rows.sort_by_key(|row| row.seq);
    rows.into_iter().map(|row| row.operation).collect()
}

/// Everything that a space holds.
fn everything(store: &MemoryStore) -> String {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let feed = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Include)).unwrap();
    let state = block_on(store.list("", None, all)).unwrap();
    format!("{:?} {:?} {:?}", feed.entries, rows(store), state.items)
}

fn key(name: &str) -> StateKey {
    StateKey::new(name).unwrap()
}

fn value(store: &MemoryStore, name: &str) -> Option<String> {
    let value = block_on(store.load(&key(name))).unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// How far the cursor says that a takeover has come.
fn done(store: &MemoryStore) -> u64 {
    let Some(cursor) = value(store, CURSOR_KEY) else {
        return 0;
    };
    let (_, done) = cursor.split_once("\"done\":").unwrap();
    done.split(',').next().unwrap().parse().unwrap()
}

/// What must come of sound rows, by order, then time, then id.
fn expected(rows: &[Row]) -> Vec<Operation> {
    use rusqlite::types::Value;
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|row| {
        let (Value::Integer(_) | Value::Null, Value::Integer(ts)) = (&row.order, &row.ts) else {
            panic!("not a sound row: {row:?}");
        };
        let order = match row.order {
            Value::Integer(order) => Some(order),
            _ => None,
        };
        (order.is_none(), order, *ts, Row::text(&row.id).to_owned())
    });
    let operation = |row: &Row| {
        let order = match row.order {
            Value::Integer(order) => Some(order.try_into().unwrap()),
            _ => None,
        };
        sync_mdip::to_operation(Row::text(&row.json).as_bytes(), order).unwrap()
    };
    sorted.into_iter().map(operation).collect()
}

/// Opens the file as the mediator would.
fn writer(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}
