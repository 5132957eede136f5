use serde_json::json;
use sync_store::{Delete, Object, Page, TombstoneReason};

use crate::node::{Node, hex, id, line, op, order, ts};

/// Row 1 stands, row 2 was removed by its source at 9, 3 was refused without ever being here.
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
    let arguments: Vec<&str> = ["reject", "--json"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let outcomes = |expected: [&str; 4]| {
        let results: Vec<_> = ids
            .iter()
            .zip(expected)
            .map(|(id, outcome)| json!({"id": id, "outcome": outcome}))
            .collect();
        json!({"space": "default", "results": results})
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
               "seq": 5, "lifted": false, "stands": true})
    );
}

#[test]
fn reject_takes_an_id_given_twice_as_once_and_creates_the_space() {
    let node = Node::new();
    let text = node
        .run(&["reject", &hex(1), &hex(1).to_uppercase(), "--space", "new"])
        .ok();
    assert_eq!(
        text,
        format!("{} was not here; refused from now on\n", hex(1))
    );
}

#[test]
fn tombstones_lists_filters_and_says_which_stand() {
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
             "seq": 3, "lifted": false, "stands": false},
            {"id": hex(3), "ts": null, "reason": "rejected", "sourceSeq": null,
             "seq": 4, "lifted": true, "stands": false},
            {"id": hex(1), "ts": 1001, "reason": "operator", "sourceSeq": null,
             "seq": 6, "lifted": false, "stands": true},
        ]})
    );
    let text = node.run(&["tombstones"]).ok();
    assert!(
        text.contains("(passed)") && text.contains("(lifted)"),
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
    let revived = node.run(&["revive", "--json", &hex(1), &hex(4)]).json();
    assert_eq!(
        revived,
        json!({"space": "default", "results": [
            {"id": hex(1), "lifted": true, "inserted": false},
            {"id": hex(4), "lifted": false, "inserted": false},
        ]})
    );
    assert_eq!(node.run(&["dump"]).ok(), "");
    let loaded = node.feed(&["load", "--json"], line(1)).json();
    assert_eq!(loaded["inserted"], 1);
    let text = node.run(&["revive", &hex(1)]).ok();
    assert!(text.contains("has no tombstone that stands"), "{text}");
}

#[test]
fn revive_inserts_at_once_from_a_dump() {
    let node = node();
    let backup = node.everything();
    std::fs::write(node.path("backup.ndjson"), backup).unwrap();
    node.run(&["reject", &hex(1)]).ok();
    let revive = ["revive", "--json", "--from", "backup.ndjson"];
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
