use std::path::Path;

use pollster::block_on;
use rusqlite::{Connection, params};
use serde_json::json;
use sync_mdip_simulator::{Log, respell};
use sync_store::{Object, Operation, SyncOrder, SyncStore};

use crate::node::Node;

/// An operation as a client signed it, with its hash and its DID's suffix.
fn operation() -> (String, String, String) {
    let mut log = Log::new();
    let did = log.create("hyperswarm");
    let event = &log.history(&did)[0];
    let suffix = did.rsplit(':').next().unwrap().to_owned();
    let hash = event.hash().unwrap().to_owned();
    (event.operation().to_owned(), hash, suffix)
}

/// A database as the deployed mediator leaves it: an operation in another spelling and with a time
/// of the host's own zone, the same with another content, a rejected one, and a cursor.
fn deployed(path: &Path) -> Operation {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE operations (id TEXT PRIMARY KEY, sync_order INTEGER,
               signed_ts INTEGER NOT NULL, operation_json TEXT NOT NULL,
               inserted_at INTEGER NOT NULL);
             CREATE TABLE sync_state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
             INSERT INTO sync_state VALUES ('index.changes.cursor', '7');",
        )
        .unwrap();
    let (json, hash, suffix) = operation();
    let expected = sync_mdip::to_operation(json.as_bytes(), SyncOrder::new(7)).unwrap();
    assert_eq!(expected.object, Some(Object::new(suffix).unwrap()));
    let respelt = respell(&json, &mut fastrand::Rng::with_seed(1)).unwrap();
    let zeros = "0".repeat(64);
    let forged = json.replace(&hash, &zeros);
    for (id, order, json) in [
        (&hash, 7, &respelt),
        (&zeros, 8, &forged),
        (&"f".repeat(64), 9_007_199_254_740_991_i64, &json),
    ] {
        let insert = "INSERT INTO operations VALUES (?1, ?2, 1700000000, ?3, 0)";
        connection
            .execute(insert, params![id, order, json])
            .unwrap();
    }
    expected
}

#[test]
fn a_deployed_database_is_taken_over_from_a_copy_and_what_is_left_is_listed() {
    let node = Node::unmigrated();
    let old = node.path("operations.db");
    let expected = deployed(&old);
    let taken = node
        .run(&["migrate", "--take-over", old.to_str().unwrap(), "--json"])
        .json();
    assert_eq!(
        (&taken["taken"], &taken["ordered"], &taken["stateKeys"]),
        (&json!(1), &json!(1), &json!(["index.changes.cursor"]))
    );
    let refused = taken["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 2);
    for (refused, reason) in refused.iter().zip(["hash_mismatch", "rejected upstream"]) {
        assert!(refused.as_str().unwrap().contains(reason), "{refused}");
    }
    let rows = block_on(node.store("default").get(&[expected.id], 1 << 20))
        .unwrap()
        .rows;
    assert_eq!(rows[0].as_ref().unwrap().operation, expected);
    let status = node.run(&["status", "--json"]).json();
    assert_eq!(status["spaces"][0]["rows"], 1);
    node.run(&["verify"]).ok();
}

#[test]
fn a_takeover_in_place_needs_to_be_confirmed_and_keeps_the_old_tables() {
    let node = Node::unmigrated();
    let store = format!("sqlite:{}", node.path("operations.db").display());
    deployed(&node.path("operations.db"));
    let asked = node.run(&["migrate", "--store", &store, "--take-over-in-place"]);
    assert_eq!(asked.code, 2, "{asked:?}");
    let taken = [
        "migrate",
        "--store",
        &store,
        "--take-over-in-place",
        "--yes",
    ];
    assert!(
        node.run(&taken)
            .ok()
            .contains("took 1 rows, 1 of them ordered")
    );
    node.run(&["verify", "--store", &store]).ok();
    let connection = Connection::open(node.path("operations.db")).unwrap();
    let kept = "SELECT count(*) FROM taken_over_operations";
    assert_eq!(
        connection
            .query_row(kept, [], |row| row.get::<_, i64>(0))
            .unwrap(),
        3
    );
}

#[test]
fn a_takeover_needs_a_sqlite_store() {
    let node = Node::unmigrated();
    let refused = node.run(&["migrate", "--store", "memory:", "--take-over", "old.db"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("sqlite:"), "{refused:?}");
}
