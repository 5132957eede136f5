//! A server that crashes in the middle of a run, and comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pollster::block_on;
use sync_core::{Backend, ErrorKind, FeedCursor, Retry, SyncStore, SyncStoreExt};
use sync_postgres::PostgresBackend;

use crate::cluster::{Cluster, wait_until};
use crate::{connect, operation, read, step};

#[test]
fn a_crash_in_mid_run_loses_nothing_that_was_answered() {
    let mut cluster = Cluster::start();
    let config = cluster.config().retry_timeout(Duration::from_secs(20));
    let _ = block_on(PostgresBackend::migrate(&config)).unwrap();
    let (writer, reader) = (connect(config.clone()), connect(config));
    let (answered, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let done = AtomicBool::new(false);
    let (written, seen) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let (mut n, mut unknown) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                match block_on(writer.apply(step(n))) {
                    Ok(_) => {}
                    Err(error) if *error.kind() == ErrorKind::UnknownOutcome => {
                        assert_eq!(error.retry(), Retry::IfSafe);
                        unknown += 1;
                        match block_on(writer.apply(step(n))) {
                            Ok(_) => {}
                            // It had been applied.
                            Err(error) => {
                                assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
                            }
                        }
                    }
                    Err(error) => panic!("page {n}: {error:?}"),
                }
                n += 1;
                answered.store(n, Ordering::SeqCst);
            }
            (n, unknown)
        });
        let reading = scope.spawn(|| {
            let (mut cursor, mut seen) = (FeedCursor::Beginning, Vec::new());
            loop {
                let last = done.load(Ordering::SeqCst);
                let page = read(&reader, cursor).unwrap();
                cursor = page.next;
                seen.extend(page.entries.iter().map(|entry| entry.id));
                if last {
                    return seen;
                }
            }
        });
        for round in 1..=3 {
            wait_until("pages are answered", || {
                answered.load(Ordering::SeqCst) > 150 * round
            });
            cluster.crash();
            thread::sleep(Duration::from_millis(50));
            cluster.resume();
        }
        wait_until("pages are answered again", || {
            answered.load(Ordering::SeqCst) > 700
        });
        stop.store(true, Ordering::SeqCst);
        let written = writing.join().unwrap();
        done.store(true, Ordering::SeqCst);
        (written, reading.join().unwrap())
    });
    let (pages, unknown) = written;
    println!("{pages} pages through 3 crashes, {unknown} with an unknown outcome");
    let expected: Vec<_> = (0..pages).map(|n| operation(n).id).collect();
    assert!(seen == expected, "the reader saw something else");
    assert!(block_on(writer.verify()).unwrap().is_clean());
}

#[test]
fn without_its_server_a_handle_says_so_and_works_again_with_it() {
    let mut cluster = Cluster::start();
    let config = cluster.config().retry_timeout(Duration::from_millis(300));
    let _ = block_on(PostgresBackend::migrate(&config)).unwrap();
    let store = connect(config.clone());
    let _ = block_on(store.apply(step(0))).unwrap();
    cluster.crash();
    for error in [
        block_on(store.apply(step(1))).unwrap_err(),
        block_on(store.stats()).unwrap_err(),
        block_on(PostgresBackend::connect(config)).unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Unavailable, Retry::Later),
            "{error:?}"
        );
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(crate::cluster::PASSWORD), "{shown}");
    }
    cluster.resume();
    let _ = block_on(store.apply(step(1))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 2);
}

/// The connection that listens is lost with the server, and `changed` wakes all the same.
#[test]
fn a_waiter_is_woken_by_the_first_page_after_a_crash() {
    let mut cluster = Cluster::start();
    let config = cluster.config().retry_timeout(Duration::from_secs(20));
    let _ = block_on(PostgresBackend::migrate(&config)).unwrap();
    let (waiter, writer) = (connect(config.clone()), connect(config));
    let _ = block_on(writer.apply(step(0))).unwrap();
    let cursor = read(&waiter, FeedCursor::Beginning).unwrap().next;
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(waiter.changed(cursor)));
        thread::sleep(Duration::from_millis(200));
        cluster.crash();
        cluster.resume();
        assert!(!waiting.is_finished(), "a crash is no news");
        let _ = block_on(writer.apply(step(1))).unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(read(&waiter, cursor).unwrap().entries.len(), 1);
}
