use std::fmt::Write as _;

use serde_json::json;
use sync_store::{Delete, Object, OpId, Operation, Page, TombstoneReason};

use crate::node::{Node, hex, id, line, op, order, ts};

/// Row 1 is live, row 2 was removed by its source at 9, 3 was refused without ever being here.
fn node() -> Node {
    let node = Node::new();
    let object = Object::new("did").unwrap();
    node.apply([
        Page::new().upserts([op(1), op(2).about(object)]),
        Page::new()
            .delete(Delete::new(id(2), TombstoneReason::Removed).at(order(9)))
            .delete(Delete::new(id(3), TombstoneReason::Rejected).reject()),
    ]);
    node
}

#[test]
fn reject_removes_raises_and_refuses_for_good() {
    let node = node();
    let ids = [1, 2, 3, 4].map(hex);
    let arguments: Vec<&str> = ["reject", "--json", "--verbose"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let outcomes = |expected: [&str; 4]| {
        let results: Vec<_> = ids
            .iter()
            .zip(expected)
            .map(|(id, outcome)| json!({"id": id, "outcome": outcome}))
            .collect();
        let count = |name: &str| expected.iter().filter(|outcome| **outcome == name).count();
        json!({
            "space": "default",
            "operations": 4,
            "deleted": count("deleted"),
            "raised": count("raised"),
            "rejected": count("rejected"),
            "already": count("already"),
            "results": results,
        })
    };
    let first = node.run(&arguments).json();
    assert_eq!(first, outcomes(["deleted", "raised", "raised", "rejected"]));
    assert_eq!(node.holds(), (0, 6, 0));
    let again = node.run(&arguments).json();
    assert_eq!(
        again,
        outcomes(["already", "already", "already", "already"])
    );
    assert_eq!(node.holds(), (0, 6, 0));
    // Neither a peer nor a source brings them back.
    let revive = Page::new()
        .upserts([1, 2, 3, 4].map(|n| op(n).at(order(50))))
        .reviving()
        .replacing();
    node.apply([revive]);
    assert_eq!(node.holds(), (0, 6, 0));
}

#[test]
fn a_raised_tombstone_keeps_what_the_one_before_it_recorded() {
    let node = node();
    node.run(&["reject", &hex(2)]).ok();
    let listed = node
        .run(&["tombstones", "--json", "--reason", "operator"])
        .json();
    assert_eq!(
        listed["tombstones"][0],
        json!({"id": hex(2), "ts": 1002, "object": "did", "reason": "operator", "sourceSeq": 9,
               "seq": 5, "lifted": false, "inEffect": true})
    );
}

#[test]
fn reject_takes_an_id_given_twice_as_once_and_creates_the_space() {
    let node = Node::new();
    let text = node
        .run(&["reject", &hex(1), &hex(1).to_uppercase(), "--space", "new"])
        .ok();
    assert_eq!(text, "space new refuses 1 operation: 1 not here before\n");
}

#[test]
fn tombstones_lists_filters_and_says_which_are_in_effect() {
    let node = node();
    // 2 comes back above its source seq; 3 is lifted.
    node.apply([Page::new().upsert(op(2).at(order(10))).reviving()]);
    node.run(&["revive", &hex(3)]).ok();
    node.run(&["reject", &hex(1)]).ok();
    let listed = node.run(&["tombstones", "--json"]).json();
    assert_eq!(
        listed,
        json!({"space": "default", "more": false, "tombstones": [
            {"id": hex(2), "ts": 1002, "object": "did", "reason": "removed", "sourceSeq": 9,
             "seq": 3, "lifted": false, "inEffect": false},
            {"id": hex(3), "ts": null, "reason": "rejected", "sourceSeq": null,
             "seq": 4, "lifted": true, "inEffect": false},
            {"id": hex(1), "ts": 1001, "reason": "operator", "sourceSeq": null,
             "seq": 6, "lifted": false, "inEffect": true},
        ]})
    );
    let text = node.run(&["tombstones"]).ok();
    assert!(
        text.contains("(superseded)") && text.contains("(lifted)"),
        "{text}"
    );
    for (reason, n) in [("removed", 2), ("rejected", 3), ("operator", 1)] {
        let listed = node
            .run(&["tombstones", "--json", "--reason", reason])
            .json();
        assert_eq!(listed["tombstones"].as_array().unwrap().len(), 1);
        assert_eq!(listed["tombstones"][0]["id"], hex(n));
    }
    let listed = node.run(&["tombstones", "--json", "--limit", "2"]).json();
    assert_eq!(listed["tombstones"].as_array().unwrap().len(), 2);
    assert_eq!(listed["more"], true);
    let listed = node.run(&["tombstones", "--json", "--limit", "3"]).json();
    assert_eq!(listed["more"], false);
}

#[test]
fn an_object_that_is_not_text_is_listed_in_base64() {
    let node = Node::new();
    let delete = Delete {
        ts: Some(ts(5)),
        ..Delete::new(id(1), TombstoneReason::Rejected)
            .of(Object::new(vec![0xff, 0xfe]).unwrap())
            .reject()
    };
    node.apply([Page::new().delete(delete)]);
    let listed = node.run(&["tombstones", "--json"]).json();
    assert_eq!(listed["tombstones"][0]["objectBase64"], "//4=");
    assert_eq!(listed["tombstones"][0]["ts"], 5);
}

#[test]
fn revive_takes_the_veto_back_and_leaves_the_operation_to_others() {
    let node = node();
    node.run(&["reject", &hex(1)]).ok();
    let revive = ["revive", "--json", "--verbose", &hex(1), &hex(4)];
    let revived = node.run(&revive).json();
    assert_eq!(
        revived,
        json!({"space": "default", "operations": 2, "lifted": 1, "inserted": 0, "results": [
            {"id": hex(1), "lifted": true, "inserted": false},
            {"id": hex(4), "lifted": false, "inserted": false},
        ]})
    );
    assert_eq!(node.run(&["dump"]).ok(), "");
    let loaded = node.feed(&["load", "--json"], line(1)).json();
    assert_eq!(loaded["inserted"], 1);
    let text = node.run(&["revive", "--verbose", &hex(1)]).ok();
    let id = hex(1);
    assert_eq!(
        text,
        format!(
            "{id} had no tombstone in effect\n\
             space default: of 1 operation, 0 tombstones lifted and 0 rows inserted\n"
        )
    );
}

#[test]
fn revive_inserts_at_once_from_a_dump() {
    let node = node();
    let backup = node.everything();
    std::fs::write(node.path("backup.ndjson"), backup).unwrap();
    node.run(&["reject", &hex(1)]).ok();
    let revive = ["revive", "--json", "--verbose", "--from", "backup.ndjson"];
    let (kind, message) = node.run(&[&revive[..], &[&hex(2)]].concat()).error(1);
    assert_eq!(kind, "input");
    assert!(message.contains(&hex(2)), "{message}");
    let revived = node.run(&[&revive[..], &[&hex(1)]].concat()).json();
    assert_eq!(
        revived["results"],
        json!([{"id": hex(1), "lifted": true, "inserted": true}])
    );
    assert_eq!(node.run(&["dump"]).ok(), line(1));
    let bad = node.feed(&["revive", "--json", "--from", "-", &hex(1)], "{}\n");
    assert!(bad.error(1).1.starts_with("line 1: "));
}

/// More operations than one page decides about.
const MANY: u64 = 2_500;

fn many() -> impl Iterator<Item = Operation> {
    (1..=MANY).map(|n| {
        let mut id = [0; 32];
        id[24..].copy_from_slice(&n.to_be_bytes());
        Operation::new(OpId::new(id), ts(n), "payload")
    })
}

#[test]
fn many_operations_are_rejected_and_revived_from_a_file_or_standard_input_in_one_line() {
    let node = Node::new();
    node.apply([Page::new().upserts(many().take(2_000))]);
    let mut ids = String::from("# two comments, blank lines, white space and a repetition\n\n");
    for operation in many() {
        let _ = write!(ids, "  {}\r\n", operation.id);
    }
    let _ = write!(ids, "#\n{}", OpId::new([0; 32]));
    std::fs::write(node.path("ids"), &ids).unwrap();
    let text = node.run(&["reject", "--ids", "ids"]).ok();
    assert_eq!(
        text,
        "space default refuses 2501 operations: 2000 deleted, 501 not here before\n"
    );
    let again = node.feed(&["reject", "--ids", "-", "--json"], &ids).json();
    assert_eq!(
        again,
        json!({"space": "default", "operations": 2_501, "deleted": 0, "raised": 0, "rejected": 0,
               "already": 2_501})
    );
    assert_eq!(node.holds(), (0, 2_501, 0));

    let mut dump = String::new();
    for (operation, ts) in many().flat_map(|operation| [(operation.clone(), 1), (operation, 2)]) {
        let id = operation.id;
        let _ = writeln!(dump, r#"{{"id":"{id}","ts":{ts},"payload":""}}"#);
    }
    std::fs::write(node.path("dump"), &dump).unwrap();
    let revive = ["revive", "--json", "--ids", "ids", "--from", "dump"];
    let (kind, message) = node.run(&revive).error(1);
    assert_eq!(kind, "input");
    let zeros = OpId::new([0; 32]);
    assert!(
        message.starts_with(&format!("the dump lacks 1 operation: line 2504: {zeros}")),
        "{message}"
    );
    assert_eq!(node.holds(), (0, 2_501, 0));
    std::fs::write(node.path("ids"), ids.replace(&zeros.to_string(), "")).unwrap();
    assert_eq!(
        node.run(&revive).json(),
        json!({"space": "default", "operations": MANY, "lifted": MANY, "inserted": MANY})
    );
    // Of two rows of one id in the dump the later is inserted.
    let first = node.run(&["dump"]).ok();
    assert!(first.lines().all(|line| line.contains("\"ts\":2,")));
    assert_eq!(node.holds(), (MANY, 2_501, 0));
}

#[test]
fn every_line_that_is_no_id_is_named_and_nothing_is_changed() {
    let node = node();
    let ids = format!("{}\nx\n{}\n{}0\n", hex(1), hex(2), hex(3));
    for command in ["reject", "revive"] {
        let (kind, message) = node.feed(&[command, "--json", "--ids", "-"], &ids).error(1);
        assert_eq!(kind, "input");
        assert!(
            message.starts_with("2 lines cannot be read: line 2: "),
            "{message}"
        );
        assert!(message.contains("; line 4: "), "{message}");
        assert!(message.ends_with("; nothing was changed"), "{message}");
        let text = node.feed(&[command, "--ids", "-"], "x").fails(1);
        assert!(text.contains("1 line cannot be read: line 1: "), "{text}");
    }
    assert_eq!(node.holds(), (1, 2, 0));
    let many = node
        .feed(&["reject", "--ids", "-"], "x\n".repeat(250))
        .fails(1);
    assert!(
        many.contains("line 100: ") && !many.contains("line 101: "),
        "{many}"
    );
    assert!(many.contains("; and 150 more"), "{many}");
    assert_eq!(node.run(&["reject", "--json"]).error(2).0, "usage");
    let both = ["revive", "--json", "--ids", "-", "--from", "-"];
    assert_eq!(node.feed(&both, "").error(2).0, "usage");
    let (kind, message) = node.run(&["reject", "--json", "--ids", "absent"]).error(1);
    assert_eq!(kind, "io");
    assert!(message.contains("absent"), "{message}");
}
