//! A deployed mediator's databases, taken over into a space of every backend.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use pollster::block_on;
use sync_store::postgres::tokio_postgres::SimpleQueryMessage;
use sync_store::{
    AnyStore, Error, ErrorKind, FeedCursor, Limit, Payloads, Result, SyncStore, SyncStoreExt,
    TimeRange, postgres_config,
};
use sync_takeover::{Contents, OldDatabase, OldPostgres, OldRow, TakeoverReport, take_over};
use sync_tests::mediator::{Schema, Server};

mod backends;
mod tables;

/// An old database whose server goes away after some batches of rows.
struct Failing<O> {
    old: O,
    left: u32,
}

impl<O: OldDatabase> OldDatabase for Failing<O> {
    fn contents(&self) -> &Contents {
        self.old.contents()
    }

    async fn rows(&mut self) -> Result<Vec<OldRow>> {
        let left = self.left.checked_sub(1);
        self.left = left.ok_or_else(|| Error::new(ErrorKind::Unavailable))?;
        self.old.rows().await
    }
}

/// What the tests do on the server behind the program's back.
fn server() -> Server {
    let url = std::env::var("SYNC_TEST_POSTGRES_URL").unwrap();
    let client = block_on(postgres_config(&url).unwrap().client()).unwrap();
    Box::new(move |text| {
        let answers = block_on(client.simple_query(text)).unwrap();
        let first = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        answers.iter().filter_map(first).collect()
    })
}

fn open(schema: &Schema) -> Result<OldPostgres> {
    block_on(OldPostgres::open(&postgres_config(&schema.url())?))
}

fn bring(old: impl OldDatabase, store: &AnyStore) -> Result<TakeoverReport> {
    block_on(take_over(old, store, |_| ()))
}

/// Everything a space holds: the feed with payloads, every row with its order, and the state.
fn dump(store: &AnyStore) -> Vec<String> {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let feed = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Include)).unwrap();
    let rows = block_on(store.scan_time(TimeRange::ALL, None, all)).unwrap();
    let state = block_on(sync_store::SyncState::list(store, "", None, all)).unwrap();
    assert!(!feed.more && rows.next.is_none() && state.next.is_none());
    let mut lines: Vec<_> = feed
        .entries
        .iter()
        .map(|entry| format!("{entry:?}"))
        .collect();
    lines.extend(rows.items.iter().map(|row| format!("{row:?}")));
    lines.extend(state.items.iter().map(|entry| format!("{entry:?}")));
    assert!(block_on(store.verify()).unwrap().is_clean());
    lines
}
