//! Standbys, and what a promotion that lost pages does to readers.

use std::time::Duration;

use pollster::block_on;
use sync_core::{Backend, ErrorKind, FeedCursor, SyncStore, SyncStoreExt};
use sync_postgres::tokio_postgres::config::TargetSessionAttrs;
use sync_postgres::{PostgresBackend, PostgresConfig, PostgresStore, Tls};

use crate::cluster::{Cluster, PASSWORD, wait_until};
use crate::{connect, operation, read, step};

fn wrong_epoch(store: &PostgresStore, cursor: FeedCursor, when: &str) {
    let refused = read(store, cursor).map(|page| page.entries.len());
    match refused {
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::WrongEpoch { current: Some(_) }),
            "{when}: {error}"
        ),
        Ok(entries) => panic!("{when}: the reader was given {entries} entries"),
    }
    // A waiter is woken.
    block_on(store.changed(cursor)).unwrap();
}

#[test]
fn a_standby_is_read_and_refuses_pages() {
    let primary = Cluster::start();
    let _ = block_on(PostgresBackend::migrate(&primary.config())).unwrap();
    let store = connect(primary.config());
    let _ = block_on(store.apply(step(0))).unwrap();
    let standby = primary.standby();
    let replica = connect(standby.config());
    let _ = block_on(store.apply(step(1))).unwrap();
    wait_until("the standby has caught up", || {
        block_on(replica.stats()).unwrap().total == 2
    });
    let cursor = read(&store, FeedCursor::Beginning).unwrap().next;
    assert_eq!(read(&replica, FeedCursor::Beginning).unwrap().next, cursor);
    let error = block_on(replica.apply(step(2))).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
    let error = block_on(replica.new_epoch()).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
    // A waiter at the standby notices the next page by polling.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(replica.changed(cursor)));
        let _ = block_on(store.apply(step(2))).unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn after_a_promotion_that_lost_pages_every_reader_begins_again() {
    let mut primary = Cluster::start();
    let _ = block_on(PostgresBackend::migrate(&primary.config())).unwrap();
    let store = connect(primary.config());
    let _ = block_on(store.apply(step(0))).unwrap();
    let mut standby = primary.standby();
    let early = read(&store, FeedCursor::Beginning).unwrap().next;
    // One handle for both servers, as a program that survives a failover has it.
    let mut both = primary.server();
    both.host("127.0.0.1").port(standby.port());
    both.target_session_attrs(TargetSessionAttrs::ReadWrite);
    let survivor = connect(
        PostgresConfig::new(both)
            .tls(Tls::Disable)
            .retry_timeout(Duration::from_secs(10)),
    );
    assert_eq!(read(&survivor, early).unwrap().next, early);

    // The standby ends before these pages are acknowledged.
    standby.crash();
    for n in 1..5 {
        let _ = block_on(store.apply(step(n))).unwrap();
    }
    let late = read(&store, early).unwrap().next;
    assert_eq!(late.seq().value(), 5);
    let lost = block_on(store.stats()).unwrap();
    drop(store);
    primary.crash();
    standby.resume();
    standby.direct().run("SELECT pg_promote(true, 60)").unwrap();

    // Before any page, with a head below what some readers have seen.
    let store = connect(standby.config());
    let stats = block_on(store.stats()).unwrap();
    assert_eq!((stats.total, stats.head.value()), (1, 1));
    assert_ne!(stats.epoch, lost.epoch);
    wrong_epoch(&store, late, "a reader of lost pages, before the next page");
    wrong_epoch(
        &store,
        early,
        "a reader of no lost page, before the next page",
    );
    wrong_epoch(&survivor, late, "through the handle that survived");
    let begun = read(&store, FeedCursor::Beginning).unwrap();
    assert_eq!(begun.entries.len(), 1);
    assert_eq!(read(&survivor, begun.next).unwrap().next, begun.next);

    // Other pages take the lost seqs, and more.
    for n in 1..8_u64 {
        let page = sync_core::Page::new().upsert(operation(100 + n));
        let _ = block_on(survivor.apply(page)).unwrap();
    }
    let now = block_on(store.stats()).unwrap();
    assert!(now.head > late.seq(), "the new head has passed the reader");
    assert_eq!(now.epoch, stats.epoch, "the epoch that readers were told");
    for store in [&store, &survivor] {
        wrong_epoch(store, late, "a reader whose cursor the head has passed");
        wrong_epoch(store, early, "a reader below the head");
        // A reader that began after the promotion goes on.
        assert_eq!(read(store, begun.next).unwrap().entries.len(), 7);
    }
    assert!(block_on(store.verify()).unwrap().is_clean());
    println!("head {} after a promotion that lost {} pages", now.head, 4);
    assert!(!format!("{survivor:?}").contains(PASSWORD));
}
