use serde_json::json;
use sync_store::{Delete, Object, Page, TombstoneReason};

use crate::node::{Node, id, key, line, op, order};

#[test]
fn migrate_creates_the_schema_once() {
    let node = Node::unmigrated();
    let first = node.run(&["migrate", "--json"]).json();
    assert_eq!(first["from"], 0);
    let again = node.run(&["migrate", "--json"]).json();
    assert_eq!(again, json!({"from": first["to"], "to": first["to"]}));
    assert!(node.run(&["migrate"]).ok().contains("already"));
    assert!(
        node.run(&["migrate", "--store", "memory:"])
            .ok()
            .contains("already")
    );
}

#[test]
fn status_shows_what_a_space_holds() {
    let node = Node::new();
    let long = vec![b'x'; 129];
    node.apply([
        Page::new()
            .upsert(op(1).at(order(5)))
            .upsert(op(2))
            .set(key("binary"), vec![0xff, 0x00])
            .set(key("empty"), "")
            .set(key("long"), long)
            .set(key("text"), "42"),
        Page::new().delete(Delete::new(id(2), TombstoneReason::Removed)),
    ]);
    let status = node.run(&["status", "--json"]).json();
    let store = &status["store"];
    let bytes = store["bytes"].as_u64().unwrap();
    assert_eq!(
        *store,
        json!({"backend": "sqlite", "durability": "process", "multiProcess": true,
               "notifyDelayMs": store["notifyDelayMs"], "server": store["server"],
               "settings": {"journal_mode": "wal", "synchronous": "1"},
               "bytes": bytes, "bytesPerOperation": bytes})
    );
    assert!(store["server"].as_str().unwrap().starts_with("SQLite 3."));
    let space = &status["spaces"][0];
    assert_eq!(space["epoch"].as_str().unwrap().len(), 32);
    assert_eq!(
        *space,
        json!({
            "space": "default", "epoch": space["epoch"],
            "rows": 1, "ordered": 1, "tombstones": 1, "head": 3, "floor": 0,
            // SHA-256 of 32 bytes 0x01 and one byte 0x01, the first half.
            "fingerprint": {"count": 1, "hash": "ce041765675ad4d93378e20bd3a7d0d9"},
            "state": [
                {"key": "binary", "bytes": 2, "hexPrefix": "ff00"},
                {"key": "empty", "bytes": 0, "text": ""},
                {"key": "long", "bytes": 129, "hexPrefix": "78".repeat(16)},
                {"key": "text", "bytes": 2, "text": "42"},
            ],
            "moving": false,
            "source": null,
            "stateMore": false,
        })
    );
    let text = node.run(&["status"]).ok();
    for shown in [
        "rows         1",
        " of 1 key\n",
        "text = 42",
        "binary = 2 bytes, ff00…",
        "the end of the process",
        ", journal_mode=wal, synchronous=1; ",
    ] {
        assert!(text.contains(shown), "{text}");
    }
    let quick = node.run(&["status", "--json", "--no-fingerprint"]).json();
    assert!(quick["spaces"][0]["fingerprint"].is_null());
}

