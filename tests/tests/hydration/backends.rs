//! One log in a database of every kind: the same bytes.

use std::fmt::Write as _;
use std::time::SystemTime;

use pollster::block_on;
use sync_hydrate::{HydrateConfig, Hydrator, Start};
use sync_mdip::gatekeeper::{GatekeeperConfig, GatekeeperSource};
use sync_mdip_simulator::Gatekeeper;
use sync_store::{
    AnyBackend, AnyStore, FeedCursor, Limit, Payloads, SpaceName, StateKey, SyncState, SyncStore,
};
use sync_tests::databases::Database;

use crate::upstream::upstream;

/// Everything a space holds: the feed with payloads, the order of every row, and the state.
fn dump(store: &AnyStore) -> String {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let mut text = String::new();
    let feed = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Include)).unwrap();
    assert!(!feed.more);
    for entry in feed.entries {
        writeln!(text, "{entry:?}").unwrap();
    }
    let ordered = block_on(store.scan_order(None, all)).unwrap();
    assert_eq!(ordered.next, None);
    for row in ordered.items {
        writeln!(text, "{row:?}").unwrap();
    }
    let state = block_on(store.list("", None, all)).unwrap();
    assert_eq!(state.next, None);
    // A walk of the log has a random salt.
    let walk = |key: &StateKey| key.as_str().starts_with("source.walk");
    for entry in state.items.iter().filter(|entry| !walk(&entry.key)) {
        writeln!(text, "{entry:?}").unwrap();
    }
    text
}

async fn hydrate(backend: &AnyBackend, space: &SpaceName, gatekeeper: &Gatekeeper) -> AnyStore {
    let store = backend.open(space).await.unwrap();
    let url = gatekeeper.url().parse().unwrap();
    let source = GatekeeperSource::new(GatekeeperConfig::new(url)).unwrap();
    let config = HydrateConfig {
        include_private: true,
        // A walk writes the removals it has collected in a random order.
        start: Start::Log,
        ..HydrateConfig::default()
    };
    // The state tells the time of the last walk; every database is told the same.
    let now = || SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let mut hydrator = Hydrator::new(store, source, config);
    hydrator.run(now, |_| {}).await.unwrap();
    hydrator.store().clone()
}

#[test]
fn one_log_ends_as_the_same_bytes_in_every_database() {
    let upstream = upstream();
    let gatekeeper = Gatekeeper::start(upstream.log.clone()).unwrap();
    let mut first: Option<(&str, String)> = None;
    for database in Database::of_every_backend() {
        let backend = database.connect();
        let store = block_on(hydrate(&backend, database.space(), &gatekeeper));
        let stats = block_on(store.stats()).unwrap();
        assert_eq!(stats.total, upstream.all.unwrap_or(stats.total));
        assert!(stats.tombstones > 0);
        let dump = dump(&store);
        println!(
            "{}: {} rows, {} bytes",
            database.name(),
            stats.total,
            dump.len()
        );
        match &first {
            None => first = Some((database.name(), dump)),
            Some((name, expected)) => {
                let differs = expected.lines().zip(dump.lines()).find(|(a, b)| a != b);
                assert_eq!(differs, None, "{} differs from {name}", database.name());
                assert_eq!(dump.len(), expected.len(), "{}", database.name());
            }
        }
    }
}
