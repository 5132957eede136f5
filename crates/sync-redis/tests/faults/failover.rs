//! Another server answers than the one that acknowledged.

use std::thread;
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, ErrorKind, FeedCursor, Limit, Page, Payloads, Retry, SyncState, SyncStore, TimeRange,
};
use sync_redis::{Durability, RedisBackend, RedisConfig, RedisStore};

use crate::relay::Relay;
use crate::server::{Server, eventually};
use crate::{cursor, key, migrated, op, open, page, value};

const MANY: Limit = Limit::rows(1_000);

fn refused(store: &RedisStore, after: FeedCursor) -> bool {
    let answer = block_on(store.feed(after, MANY, Payloads::Skip));
    matches!(
        answer.as_ref().map_err(sync_core::Error::kind),
        Err(ErrorKind::WrongEpoch { .. })
    )
}

/// A primary that has more than its replica, which takes over.
struct Lost {
    relay: Relay,
    config: RedisConfig,
    primary: Server,
    replica: Server,
    /// A reader that saw the lost page.
    reader: FeedCursor,
}

fn lose() -> Lost {
    let primary = Server::start(&[]);
    let replica = Server::start(&[]);
    let relay = Relay::to(primary.address());
    let config = migrated(&relay.url());
    let store = open(&config, "space");
    let _ = block_on(store.apply(page(0..10))).unwrap();
    replica.follow(&primary);
    replica.cut_off();
    let _ = block_on(store.apply(page(10..13))).unwrap();
    let reader = cursor(&store);
    Lost {
        relay,
        config,
        primary,
        replica,
        reader,
    }
}

#[test]
fn a_replica_that_takes_over_without_the_last_pages_is_noticed_by_every_reader() {
    let mut lost = lose();
    let before = open(&lost.config, "space");
    let waiting = before.clone();
    let after = lost.reader;
    let waiter = thread::spawn(move || block_on(waiting.changed(after)));
    lost.primary.kill();
    lost.replica.promote();
    lost.relay.turn_to(lost.replica.address());
    // A handle that was there, one that is new, and one that waits: all before any page.
    assert!(refused(&before, lost.reader), "an open handle");
    assert!(refused(&open(&lost.config, "space"), lost.reader));
    waiter.join().unwrap().unwrap();
    // The new history passes the reader's cursor.
    let _ = block_on(before.apply(page(20..40))).unwrap();
    let stats = block_on(before.stats()).unwrap();
    assert!(stats.head > lost.reader.seq());
    for store in [before.clone(), open(&lost.config, "space")] {
        assert!(refused(&store, lost.reader), "a cursor that was passed");
        let again = block_on(store.feed(FeedCursor::Beginning, MANY, Payloads::Skip)).unwrap();
        assert_eq!(
            again.entries.len(),
            30,
            "rows for a reader that begins again"
        );
    }
    assert_eq!(stats.total, 30);
    assert!(block_on(before.check()).unwrap().is_empty());
}

/// The next page begins the new epoch also without a read in between.
#[test]
fn a_page_after_a_failover_begins_a_new_epoch_before_it_mints() {
    let mut lost = lose();
    let store = open(&lost.config, "space");
    lost.primary.kill();
    lost.replica.promote();
    lost.relay.turn_to(lost.replica.address());
    let _ = block_on(store.apply(page(20..30))).unwrap();
    let head = block_on(store.stats()).unwrap().head;
    assert!(head > lost.reader.seq());
    assert!(refused(&store, lost.reader));
    // A cursor of the new history stays good.
    let fresh = cursor(&store);
    let _ = block_on(store.apply(page(30..31))).unwrap();
    let page = block_on(store.feed(fresh, MANY, Payloads::Skip)).unwrap();
    assert_eq!(page.entries.len(), 1);
}

/// The old primary comes back as the primary after it followed the replica: the same process, and
/// still it has lost what it acknowledged.
#[test]
fn a_primary_that_comes_back_after_it_followed_is_noticed_too() {
    let lost = lose();
    lost.replica.promote();
    lost.primary.follow(&lost.replica);
    lost.primary.promote();
    let store = open(&lost.config, "space");
    assert!(refused(&store, lost.reader));
    assert_eq!(block_on(store.stats()).unwrap().total, 10);
}

#[test]
fn a_read_only_replica_is_refused_and_one_that_becomes_one_answers_nothing_old() {
    let (primary, other) = (Server::start(&[]), Server::start(&[]));
    let config = migrated(&primary.url()).patience(Duration::from_millis(100));
    let store = open(&config, "space");
    let _ = block_on(store.apply(page(0..5))).unwrap();
    let reader = cursor(&store);
    let replica = migrated(&other.url());
    other.follow(&primary);
    let error = block_on(RedisBackend::connect(replica)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
    // An open handle's server becomes a replica.
    other.promote();
    primary.follow(&other);
    let write = block_on(store.apply(page(5..6))).unwrap_err();
    let read = block_on(store.stats()).unwrap_err();
    let keys = block_on(store.scan_keys(TimeRange::ALL, None, MANY)).unwrap_err();
    for error in [write, read, keys] {
        assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{error}");
        assert_eq!(error.retry(), Retry::Later, "{error}");
    }
    // And a primary again.
    primary.promote();
    assert!(refused(&store, reader));
    let _ = block_on(store.apply(page(5..6))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 6);
}

/// With its file synced at every write the server loses nothing, but one cannot tell that from
/// outside: the epoch is a new one.
#[test]
fn a_server_that_restarts_has_its_rows_under_a_new_epoch() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let config = migrated(&server.url());
    let store = open(&config, "space");
    let _ = block_on(store.apply(page(0..100).set(key("k"), "v"))).unwrap();
    let _ = block_on(store.apply(Page::new().set(key("k"), "w"))).unwrap();
    let before = block_on(store.stats()).unwrap();
    let reader = cursor(&store);
    server.kill();
    server.run();
    let keys = block_on(store.scan_keys(TimeRange::ALL, None, MANY)).unwrap();
    assert_eq!(keys.items.len(), 100);
    let after = block_on(store.stats()).unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.total, after.head), (before.total, before.head));
    assert!(refused(&store, reader));
    assert_eq!(block_on(store.load(&key("k"))).unwrap().unwrap(), "w");
}

