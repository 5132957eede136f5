//! A Gatekeeper's log, hydrated over HTTP at every page limit, by every way, in other spellings.
//!
//! With the recorded answers of a real Gatekeeper in `shared/data/gatekeeper` beside the workspace,
//! or in the directory that `SYNC_MDIP_CAPTURE` names; otherwise with a generated log.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backends;
mod upstream;

use std::time::SystemTime;

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, FeedKind, Limit, Object, OpId, Operation, Payloads, SpaceName, Stats,
    SyncOrder, SyncStore, TimeRange, TombstoneReason,
};
use sync_hydrate::{Advance, BackfillStep, HydrateConfig, Hydrator, Progress, Start};
use sync_mdip::gatekeeper::{GatekeeperConfig, GatekeeperSource};
use sync_mdip_simulator::Gatekeeper;
use sync_memory::{MemoryBackend, MemoryConfig, MemoryStore};

use upstream::upstream;

fn hydrator(
    gatekeeper: &Gatekeeper,
    page_limit: u32,
    start: Start,
    include_private: bool,
) -> Hydrator<MemoryStore, GatekeeperSource> {
    let backend = MemoryBackend::new(MemoryConfig::new());
    let store = block_on(backend.open(&SpaceName::new("default").unwrap())).unwrap();
    let url = gatekeeper.url().parse().unwrap();
    let source = GatekeeperSource::new(GatekeeperConfig::new(url)).unwrap();
    let config = HydrateConfig {
        page_limit,
        start,
        include_private,
        ..HydrateConfig::default()
    };
    Hydrator::new(store, source, config)
}

#[derive(Debug, PartialEq)]
struct Tombstone {
    id: OpId,
    reason: TombstoneReason,
    source_seq: Option<SyncOrder>,
    object: Option<Object>,
}

/// Rows with orders, and tombstones by their source seq; local seqs apart.
#[derive(Debug, PartialEq)]
struct Dump {
    rows: Vec<Operation>,
    tombstones: Vec<Tombstone>,
}

fn dump(store: &MemoryStore) -> Dump {
    let all = Limit::rows(1_000_000).bytes(usize::MAX);
    let rows = block_on(store.scan_time(TimeRange::ALL, None, all)).unwrap();
    assert_eq!(rows.next, None);
    let feed = block_on(store.feed(FeedCursor::Beginning, all, Payloads::Skip)).unwrap();
    assert!(!feed.more);
    let tombstones = feed
        .entries
        .into_iter()
        .filter_map(|entry| match entry.kind {
            FeedKind::Tombstone {
                reason, source_seq, ..
            } => Some(Tombstone {
                id: entry.id,
                reason,
                source_seq,
                object: entry.object,
            }),
            FeedKind::Live { .. } => None,
        });
    let mut tombstones: Vec<Tombstone> = tombstones.collect();
    tombstones.sort_by_key(|tombstone| (tombstone.source_seq, tombstone.id));
    Dump {
        rows: rows.items.into_iter().map(|row| row.operation).collect(),
        tombstones,
    }
}

/// Those tombstones that stand: of ids without a row, the last of each.
fn standing(dump: &Dump) -> Vec<&Tombstone> {
    let is_last = |(n, tombstone): &(usize, &Tombstone)| {
        let later = dump.tombstones.iter().skip(n + 1);
        let is_live = dump.rows.iter().any(|row| row.id == tombstone.id);
        !is_live && !later.into_iter().any(|later| later.id == tombstone.id)
    };
    let tombstones = dump.tombstones.iter().enumerate();
    tombstones.filter(is_last).map(|(_, t)| t).collect()
}

fn stats(hydrator: &Hydrator<MemoryStore, GatekeeperSource>) -> Stats {
    block_on(hydrator.store().stats()).unwrap()
}

