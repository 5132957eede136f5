use std::fs;

use serde_json::json;
use sync_mdip_simulator::Change;

use crate::node::Node;
use crate::upstream::{capture, hydrate, log};

/// A capture whose first operation has an escape sequence for terminals in it that was not signed,
/// and whose second one is of no known type.
fn spoilt(node: &Node) {
    let log = log(60);
    let path = capture(node, &log);
    let mut capture = fs::read_to_string(&path).unwrap();
    let operations = log.rows().iter().filter_map(|row| match &row.change {
        Change::Accepted { event, .. } => Some(event.operation()),
        _ => None,
    });
    for (operation, n) in operations.take(2).zip(0..) {
        let spoilt = if n == 0 {
            operation.replacen('{', r#"{"\u001b[2J":0,"#, 1)
        } else {
            ["create", "update", "delete"]
                .iter()
                .fold(operation.to_owned(), |text, kind| {
                    text.replace(&format!(r#""type":"{kind}""#), r#""type":"x""#)
                })
        };
        assert!(capture.contains(operation) && spoilt != operation);
        capture = capture.replacen(operation, &spoilt, 1);
    }
    fs::write(&path, capture).unwrap();
}

#[test]
fn invalid_lists_what_spoilt_records_left_and_the_rest_is_stored() {
    let node = Node::new();
    spoilt(&node);
    let report = hydrate(&node, &["--from", "capture.ndjson", "--json"]).json();
    let expected = json!({"hash_mismatch": 1, "invalid_type": 1});
    assert_eq!(report["invalid"], expected, "{report}");
    assert!(node.holds().0 > 20);

    let listed = node.run(&["invalid", "--json"]).json();
    assert_eq!(listed["source"], "capture");
    assert_eq!(listed["reasons"], report["invalid"]);
    let records = listed["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    for record in records {
        let start = record["start"].as_str().unwrap();
        assert!(start.contains("\"signature\""), "{start}");
        assert_eq!(record["sha256"].as_str().unwrap().len(), 64);
        assert!(record["seq"].as_u64().unwrap() > 0);
        assert!(record["at"].as_u64().unwrap() > 1_700_000_000);
    }
    let status = node.run(&["status", "--json"]).json();
    assert_eq!(status["spaces"][0]["source"]["invalid"], listed["reasons"]);

    let one = node.run(&["invalid", "--json", "--limit", "1"]).json();
    assert_eq!(
        (&one["more"], one["records"].as_array().unwrap().len()),
        (&json!(true), 1)
    );
    let text = node.run(&["invalid"]).ok();
    assert!(
        text.starts_with("2 invalid records of source capture\n"),
        "{text}"
    );
    assert!(text.contains("hash_mismatch"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_space_without_a_source_has_no_invalid_records() {
    let node = Node::new();
    let listed = node.run(&["invalid", "--json"]);
    assert!(listed.err.contains("does not exist yet"));
    assert_eq!(
        listed.json(),
        json!({"space": "default", "source": null, "reasons": {}, "records": [], "more": false})
    );
    assert!(node.run(&["invalid"]).ok().contains("has no source yet"));
}
