//! Primaries that go, with and without warning.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use pollster::block_on;
use sync_core::{
    ErrorKind, FeedCursor, Limit, OpId, Payloads, Retry, SyncState, SyncStore, SyncStoreExt,
};
use sync_mongo::{MongoStore, mongodb};

use crate::kit::{self, cursor, delivered, id, migrated, open, step};
use crate::set::ReplicaSet;

/// Applies steps until `stop`, each again until it is known to be there. How many.
fn write(store: &MongoStore, stop: &AtomicBool) -> u64 {
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        match block_on(store.apply(step(n))) {
            Ok(_) => n += 1,
            // The attempt before this one was committed after all.
            Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => n += 1,
            Err(error) => assert_ne!(error.retry(), Retry::Never, "{error}"),
        }
    }
    n
}

/// Follows the feed until `stop`, and then to its end.
fn follow(store: &MongoStore, stop: &AtomicBool) -> Vec<OpId> {
    let (mut after, mut ids) = (FeedCursor::Beginning, Vec::new());
    loop {
        // Asked before the look: what was written before it must be seen by it.
        let last = stop.load(Ordering::SeqCst);
        match block_on(store.feed(after, Limit::rows(7), Payloads::Skip)) {
            Ok(page) => {
                ids.extend(page.entries.iter().map(|entry| entry.id));
                after = page.next;
                if last && !page.more {
                    return ids;
                }
            }
            Err(error) => assert_eq!(error.retry(), Retry::Later, "{error}"),
        }
    }
}

#[test]
fn a_primary_that_steps_down_in_mid_run_loses_nothing_and_no_reader_skips() {
    let set = ReplicaSet::start(3);
    let config = kit::config(&set, "failover");
    let writer = migrated(&config);
    let reader = open(&config).unwrap();
    let epoch = block_on(async {
        let _ = writer.apply(sync_core::Page::new().reset()).await.unwrap();
        writer.stats().await.unwrap().epoch
    });
    let [written, end] = [AtomicBool::new(false), AtomicBool::new(false)];
    let (steps, seen) = thread::scope(|scope| {
        let writing = scope.spawn(|| write(&writer, &written));
        let reading = scope.spawn(|| follow(&reader, &end));
        for _ in 0..3 {
            thread::sleep(Duration::from_secs(2));
            let primary = set.wait_for_primary();
            // Its connections are closed, and the command's own with them on some versions.
            let _ = set.members[primary]
                .direct()
                .admin(doc! { "replSetStepDown": 5, "force": true });
        }
        set.wait_for_primary();
        thread::sleep(Duration::from_secs(2));
        written.store(true, Ordering::SeqCst);
        let steps = writing.join().unwrap();
        end.store(true, Ordering::SeqCst);
        (steps, reading.join().unwrap())
    });
    println!(
        "{steps} pages over three step-downs, {} delivered",
        seen.len()
    );
    assert!(steps > 20, "only {steps} pages");
    let expected: Vec<_> = (0..steps).map(id).collect();
    assert_eq!(seen, expected, "what the reader was given");
    let value = block_on(reader.load(&cursor())).unwrap().unwrap();
    assert_eq!(value, steps.to_string());
    // What was acknowledged is not lost, so that no new epoch was needed.
    assert_eq!(block_on(reader.stats()).unwrap().epoch, epoch);
    assert!(block_on(reader.verify()).unwrap().is_clean());
}

#[test]
fn what_a_failover_takes_back_was_never_delivered() {
    let mut set = ReplicaSet::start(3);
    let config = kit::config(&set, "rollback").commit_timeout(Duration::from_secs(2));
    let store = migrated(&config);
    let reader = open(&config).unwrap();
    for n in 0..5 {
        let _ = block_on(store.apply(step(n))).unwrap();
    }
    let before: Vec<_> = (0..5).map(id).collect();
    assert_eq!(delivered(&reader).unwrap(), before);

    // No other member is left to acknowledge what the primary commits.
    let primary = set.wait_for_primary();
    let others: Vec<_> = (0..3).filter(|member| *member != primary).collect();
    for &other in &others {
        set.members[other].kill();
    }
    let error = thread::scope(|scope| {
        let writing = scope.spawn(|| block_on(store.apply(step(5))).unwrap_err());
        // Reads that the primary still answers, until it notices that it is alone.
        while !writing.is_finished() {
            match delivered(&reader) {
                Ok(found) => assert_eq!(found, before, "delivered before a majority had it"),
                Err(error) => assert_eq!(error.retry(), Retry::Later, "{error}"),
            }
        }
        writing.join().unwrap()
    });
    assert_ne!(error.retry(), Retry::Never, "{error}");

    set.members[primary].kill();
    for &other in &others {
        set.members[other].restart();
    }
    set.wait_for_primary();
    set.members[primary].restart();
    let began = Instant::now();
    let found = loop {
        match delivered(&reader) {
            Ok(found) => break found,
            Err(error) if began.elapsed() > Duration::from_mins(1) => panic!("{error}"),
            Err(error) => assert_eq!(error.retry(), Retry::Later, "{error}"),
        }
    };
    assert_eq!(found, before, "what only the old primary had");
    // It did have something: the server keeps what it takes back.
    let began = Instant::now();
    while !set.members[primary].has_rolled_back() {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "nothing was rolled back"
        );
        thread::sleep(Duration::from_millis(100));
    }
    // The page has a precondition on a key that it changes, and so may be sent again.
    let _ = block_on(store.apply(step(5))).unwrap();
    let after: Vec<_> = (0..6).map(id).collect();
    assert_eq!(delivered(&reader).unwrap(), after);
    assert!(block_on(reader.verify()).unwrap().is_clean());
}
