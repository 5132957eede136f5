use std::time::{SystemTime, UNIX_EPOCH};

use pollster::block_on;
use serde_json::json;
use sync_store::{Delete, Page, SyncState, TombstoneReason};

use crate::node::{Node, hex, id, key, op};

const DAY: u64 = 86_400;

/// Rows 1 to 4, the first three of them removed: tombstones at 5, 6 and 7.
fn node() -> Node {
    let node = Node::new();
    let removed = [1, 2, 3].map(|n| Delete::new(id(n), TombstoneReason::Removed));
    let mut deletes = Page::new();
    deletes.deletes.extend(removed);
    node.apply([Page::new().upserts([1, 2, 3, 4].map(op)), deletes]);
    node
}

fn days_ago(days: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() - days * DAY
}

fn note(node: &Node, notes: &[(u64, u64)]) {
    let json = serde_json::to_vec(notes).unwrap();
    node.apply([Page::new().set(key("node.marks"), json)]);
}

fn notes(node: &Node) -> Vec<(u64, u64)> {
    let value = block_on(node.store("default").load(&key("node.marks"))).unwrap();
    serde_json::from_slice(&value.unwrap()).unwrap()
}

#[test]
fn prune_needs_yes_without_a_terminal() {
    let node = node();
    for arguments in [
        &["prune"][..],
        &["prune", "--up-to", "7"],
        &["prune", "--keep", "0s"],
    ] {
        assert!(node.run(arguments).fails(2).contains("--yes"));
    }
    assert_eq!(node.holds(), (1, 3, 0));
}

#[test]
fn prune_up_to_a_seq_drops_the_tombstones_at_and_below_it() {
    let node = node();
    let pruned = node
        .run(&["prune", "--yes", "--json", "--up-to", "6"])
        .json();
    assert_eq!(
        pruned,
        json!({"space": "default", "upTo": 6, "floor": 6, "dropped": 2, "tombstones": 1})
    );
    // Above the head the floor ends at the head.
    let pruned = node
        .run(&["prune", "--yes", "--json", "--up-to", "900"])
        .json();
    assert_eq!(pruned["floor"], 7);
    assert_eq!(node.holds(), (1, 0, 0));
}

#[test]
fn prune_keeps_what_an_operator_rejected_until_it_is_revived() {
    let node = node();
    node.run(&["reject", &hex(4), &hex(9)]).ok();
    let prune = || {
        node.run(&["prune", "--yes", "--json", "--up-to", "900"])
            .json()
    };
    let pruned = prune();
    assert_eq!(
        (&pruned["dropped"], &pruned["tombstones"]),
        (&json!(3), &json!(2))
    );
    node.run(&["verify"]).ok();
    let copy = Node::new();
    copy.feed(&["load"], node.everything()).ok();
    assert_eq!(copy.everything(), node.everything());
    for node in [&node, &copy] {
        node.apply([Page::new().upserts([4, 9].map(op)).reviving().replacing()]);
        assert_eq!(node.holds(), (0, 2, 0));
    }
    node.run(&["revive", &hex(4)]).ok();
    assert_eq!(prune()["dropped"], 1);
    node.apply([Page::new().upsert(op(4))]);
    assert_eq!(node.holds(), (1, 1, 0));
}

#[test]
fn the_first_prune_by_age_drops_nothing_and_notes_the_time_and_the_head() {
    let node = node();
    let before = days_ago(0);
    let pruned = node.run(&["prune", "--yes", "--json"]).json();
    assert_eq!(
        pruned,
        json!({"space": "default", "upTo": null, "floor": 0, "dropped": 0, "tombstones": 3})
    );
    let noted = notes(&node);
    assert_eq!(noted.len(), 1);
    assert!(
        (before..=days_ago(0)).contains(&noted[0].0) && noted[0].1 == 7,
        "{noted:?}"
    );
    let text = node.run(&["prune", "--yes"]).ok();
    assert!(
        text.contains("nothing is known to be older than 90d"),
        "{text}"
    );
}

#[test]
fn prune_keeps_90_days_unless_told() {
    let node = node();
    note(
        &node,
        &[(days_ago(100), 5), (days_ago(91), 6), (days_ago(89), 7)],
    );
    let pruned = node.run(&["prune", "--yes", "--json"]).json();
    assert_eq!(
        (&pruned["upTo"], &pruned["dropped"]),
        (&json!(6), &json!(2))
    );
    let pruned = node
        .run(&["prune", "--yes", "--json", "--keep", "88d"])
        .json();
    assert_eq!(
        (&pruned["upTo"], &pruned["dropped"]),
        (&json!(7), &json!(1))
    );
}

#[test]
fn keeping_nothing_prunes_up_to_the_head() {
    let node = node();
    let pruned = node
        .run(&["prune", "--yes", "--json", "--keep", "0s"])
        .json();
    assert_eq!(
        (&pruned["upTo"], &pruned["dropped"]),
        (&json!(7), &json!(3))
    );
}

#[test]
fn notes_that_are_not_understood_are_left_alone() {
    let node = node();
    node.apply([Page::new().set(key("node.marks"), "yesterday")]);
    let (kind, message) = node.run(&["prune", "--yes", "--json"]).error(1);
    assert_eq!(kind, "refused");
    assert!(message.contains("node.marks"), "{message}");
    assert_eq!(node.holds(), (1, 3, 1));
}

#[test]
fn pruning_a_space_that_does_not_exist_creates_none() {
    let node = Node::new();
    let pruned = node
        .run(&["prune", "--yes", "--json", "--keep", "0s"])
        .json();
    assert_eq!(pruned["dropped"], 0);
    node.run(&["prune", "--yes", "--up-to", "5"]).ok();
    assert_eq!(node.run(&["status", "--json"]).json()["spaces"], json!([]));
}
