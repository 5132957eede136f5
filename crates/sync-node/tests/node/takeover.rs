use std::path::Path;

use pollster::block_on;
use serde_json::json;
use sync_mdip_simulator::Log;
use sync_store::{Limit, Object, Operation, SyncOrder, SyncStore};
use sync_tests::mediator::{REJECTED, Row, write_file};

use crate::node::Node;

/// A mediator's file at `path` with an operation, the same under another id, and one that its
/// Gatekeeper rejected; and what must come of the first.
fn deployed(path: &Path) -> Operation {
    let mut log = Log::new();
    let did = log.create("hyperswarm");
    let event = &log.history(&did)[0];
    let (json, hash) = (event.operation(), event.hash().unwrap());
    let zeros = "0".repeat(64);
    let rows = [
        Row::new(hash, Some(7), 1_700_000_000, json),
        Row::new(&zeros, Some(8), 1_700_000_000, json.replace(hash, &zeros)),
        Row::new(&"f".repeat(64), Some(REJECTED), 1_700_000_000, json),
    ];
    write_file(path, &rows);
    let expected = sync_mdip::to_operation(json.as_bytes(), SyncOrder::new(7)).unwrap();
    let suffix = did.rsplit(':').next().unwrap().to_owned();
    assert_eq!(expected.object, Some(Object::new(suffix).unwrap()));
    expected
}

#[test]
fn a_mediators_file_is_taken_over_and_what_is_left_is_listed() {
    let node = Node::new();
    let expected = deployed(&node.path("operations.db"));
    let before = std::fs::read(node.path("operations.db")).unwrap();
    let take_over = ["take-over", "sqlite:operations.db", "--json"];
    let taken = node.run(&take_over).json();
    for (member, value) in [
        ("space", json!("default")),
        ("rows", json!(3)),
        ("skipped", json!(0)),
        ("taken", json!(1)),
        ("present", json!(0)),
        ("ordered", json!(1)),
        ("ordersLeft", json!(0)),
    ] {
        assert_eq!(taken[member], value, "{member}");
    }
    assert_eq!(taken["stateKeys"].as_array().unwrap().len(), 6);
    let refused = taken["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 2);
    for (refused, reason) in refused.iter().zip(["hash_mismatch", "rejected upstream"]) {
        assert!(refused.as_str().unwrap().contains(reason), "{refused}");
    }
    let rows = block_on(node.store("default").get(&[expected.id], Limit::rows(1)));
    let rows = rows.unwrap().rows;
    assert_eq!(rows[0].as_ref().unwrap().operation, expected);
    node.run(&["verify"]).ok();

    let again = node.run(&["take-over", "sqlite:operations.db"]).ok();
    assert!(again.contains("took 0 of 3 rows"), "{again}");
    assert!(again.contains("9 rows and state entries were brought by earlier runs"));
    assert_eq!(again.matches("not taken: row ").count(), 2);
    assert!(std::fs::read(node.path("operations.db")).unwrap() == before);
}

#[test]
fn a_takeover_says_what_it_needs() {
    let unmigrated = Node::unmigrated();
    let err = unmigrated.run(&["take-over", "sqlite:old.db"]).fails(1);
    assert!(err.contains("sync-node migrate"), "{err}");

    let node = Node::new();
    for (from, message) in [
        ("old.db", "FROM is sqlite:PATH"),
        ("mongodb://me:hunter2@h/d", "FROM is sqlite:PATH"),
        ("sqlite:old.db?mode=ro", "no options"),
        ("sqlite:", "the path of a file"),
    ] {
        let err = node.run(&["take-over", from]).fails(2);
        assert!(err.contains(message) && !err.contains("hunter2"), "{err}");
    }
    let err = node.run(&["take-over", "sqlite:old.db"]).fails(1);
    assert!(err.contains("old.db cannot be opened"), "{err}");
    // A mediator's file is no store, and the message says what it is good for.
    deployed(&node.path("operations.db"));
    let err = node
        .run(&["status", "--store", "sqlite:operations.db"])
        .fails(1);
    assert!(err.contains("sync-node take-over"), "{err}");
}
