//! Commands that fail, one by one, by the server's own fail points.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use pollster::block_on;
use sync_core::{Error, ErrorKind, Page, Retry, SyncStore};
use sync_mongo::mongodb;

use crate::kit::{self, delivered, id, migrated, open, operation, step};
use crate::set::ReplicaSet;

#[test]
fn commands_that_fail_leave_all_or_nothing() {
    let set = ReplicaSet::start(1);
    a_commit_whose_answer_is_lost_is_asked_for(&set);
    a_commit_that_is_never_answered_is_unknown_and_what_it_held_is_freed(&set);
    a_transaction_that_the_server_gives_up_is_tried_again(&set);
    a_command_that_the_server_refuses_fails_the_page_alone(&set);
    a_read_whose_connection_breaks_is_tried_again(&set);
}

fn a_commit_whose_answer_is_lost_is_asked_for(set: &ReplicaSet) {
    let store = migrated(&kit::config(set, "lost"));
    let faults = [
        doc! { "failCommands": ["commitTransaction"], "closeConnection": true },
        // Committed, and the primary could not say that a majority has it.
        doc! {
            "failCommands": ["commitTransaction"],
            "writeConcernError": { "code": 91, "errmsg": "of a test" },
        },
        doc! {
            "failCommands": ["commitTransaction"],
            "writeConcernError": { "code": 64, "errmsg": "of a test" },
        },
        doc! { "failCommands": ["commitTransaction"], "errorCode": 10107 },
    ];
    for (n, fault) in (0..).zip(faults) {
        // More often than the driver tries by itself.
        set.fail(doc! { "times": 3 }, fault.clone());
        let applied = block_on(store.apply(step(n)));
        set.fail_no_more();
        assert_eq!(applied.unwrap().totals().inserted, 1, "{fault}");
    }
    let ids: Vec<_> = (0..4).map(id).collect();
    assert_eq!(delivered(&store).unwrap(), ids);
}

fn a_commit_that_is_never_answered_is_unknown_and_what_it_held_is_freed(set: &ReplicaSet) {
    let config = kit::config(set, "unknown").commit_timeout(Duration::from_secs(1));
    let store = migrated(&config);
    let _ = block_on(store.apply(step(0))).unwrap();
    set.fail(
        doc! { "times": 10_000 },
        doc! { "failCommands": ["commitTransaction"], "closeConnection": true },
    );
    let error = block_on(store.apply(step(1))).unwrap_err();
    set.fail_no_more();
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::UnknownOutcome, Retry::IfSafe),
        "{error}"
    );
    // The server never saw the commit, and still holds the transaction open.
    let began = Instant::now();
    assert_eq!(delivered(&store).unwrap(), [id(0)]);
    let _ = block_on(store.apply(step(1))).unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "the next page waited {:?} for an abandoned transaction",
        began.elapsed()
    );
    assert_eq!(delivered(&store).unwrap(), [id(0), id(1)]);
}

fn a_transaction_that_the_server_gives_up_is_tried_again(set: &ReplicaSet) {
    let store = migrated(&kit::config(set, "transient"));
    for (n, command) in (0..).zip(["findAndModify", "find", "insert", "update"]) {
        for (m, code) in (0..).zip([112, 251, 246]) {
            set.fail(
                doc! { "times": 2 },
                doc! {
                    "failCommands": [command],
                    "errorCode": code,
                    "errorLabels": ["TransientTransactionError"],
                },
            );
            let applied = block_on(store.apply(step(3 * n + m)));
            set.fail_no_more();
            assert_eq!(applied.unwrap().totals().inserted, 1, "{command} {code}");
        }
    }
    assert_eq!(delivered(&store).unwrap().len(), 12);
}

fn a_command_that_the_server_refuses_fails_the_page_alone(set: &ReplicaSet) {
    let config = kit::config(set, "refused").busy_timeout(Duration::from_secs(2));
    let store = migrated(&config);
    let _ = block_on(store.apply(step(0))).unwrap();
    let before = block_on(store.stats()).unwrap();
    for (command, code, kind) in [
        ("findAndModify", 13, ErrorKind::Denied),
        ("find", 50, ErrorKind::Timeout),
        ("insert", 14031, ErrorKind::Full),
        ("insert", 8000, ErrorKind::Failed),
        ("update", 112, ErrorKind::Full),
    ] {
        set.fail(
            doc! { "times": 1_000 },
            doc! { "failCommands": [command], "errorCode": code },
        );
        let error = block_on(store.apply(step(1))).unwrap_err();
        set.fail_no_more();
        assert_eq!(*error.kind(), kind, "{command} {code}: {error}");
        assert_eq!(block_on(store.stats()).unwrap(), before);
    }
    let _ = block_on(store.apply(step(1))).unwrap();
    assert_eq!(delivered(&store).unwrap(), [id(0), id(1)]);
}

fn a_read_whose_connection_breaks_is_tried_again(set: &ReplicaSet) {
    let store = migrated(&kit::config(set, "reads"));
    let _ = block_on(store.apply(step(0))).unwrap();
    for fault in [
        doc! { "failCommands": ["find"], "closeConnection": true },
        doc! { "failCommands": ["find"], "errorCode": 246 },
        doc! { "failCommands": ["find"], "errorCode": 189 },
    ] {
        set.fail(doc! { "times": 2 }, fault.clone());
        let found = delivered(&store);
        set.fail_no_more();
        assert_eq!(found.unwrap(), [id(0)], "{fault}");
    }
}

/// A server that vanishes between two commands of a page, and comes back.
#[test]
fn a_server_that_is_killed_in_mid_page_has_nothing_of_it_and_the_handle_goes_on() {
    let set = Arc::new(Mutex::new(ReplicaSet::start(1)));
    let config = {
        let set = set.lock().unwrap();
        kit::config(&set, "killed").busy_timeout(Duration::from_secs(3))
    };
    let store = migrated(&config);
    let _ = block_on(store.apply(step(0))).unwrap();
    let armed = Arc::new(AtomicBool::new(false));
    let hook = {
        let (set, armed) = (Arc::clone(&set), Arc::clone(&armed));
        move |boundary: &'static str| -> Result<(), Error> {
            if boundary == "space" && armed.swap(false, Ordering::SeqCst) {
                set.lock().unwrap().members[0].kill();
            }
            Ok(())
        }
    };
    let doomed = open(&config.on_boundary(Arc::new(hook))).unwrap();
    armed.store(true, Ordering::SeqCst);
    let page = (1..200).fold(step(1), |page, n| page.upsert(operation(1_000 + n)));
    let error = block_on(doomed.apply(page.clone())).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Later, "{error}");
    let error = block_on(store.stats()).unwrap_err();
    assert_eq!(error.retry(), Retry::Later, "{error}");

    let mut restarted = set.lock().unwrap();
    restarted.members[0].restart();
    restarted.wait_for_primary();
    drop(restarted);
    let began = Instant::now();
    let found = loop {
        match delivered(&doomed) {
            Ok(found) => break found,
            Err(error) if began.elapsed() > Duration::from_secs(30) => panic!("{error}"),
            Err(error) => assert_eq!(error.retry(), Retry::Later, "{error}"),
        }
    };
    assert_eq!(found, [id(0)], "something of the page is there");
    assert_eq!(block_on(doomed.apply(page)).unwrap().totals().inserted, 200);
    assert_eq!(delivered(&store).unwrap().len(), 201);
    let _ = block_on(store.apply(Page::new().upsert(operation(7)))).unwrap();
}