/// The log from its beginning.
fn from_zero(gatekeeper: &Gatekeeper, limit: u32, include_private: bool) -> (Dump, Progress) {
    let mut hydrator = hydrator(gatekeeper, limit, Start::Log, include_private);
    block_on(hydrator.run(SystemTime::now, |_| {})).unwrap();
    (dump(hydrator.store()), hydrator.progress().clone())
}

#[test]
fn the_log_ends_the_same_at_every_page_limit_with_and_without_private_dids() {
    let upstream = upstream();
    let gatekeeper = Gatekeeper::start(upstream.log.clone()).unwrap();
    for (include_private, rows) in [(true, upstream.all), (false, upstream.public)] {
        let (expected, _) = from_zero(&gatekeeper, 500, include_private);
        assert!(expected.rows.iter().all(|row| row.sync_order.is_some()));
        assert!(!expected.tombstones.is_empty());
        let found = expected.rows.len() as u64;
        assert_eq!(found, rows.unwrap_or(found));
        for limit in [1, 7, 100, 5000] {
            let (found, _) = from_zero(&gatekeeper, limit, include_private);
            assert!(found == expected, "page limit {limit}");
        }
    }
}

#[test]
fn snapshot_changes_and_backfill_end_as_the_log_at_every_page_limit() {
    let upstream = upstream();
    let gatekeeper = Gatekeeper::start(upstream.log.clone()).unwrap();
    let (expected, _) = from_zero(&gatekeeper, 500, true);
    for limit in [1, 7, 100, 500, 5000] {
        let mut hydrator = hydrator(&gatekeeper, limit, Start::Snapshot, true);
        let mut last = Stats::default();
        while block_on(hydrator.advance(SystemTime::now())).unwrap() == Advance::Snapshot {
            last = stats(&hydrator);
        }
        assert_eq!(last.total, upstream.snapshot.unwrap_or(last.total));
        assert_eq!((last.ordered, last.tombstones), (0, 0));
        while block_on(hydrator.advance(SystemTime::now())).unwrap() != Advance::AtTip {}
        let before = stats(&hydrator);
        while block_on(hydrator.backfill(SystemTime::now())).unwrap() == BackfillStep::Page {}
        let after = stats(&hydrator);
        assert_eq!(
            after.head.value() - before.head.value(),
            after.tombstones - before.tombstones,
            "backfill mints seqs for tombstones only"
        );
        assert_eq!((after.total, after.ordered), (before.total, after.total));
        block_on(hydrator.run(SystemTime::now, |_| {})).unwrap();
        let found = dump(hydrator.store());
        assert!(found.rows == expected.rows, "page limit {limit}");
        assert_eq!(standing(&found), standing(&expected), "page limit {limit}");
    }
}

#[test]
fn other_spellings_of_the_same_operations_are_the_same_rows() {
    let mut upstream = upstream();
    let gatekeeper = Gatekeeper::start(upstream.log.clone()).unwrap();
    let (expected, _) = from_zero(&gatekeeper, 500, true);
    upstream.log.respell(11).unwrap();
    let respelt = Gatekeeper::start(upstream.log).unwrap();
    let (found, progress) = from_zero(&respelt, 500, true);
    assert!(found == expected);
    assert_eq!(progress.totals.divergent + progress.totals.replaced, 0);
    assert!(progress.invalid.is_empty(), "{:?}", progress.invalid);

    // Read over what the first spelling stored: nothing differs, nothing is replaced.
    let mut hydrator = hydrator(&gatekeeper, 500, Start::Snapshot, true);
    block_on(hydrator.run(SystemTime::now, |_| {})).unwrap();
    let head = stats(&hydrator).head;
    let url = respelt.url().parse().unwrap();
    let mut config = GatekeeperConfig::new(url);
    config.name = Some(gatekeeper.url().to_owned());
    let source = GatekeeperSource::new(config).unwrap();
    let store = hydrator.store().clone();
    let mut again = Hydrator::new(store, source, HydrateConfig::default());
    block_on(again.run(SystemTime::now, |_| {})).unwrap();
    assert_eq!(block_on(again.store().stats()).unwrap().head, head);
}