#[test]
fn what_the_server_is_set_up_for_is_what_is_declared() {
    for (arguments, durability) in [
        (&[][..], Durability::Memory),
        (&["--appendonly", "yes"], Durability::Process),
        (
            &["--appendonly", "yes", "--appendfsync", "always"],
            Durability::Machine,
        ),
    ] {
        let server = Server::start(arguments);
        let backend = block_on(RedisBackend::connect(migrated(&server.url()))).unwrap();
        assert_eq!(backend.capabilities().durability, durability);
        let described = block_on(backend.describe()).unwrap();
        let append_only = durability != Durability::Memory;
        let setting = (
            "appendonly".to_owned(),
            if append_only { "yes" } else { "no" }.to_owned(),
        );
        assert!(described.settings.contains(&setting), "{described:?}");
    }
}

/// Killed again and again while pages are on their way: each page is there wholly or not at all, and
/// what was answered is there.
#[test]
fn a_server_killed_in_mid_page_leaves_whole_pages() {
    const ROWS: u64 = 300;
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let config = migrated(&server.url()).patience(Duration::from_secs(10));
    let store = open(&config, "space");
    let mut written = 0;
    for round in 0..6_u64 {
        let writer = store.clone();
        let (answered, unknown) = thread::scope(|scope| {
            let writing = scope.spawn(move || {
                let (mut n, mut unknown) = (written, None);
                // Each page says which one it is, and expects to be the next.
                loop {
                    let before = (n > 0).then(|| value(n));
                    let page = page(n * ROWS..(n + 1) * ROWS)
                        .expect(key("page"), before)
                        .set(key("page"), value(n + 1));
                    assert!(page.is_retry_safe());
                    match block_on(writer.apply(page)) {
                        Ok(_) => n += 1,
                        Err(error) => {
                            unknown = unknown.or_else(|| {
                                let is_it = matches!(error.kind(), ErrorKind::UnknownOutcome);
                                is_it.then_some(n)
                            });
                            break;
                        }
                    }
                }
                (n, unknown)
            });
            thread::sleep(Duration::from_millis(30 + 17 * round));
            server.kill();
            // The writer's page fails, or waits for the server and goes on until it is killed.
            thread::sleep(Duration::from_millis(50));
            if !writing.is_finished() {
                server.run();
                thread::sleep(Duration::from_millis(100));
                server.kill();
                assert!(eventually(|| writing.is_finished()));
            }
            writing.join().unwrap()
        });
        server.run();
        let found = block_on(store.load(&key("page"))).unwrap();
        let found = found.map_or(0, |found| {
            String::from_utf8(found.to_vec()).unwrap().parse().unwrap()
        });
        assert!(found >= answered, "page {found} of {answered} answered");
        assert!(found <= answered + 1, "page {found} of {answered} answered");
        assert!(
            found == answered || unknown == Some(answered),
            "an error that lied"
        );
        let total = block_on(store.stats()).unwrap().total;
        assert_eq!(total, found * ROWS, "rows of {found} pages");
        assert!(block_on(store.check()).unwrap().is_empty());
        written = found;
    }
    assert!(written > 0, "no page was ever written");
}

#[test]
fn a_handle_goes_on_when_its_connections_were_killed() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let (store, other) = (open(&config, "space"), open(&config, "space"));
    let _ = block_on(store.apply(page(0..1))).unwrap();
    for n in 1..20 {
        server.run_command("CLIENT KILL TYPE normal");
        // Nothing was sent over a connection that had ended, so nothing is unknown.
        let _ = block_on(store.apply(Page::new().upsert(op(n)))).unwrap();
        assert_eq!(block_on(other.stats()).unwrap().total, n + 1);
    }
}

#[test]
fn a_lost_notification_connection_is_made_again() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let (store, other) = (open(&config, "space"), open(&config, "space"));
    let _ = block_on(other.apply(page(0..1))).unwrap();
    for n in 1..6 {
        let after = cursor(&store);
        let waiting = store.clone();
        let waiter = thread::spawn(move || block_on(waiting.changed(after)));
        assert!(eventually(|| server.info("pubsub_channels") == "1"));
        server.run_command("CLIENT KILL TYPE pubsub");
        let _ = block_on(other.apply(Page::new().upsert(op(n)))).unwrap();
        assert!(eventually(|| waiter.is_finished()), "round {n}");
        waiter.join().unwrap().unwrap();
    }
}
