use pollster::block_on;
use serde_json::json;
use sync_store::{Page, SyncState};

use crate::node::{Node, hex, id, key, line, op, order};

fn lines(range: std::ops::RangeInclusive<u8>) -> String {
    range.map(line).collect()
}

fn cursor(node: &Node) -> Option<String> {
    let value = block_on(node.store("default").load(&key("c"))).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn load_reads_what_dump_writes_from_a_file_and_from_standard_input() {
    let node = Node::new();
    let loaded = node.feed(&["load", "--json"], lines(1..=5)).json();
    assert_eq!(
        loaded,
        json!({"space": "default", "all": false, "skipped": 0, "rows": 5, "tombstones": 0,
               "state": 0, "inserted": 5, "ordered": 0, "unchanged": 0, "divergent": 0,
               "orderConflicts": 0, "tombstoned": 0})
    );
    assert_eq!(node.run(&["dump"]).ok(), lines(1..=5));
    let copy = Node::new();
    std::fs::write(copy.path("in.ndjson"), lines(1..=5)).unwrap();
    let text = copy.run(&["load", "in.ndjson"]).ok();
    assert_eq!(text, "loaded 5 rows into space default\n");
    assert_eq!(copy.run(&["dump"]).ok(), lines(1..=5));
    // Nothing to load is nothing to do.
    assert_eq!(copy.feed(&["load", "--json", "-"], "").json()["rows"], 0);
    let (kind, message) = copy.run(&["load", "--json", "absent.ndjson"]).error(1);
    assert_eq!(kind, "io");
    assert!(message.contains("absent.ndjson"), "{message}");
}

#[test]
fn what_the_space_holds_stays_and_is_counted() {
    let node = Node::new();
    node.apply([Page::new().upserts([op(1), op(2), op(3), op(4).at(order(7))])]);
    node.run(&["reject", &hex(5)]).ok();
    let input = [
        line(1),
        line(2).replace("\"syncOrder\":null", "\"syncOrder\":3"),
        line(3).replace("\"ts\":1003", "\"ts\":1"),
        line(4).replace("\"syncOrder\":null", "\"syncOrder\":8"),
        line(5),
        line(6),
    ];
    let before = node.run(&["dump"]).ok();
    let loaded = node.feed(&["load", "--json"], input.concat()).json();
    for (count, expected) in [
        ("rows", 6),
        ("unchanged", 1),
        ("ordered", 1),
        ("divergent", 1),
        ("orderConflicts", 1),
        ("tombstoned", 1),
        ("inserted", 1),
    ] {
        assert_eq!(loaded[count], expected, "{count}");
    }
    let after = before.replace(&line(2), &input[1]) + &line(6);
    assert_eq!(node.run(&["dump"]).ok(), after);
    let text = node.feed(&["load"], input.concat()).ok();
    assert!(
        text.contains("another record has the id here: 1\n"),
        "{text}"
    );
}

#[test]
fn a_malformed_line_names_its_number_and_its_page_is_not_written() {
    let node = Node::new();
    for (bad, expected) in [
        ("\n".to_owned(), "line 6: is empty"),
        ("{\n".to_owned(), "line 6: column 1: EOF"),
        (line(6).replace("\"ts\"", "\"tz\""), "line 6: column "),
        (line(6).replace("1006", "-1"), "line 6: column "),
        (
            line(6).replace("cGF5", "!!!!"),
            "line 6: payload is not base64",
        ),
        (
            line(6).replace("\"ts\":1006", "\"ts\":1006,\"ts\":1006"),
            "duplicate field `ts`",
        ),
        (line(6).replace(&hex(6), "06"), "line 6: invalid id"),
        (
            line(6).replace("cGF5", &"A".repeat((4 << 20) / 3 + 3)),
            "line 6: the payload has 1048",
        ),
        (
            format!("{}\n", " ".repeat((2 << 20) + 1)),
            "line 6 is longer than 2097152 bytes",
        ),
        (
            "{\"kind\":\"floor\"}\n".to_owned(),
            "line 6: a record of a complete dump",
        ),
        (
            "{\"kind\":\"header\",\"format\":\"sync-dump\",\"version\":1,\"space\":\"s\"}\n"
                .to_owned(),
            "line 6: a header that is not in the first line",
        ),
        (line(6).split_at(40).0.to_owned(), "it may have been cut"),
    ] {
        let rest = if bad.ends_with('\n') {
            line(7)
        } else {
            String::new()
        };
        let input = lines(1..=5) + &bad + &rest;
        let load = ["load", "--json", "--page-size", "4"];
        let (kind, message) = node.feed(&load, input).error(1);
        assert_eq!(kind, "input");
        assert!(message.contains(expected), "{message}");
        assert!(
            message.ends_with("lines 1 to 4 are loaded, and nothing after them"),
            "{message}"
        );
        // Line 5 was read, and is of the page that was not written.
        assert_eq!(node.run(&["dump"]).ok(), lines(1..=4));
    }
    assert!(node.feed(&["load"], "x").fails(1).contains("line 1: "));
}

#[test]
fn a_last_line_without_a_newline_is_loaded_where_it_is_whole() {
    let node = Node::new();
    node.feed(&["load"], lines(1..=2).trim_end()).ok();
    assert_eq!(node.run(&["dump"]).ok(), lines(1..=2));
}

#[test]
fn a_file_of_one_endless_line_is_refused_in_bounded_memory() {
    let node = Node::new();
    let ran = node.feed(&["load", "--json"], vec![b'['; 64 << 20]);
    assert!(ran.error(1).1.contains("line 1 is longer"));
}

#[test]
fn a_page_of_large_rows_ends_before_its_limit() {
    let node = Node::new();
    let payload = "A".repeat(1_398_100);
    let row = |n: u8| {
        format!(
            "{{\"id\":\"{}\",\"ts\":1,\"payload\":\"{payload}\"}}\n",
            hex(n)
        )
    };
    // 80 MiB of payloads in what would be one page.
    let input: String = (0..80).map(row).collect();
    assert_eq!(node.feed(&["load", "--json"], input).json()["inserted"], 80);
}

#[test]
fn the_cursor_is_the_number_of_records_whose_pages_were_written() {
    let node = Node::new();
    let load = ["load", "--json", "--page-size", "3", "--cursor-key", "c"];
    let (_, message) = node.feed(&load, lines(1..=7) + "x\n").error(1);
    assert!(message.contains("line 8"), "{message}");
    assert_eq!((cursor(&node).as_deref(), node.holds().0), (Some("6"), 6));
    // The same input, corrected: lines that are loaded are skipped, readable or not.
    let loaded = node.feed(&load, "x\n".repeat(6) + &lines(7..=10)).json();
    assert_eq!(
        (&loaded["skipped"], &loaded["rows"]),
        (&json!(6), &json!(4))
    );
    assert_eq!((cursor(&node).as_deref(), node.holds().0), (Some("10"), 10));
    assert_eq!(node.run(&["dump"]).ok(), lines(1..=10));
    let loaded = node.feed(&load, lines(1..=10)).json();
    assert_eq!(
        (&loaded["skipped"], &loaded["rows"]),
        (&json!(10), &json!(0))
    );
}

#[test]
fn an_input_shorter_than_its_cursor_is_another_one() {
    let node = Node::new();
    node.feed(&["load", "--cursor-key", "c"], lines(1..=5)).ok();
    for input in [String::new(), lines(1..=4)] {
        let ran = node.feed(&["load", "--json", "--cursor-key", "c"], input);
        let (kind, message) = ran.error(1);
        assert_eq!(kind, "refused");
        assert!(message.contains("5 lines"), "{message}");
    }
    assert_eq!(cursor(&node).as_deref(), Some("5"));
}

#[test]
fn a_cursor_that_is_not_one_is_left_alone() {
    let node = Node::new();
    for value in ["five", "-5", "", "99999999999999999999"] {
        node.apply([Page::new().set(key("c"), value)]);
        let ran = node.feed(&["load", "--json", "--cursor-key", "c"], line(1));
        assert_eq!(ran.error(1).0, "refused", "{value:?}");
        assert_eq!(cursor(&node).as_deref(), Some(value));
    }
    let ran = node.feed(&["load", "--json", "--cursor-key", "node.marks"], line(1));
    assert_eq!(ran.error(2).0, "usage");
}

#[test]
fn of_two_loads_with_one_cursor_the_slower_fails_and_writes_nothing() {
    let node = Node::new();
    let mut command = node.command(&["load", "--json", "--page-size", "1", "--cursor-key", "c"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut write = |line: &str| {
        std::io::Write::write_all(&mut stdin, line.as_bytes()).unwrap();
        std::io::Write::flush(&mut stdin).unwrap();
    };
    write(&line(1));
    // The page is there, so the load has read its cursor and waits for the next line.
    let store = node.store("default");
    block_on(async {
        use sync_store::{FeedCursor, SyncStore};
        store.changed(FeedCursor::Beginning).await.unwrap();
    });
    node.apply([Page::new().upsert(op(9)).set(key("c"), "2")]);
    write(&line(2));
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["error"]["kind"], "conflict");
    assert_eq!(node.run(&["dump"]).ok(), line(1) + &line(9));
    assert_eq!(id(9), op(9).id);
}

#[test]
fn reset_empties_the_space_with_the_first_page() {
    let node = Node::new();
    node.feed(&["load", "--cursor-key", "c"], lines(1..=5)).ok();
    let reset = ["load", "--reset", "--page-size", "1", "--cursor-key", "c"];
    assert!(node.feed(&reset, line(9)).fails(2).contains("--yes"));
    std::fs::write(node.path("bad.ndjson"), "x\n").unwrap();
    assert!(
        node.run(&[&reset[..], &["bad.ndjson"]].concat())
            .fails(2)
            .contains("--yes")
    );
    let yes = [&reset[..], &["--yes"]].concat();
    assert!(node.feed(&yes, "x\n").fails(1).contains("line 1"));
    assert_eq!(node.run(&["dump"]).ok(), lines(1..=5));
    node.feed(&yes, lines(7..=9)).ok();
    assert_eq!(node.run(&["dump"]).ok(), lines(7..=9));
    assert_eq!(cursor(&node).as_deref(), Some("3"));
    node.feed(&["load", "--reset", "--yes"], "").ok();
    assert_eq!(node.holds(), (0, 0, 0));
}
