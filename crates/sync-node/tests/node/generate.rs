use std::fs;

use serde_json::json;

use crate::node::{Node, finish};
use crate::upstream::{holds, hydrate};

#[test]
fn the_same_seed_makes_the_same_log_and_another_one_another() {
    let node = Node::new();
    let generate = |arguments: &[&str]| {
        let mut command = node.bare();
        command
            .args(["generate", "--operations", "150"])
            .args(arguments);
        finish(command)
    };
    let log = generate(&[]).ok();
    assert_eq!(generate(&["--seed", "1"]).ok(), log);
    assert_ne!(generate(&["--seed", "2"]).ok(), log);
    assert_ne!(generate(&["--removals", "100"]).ok(), log);

    let report = generate(&["--output", "log.ndjson", "--page-size", "500", "--json"]).json();
    assert_eq!(fs::read_to_string(node.path("log.ndjson")).unwrap(), log);
    assert_eq!(
        (&report["operations"], &report["pages"], &report["file"]),
        (&json!(150), &json!(1), &json!("log.ndjson"))
    );
    let text = generate(&["--output", "small.ndjson", "--page-size", "10"]).ok();
    assert!(text.starts_with("wrote 150 operations in "), "{text}");

    // Whatever the size of its pages, and in another process.
    let fill = |file: &str, space: &str| {
        hydrate(&node, &["--from", file, "--space", space, "--json"]).json()
    };
    let (whole, small) = (fill("log.ndjson", "default"), fill("small.ndjson", "small"));
    assert_eq!(whole["epoch"], report["epoch"]);
    assert_eq!(whole["records"], small["records"]);
    assert_eq!(whole["invalid"], json!({}));
    assert!(holds(&node).rows() > 100);
    let dump = |space: &str| node.run(&["dump", "--space", space]).ok();
    assert_eq!(dump("default"), dump("small"));
}

#[test]
fn with_json_a_generated_log_needs_a_file() {
    let node = Node::unmigrated();
    let (kind, message) = node
        .run(&["generate", "--json", "--operations", "1"])
        .error(2);
    assert_eq!(kind, "usage");
    assert!(message.contains("--output"), "{message}");
    for arguments in [
        &["--page-size", "0"][..],
        &["--page-size", "5001"],
        &["--serve", "4224"],
        &["--serve", "127.0.0.1:0", "--output", "x"],
        &["--seed", "x"],
    ] {
        node.run(&[&["generate"], arguments].concat()).fails(2);
    }
}
