use serde_json::{Value, json};

use crate::node::{Node, finish};

#[test]
fn the_demo_proves_what_it_says_and_tells_each_step() {
    let node = Node::unmigrated();
    let mut command = node.bare();
    // What a user has set for other commands is not the demo's.
    command
        .args(["demo", "--operations", "300"])
        .env("SYNC_NODE_STORE", "sqlite:none.db")
        .env("SYNC_NODE_CHANGES_ONLY", "true")
        .env("SYNC_NODE_INCLUDE_LOCAL", "true");
    let text = finish(command).ok();
    assert_eq!(text.matches("is killed").count(), 3, "{text}");
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("proven in "), "{text}");
    // The tombstones that are compared are those that each file's line says are in effect.
    let in_effect = |line: &str| {
        let (before, _) = line.split_once(" of them in effect")?;
        Some(before.rsplit(' ').next().unwrap().to_owned())
    };
    let counts: Vec<_> = text.lines().filter_map(in_effect).collect();
    assert_eq!(counts.len(), 5, "{text}");
    assert_eq!(counts[3], counts[4], "{text}");
    assert!(
        last.contains(&format!(" {} tombstones in effect", counts[4])),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(node.directory()).unwrap().count(), 0);
}

#[test]
fn the_demo_answers_one_document_and_keeps_its_databases_where_asked() {
    let node = Node::unmigrated();
    let demo = |arguments: &[&str]| {
        let mut command = node.bare();
        command.args(["demo", "--operations", "300", "--json", "--keep", "kept"]);
        command.args(arguments);
        finish(command)
    };
    let document = demo(&["--seed", "7"]).json();
    assert_eq!(document["differences"], json!([]));
    let kills = document["kills"].as_array().unwrap();
    assert_eq!(kills.len(), 3);
    assert_eq!(kills[0]["phase"], "snapshot");
    assert_eq!(kills[2]["phase"], "order");
    for kill in kills {
        assert_eq!(kill["findings"], json!([]));
        assert!(kill["tombstonesInEffect"].as_u64() <= kill["tombstones"].as_u64());
        assert!(kill["rows"].as_u64().unwrap() > 0);
    }
    for file in ["killed.db", "undisturbed.db"] {
        let store = format!("sqlite:kept/{file}");
        let status = node
            .run(&["status", "--store", &store, "--space", "demo", "--json"])
            .json();
        let space = &status["spaces"][0];
        assert_eq!(space["rows"], document["rows"]);
        assert_eq!(space["ordered"], document["rows"]);
        assert_eq!(space["fingerprint"]["hash"], document["fingerprint"]);
    }
    let (kind, message) = demo(&[]).error(1);
    assert_eq!(kind, "refused");
    assert!(message.contains("killed.db"), "{message}");
    let few: Vec<Value> = ["0", "199"]
        .map(|n| {
            node.run(&["demo", "--json", "--operations", n])
                .error(2)
                .0
                .into()
        })
        .to_vec();
    assert_eq!(few, [json!("usage"), json!("usage")]);
}
