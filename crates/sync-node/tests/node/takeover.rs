use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::json;

use crate::node::Node;

/// A database as the deployed mediator leaves it: an operation, a rejected one, and a cursor.
fn deployed(path: &Path) {
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
    for (n, order) in [(1, 7), (2, 9_007_199_254_740_991_i64)] {
        let id = format!("{n:064x}");
        let operation = json!({"type": "create", "signature": {"hash": id}}).to_string();
        let insert = "INSERT INTO operations VALUES (?1, ?2, 1700000000, ?3, 0)";
        connection
            .execute(insert, params![id, order, operation])
            .unwrap();
    }
}

#[test]
fn a_deployed_database_is_taken_over_from_a_copy_and_what_is_left_is_listed() {
    let node = Node::unmigrated();
    let old = node.path("operations.db");
    deployed(&old);
    let taken = node
        .run(&["migrate", "--take-over", old.to_str().unwrap(), "--json"])
        .json();
    assert_eq!(
        (&taken["taken"], &taken["ordered"], &taken["stateKeys"]),
        (&json!(1), &json!(1), &json!(["index.changes.cursor"]))
    );
    let refused = taken["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].as_str().unwrap().contains("rejected upstream"),
        "{refused:?}"
    );
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
        2
    );
}

#[test]
fn a_takeover_needs_a_sqlite_store() {
    let node = Node::unmigrated();
    let refused = node.run(&["migrate", "--store", "memory:", "--take-over", "old.db"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.err.contains("sqlite:"), "{refused:?}");
}