#[test]
fn status_shows_every_space_unless_one_is_named() {
    let node = Node::new();
    assert_eq!(node.run(&["status", "--json"]).json()["spaces"], json!([]));
    for space in ["b", "a", "default"] {
        node.feed(&["load", "--space", space], line(1)).ok();
    }
    let names = |arguments: &[&str]| -> Vec<String> {
        let status = node.run(arguments).json();
        let spaces = status["spaces"].as_array().unwrap().iter();
        spaces
            .map(|space| space["space"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&["status", "--json"]), ["a", "b", "default"]);
    assert_eq!(names(&["status", "--json", "--space", "b"]), ["b"]);
    let absent = node.run(&["status", "--json", "--space", "absent"]).json();
    assert_eq!(absent["spaces"][0]["epoch"], json!(null));
    assert_eq!(names(&["status", "--json"]), ["a", "b", "default"]);
}

#[test]
fn status_says_what_the_store_promises() {
    let node = Node::new();
    for (store, durability) in [
        ("sqlite:sync.db", "machine"),
        ("sqlite:sync.db?durability=full", "machine"),
        ("sqlite:sync.db?durability=normal", "process"),
    ] {
        let status = node.run(&["status", "--json", "--store", store]).json();
        assert_eq!(status["store"]["durability"], durability);
    }
    let status = node.run(&["status", "--json", "--store", "memory:"]).json();
    assert_eq!(status["store"]["durability"], "memory");
    assert_eq!(status["store"]["multiProcess"], false);
}

#[test]
fn verify_ends_in_four_where_a_counter_lies_and_in_zero_where_none_does() {
    let node = Node::new();
    node.apply([Page::new()
        .upsert(op(1))
        .upsert(op(2).about(Object::new("o").unwrap()))]);
    let sound = node.run(&["verify", "--json"]).json();
    assert_eq!(
        sound,
        json!({"space": "default", "clean": true, "moving": false, "rows": 2, "ordered": 0,
               "tombstones": 0, "head": 2, "findings": []})
    );
    assert!(node.run(&["verify"]).ok().contains("is sound: 2 rows"));
    let database = rusqlite::Connection::open(node.path("sync.db")).unwrap();
    assert_eq!(
        database.execute("UPDATE space SET total = 3", []).unwrap(),
        1
    );
    let broken = node.run(&["verify", "--json"]);
    assert_eq!(broken.code, 4);
    let document = broken.document();
    assert_eq!(document["clean"], false);
    let findings = document["findings"].as_array().unwrap();
    assert!(
        findings[0].as_str().unwrap().contains("total"),
        "{findings:?}"
    );
    let text = node.run(&["verify"]);
    assert_eq!(text.code, 4);
    assert!(text.out.contains("the counter total says 3"), "{text:?}");
}

#[test]
fn a_space_that_does_not_exist_is_pointed_out_on_standard_error() {
    let node = Node::new();
    for command in ["verify", "dump", "tombstones"] {
        let ran = node.run(&[command, "--space", "mistyped"]);
        assert_eq!(ran.code, 0);
        assert!(
            ran.err.contains("space mistyped does not exist yet"),
            "{ran:?}"
        );
    }
    let (kind, _) = node
        .run(&["new-epoch", "--json", "--space", "mistyped"])
        .error(1);
    assert_eq!(kind, "notFound");
}

#[test]
fn new_epoch_keeps_everything_else() {
    let node = Node::new();
    node.feed(&["load", "--cursor-key", "c"], line(1)).ok();
    let before = (node.everything(), node.run(&["status", "--json"]).json());
    let document = node.run(&["new-epoch", "--json"]).json();
    let after = (node.everything(), node.run(&["status", "--json"]).json());
    assert_eq!(before.0, after.0);
    let epoch = &after.1["spaces"][0]["epoch"];
    assert_ne!(before.1["spaces"][0]["epoch"], *epoch);
    assert_eq!(document, json!({"space": "default", "epoch": epoch}));
}

#[test]
fn reset_needs_yes_without_a_terminal_and_empties_one_space() {
    let node = Node::new();
    for space in ["default", "other"] {
        node.feed(
            &["load", "--space", space, "--cursor-key", "c"],
            line(1) + &line(2),
        )
        .ok();
    }
    node.run(&["reject", &id(1).to_string()]).ok();
    assert!(node.run(&["reset"]).fails(2).contains("--yes"));
    assert_eq!(node.run(&["reset", "--json"]).error(2).0, "usage");
    assert_eq!(node.holds(), (1, 1, 1));
    let document = node.run(&["reset", "--yes", "--json"]).json();
    assert_eq!(document["rows"], 1);
    assert_eq!(document["tombstones"], 1);
    assert_eq!(document["epoch"].as_str().unwrap().len(), 32);
    assert_eq!(node.holds(), (0, 0, 0));
    assert_eq!(
        node.run(&["dump", "--space", "other"]).ok(),
        line(1) + &line(2)
    );
    let nothing = node
        .run(&["reset", "--yes", "--json", "--space", "absent"])
        .json();
    assert!(nothing["epoch"].is_null());
    assert_eq!(
        node.run(&["status", "--json"]).json()["spaces"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn reset_sweeps_what_it_left_behind_to_the_end() {
    let node = Node::new();
    let row = |n: u32| format!("{{\"id\":\"{n:064x}\",\"ts\":1,\"payload\":\"\"}}\n");
    node.feed(&["load"], (0..25_000).map(row).collect::<String>())
        .ok();
    let document = node.run(&["reset", "--yes", "--json"]).json();
    assert_eq!(document["rows"], 25_000);
    let database = rusqlite::Connection::open(node.path("sync.db")).unwrap();
    let rows: i64 = database
        .query_row("SELECT count(*) FROM operation", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_a_failure_with_a_message() {
    let node = Node::new();
    for arguments in [&["status"][..], &["status", "--json"]] {
        let mut command = node.command(arguments);
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("standard output"), "{message}");
    }
}
