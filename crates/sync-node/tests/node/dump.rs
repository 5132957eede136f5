use std::io::Read;
use std::process::Stdio;

use serde_json::json;
use sync_store::{Delete, Object, Page, TombstoneReason};

use crate::node::{Node, hex, id, key, line, op, order};

/// By time 1, 2, 3; by sync order 3, 1; by seq 2, 3, 1.
fn node() -> Node {
    let node = Node::new();
    node.apply([Page::new().upserts([op(2), op(3).at(order(4)), op(1).at(order(8))])]);
    node
}

fn ids(dump: &str) -> Vec<String> {
    let id = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["id"].as_str().unwrap().to_owned()
    };
    dump.lines().map(id).collect()
}

#[test]
fn rows_come_by_time_by_sync_order_or_by_seq() {
    let node = node();
    assert_eq!(ids(&node.run(&["dump"]).ok()), [1, 2, 3].map(hex));
    assert_eq!(
        ids(&node.run(&["dump", "--order", "time"]).ok()),
        [1, 2, 3].map(hex)
    );
    assert_eq!(
        ids(&node.run(&["dump", "--order", "sync"]).ok()),
        [3, 1].map(hex)
    );
    assert_eq!(
        ids(&node.run(&["dump", "--order", "seq"]).ok()),
        [2, 3, 1].map(hex)
    );
    assert_eq!(ids(&node.run(&["dump", "--keys"]).ok()), [1, 2, 3].map(hex));
}

#[test]
fn a_row_is_one_line_with_the_members_of_the_format() {
    let node = Node::new();
    let object = Object::new("did:x").unwrap();
    node.apply([Page::new().upserts([op(1), op(2).at(order(7)).about(object)])]);
    let (one, two) = (hex(1), hex(2));
    let expected = format!(
        r#"{{"id":"{one}","ts":1001,"object":null,"syncOrder":null,"payload":"cGF5bG9hZCAx"}}
{{"id":"{two}","ts":1002,"object":"did:x","syncOrder":7,"payload":"cGF5bG9hZCAy"}}
"#
    );
    assert_eq!(node.run(&["dump"]).ok(), expected);
    let expected = format!(
        r#"{{"id":"{one}","syncOrder":null,"ts":1001}}
{{"id":"{two}","syncOrder":7,"ts":1002}}
"#
    );
    assert_eq!(node.run(&["dump", "--keys"]).ok(), expected);
}

#[test]
fn walks_longer_than_a_page_lose_nothing() {
    let node = Node::new();
    let line =
        |n: u32| format!("{{\"id\":\"{n:064x}\",\"ts\":1,\"syncOrder\":{n},\"payload\":\"\"}}\n");
    node.feed(&["load"], (0..12_345).map(line).collect::<String>())
        .ok();
    for arguments in [
        &["dump"][..],
        &["dump", "--keys"],
        &["dump", "--order", "sync"],
        &["dump", "--order", "seq"],
    ] {
        let ids = ids(&node.run(arguments).ok());
        assert_eq!(ids.len(), 12_345, "{arguments:?}");
        assert!(ids.is_sorted());
    }
}

#[test]
fn json_payloads_are_embedded_as_they_are_and_all_others_stay_base64() {
    let node = Node::new();
    let payloads = [r#"{"b":1e2,"b":[ ]}"#, "not json", "[\n]", "null"];
    let operation = |(n, payload): (u8, &&str)| {
        let mut operation = op(n);
        operation.payload = payload.as_bytes().to_vec().into();
        operation
    };
    node.apply([Page::new().upserts((0..).zip(&payloads).map(operation))]);
    let dump = node.run(&["dump", "--json-payload"]).ok();
    let ends = [
        r#""payloadJson":{"b":1e2,"b":[ ]}}"#,
        r#""payload":"bm90IGpzb24="}"#,
        r#""payload":"Wwpd"}"#,
        r#""payloadJson":null}"#,
    ];
    for (line, end) in dump.lines().zip(ends) {
        assert!(line.ends_with(end), "{line}");
    }
    let copy = Node::new();
    copy.feed(&["load"], &dump).ok();
    assert_eq!(copy.run(&["dump"]).ok(), node.run(&["dump"]).ok());
}

#[test]
fn a_complete_dump_has_a_header_entries_floor_state_and_an_end() {
    let node = node();
    node.apply([
        Page::new().delete(Delete::new(id(3), TombstoneReason::Removed).at(order(9))),
        Page::new()
            .upsert(op(4))
            .set(key("cursor"), "9")
            .set(key("raw"), vec![0xff]),
        Page::new().set(key("node.marks"), "[]"),
    ]);
    node.run(&["prune", "--up-to", "3", "--yes"]).ok();
    let expected = [
        r#"{"kind":"header","format":"sync-dump","version":1,"space":"default"}"#.to_owned() + "\n",
        line(2),
        line(1).replace("\"syncOrder\":null", "\"syncOrder\":8"),
        "{\"kind\":\"floor\"}\n".to_owned(),
        format!(
            "{{\"kind\":\"tombstone\",\"id\":\"{}\",\"ts\":1003,\"object\":null,\
             \"reason\":\"removed\",\"sourceSeq\":9,\"lifted\":false}}\n",
            hex(3)
        ),
        line(4),
        "{\"kind\":\"state\",\"key\":\"cursor\",\"value\":\"9\"}\n".to_owned(),
        "{\"kind\":\"state\",\"key\":\"raw\",\"valueBase64\":\"/w==\"}\n".to_owned(),
        "{\"kind\":\"end\",\"rows\":3,\"tombstones\":1,\"state\":2}\n".to_owned(),
    ];
    assert_eq!(node.everything(), expected.concat());
}

#[test]
fn a_file_appears_when_it_is_complete_and_holds_what_standard_output_would() {
    let node = node();
    let text = node.run(&["dump", "--output", "out.ndjson"]).ok();
    assert_eq!(text, "wrote 3 rows of space default to out.ndjson\n");
    let dump = node.run(&["dump"]).ok();
    assert_eq!(
        std::fs::read_to_string(node.path("out.ndjson")).unwrap(),
        dump
    );
    let document = node
        .run(&["dump", "--json", "--all", "--output", "out.ndjson"])
        .json();
    let dump = node.everything();
    assert_eq!(
        document,
        json!({"space": "default", "file": "out.ndjson", "bytes": dump.len(), "rows": 3,
               "tombstones": 0, "state": 0})
    );
    assert_eq!(
        std::fs::read_to_string(node.path("out.ndjson")).unwrap(),
        dump
    );
}

#[cfg(unix)]
#[test]
fn a_dump_takes_the_place_of_files_alone() {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixListener;
    let node = node();
    let socket = UnixListener::bind(node.path("socket")).unwrap();
    for path in ["socket", "."] {
        let (kind, message) = node.run(&["dump", "--json", "--output", path]).error(2);
        assert_eq!(kind, "usage");
        assert!(message.contains("not a file"), "{message}");
    }
    let kind = std::fs::symlink_metadata(node.path("socket")).unwrap();
    assert!(kind.file_type().is_socket());
    drop(socket);
}

#[cfg(unix)]
#[test]
fn a_dump_into_a_symbolic_link_fills_the_file_behind_it() {
    let node = node();
    std::fs::create_dir(node.path("elsewhere")).unwrap();
    std::fs::write(node.path("elsewhere/out.ndjson"), "before").unwrap();
    std::os::unix::fs::symlink("elsewhere/out.ndjson", node.path("link")).unwrap();
    node.run(&["dump", "--output", "link"]).ok();
    assert!(node.path("link").is_symlink());
    let dump = node.run(&["dump"]).ok();
    let file = node.path("elsewhere/out.ndjson");
    assert_eq!(std::fs::read_to_string(file).unwrap(), dump);
}

#[test]
fn a_dump_that_fails_leaves_the_file_before_it_and_nothing_else() {
    let node = node();
    std::fs::write(node.path("out.ndjson"), "before").unwrap();
    let database = rusqlite::Connection::open(node.path("sync.db")).unwrap();
    database
        .execute_batch("ALTER TABLE operation RENAME TO gone")
        .unwrap();
    let (_, message) = node
        .run(&["dump", "--json", "--output", "out.ndjson"])
        .error(1);
    assert!(message.contains("scan_time"), "{message}");
    assert_eq!(std::fs::read(node.path("out.ndjson")).unwrap(), b"before");
    let left = std::fs::read_dir(node.directory()).unwrap();
    let names: Vec<_> = left
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains("dump")), "{names:?}");
}

#[test]
fn a_dump_into_a_directory_that_is_not_there_fails_before_it_reads() {
    let node = node();
    let (kind, message) = node
        .run(&["dump", "--json", "--output", "no/out.ndjson"])
        .error(1);
    assert_eq!(kind, "io");
    assert!(message.contains("no"), "{message}");
}

#[cfg(unix)]
#[test]
fn the_umask_decides_who_may_read_a_dump() {
    use std::os::unix::fs::PermissionsExt;
    let node = node();
    node.run(&["dump", "--output", "out.ndjson"]).ok();
    std::fs::write(node.path("other"), "").unwrap();
    let mode = |name: &str| {
        std::fs::metadata(node.path(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("out.ndjson"), mode("other"));
}

#[test]
fn with_json_a_dump_needs_a_file() {
    let (kind, message) = node().run(&["dump", "--json"]).error(2);
    assert_eq!(kind, "usage");
    assert!(message.contains("--output"), "{message}");
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_dump_without_a_word() {
    let node = Node::new();
    let rows = (0..=255).map(|n| {
        let mut operation = op(n);
        operation.payload = vec![n; 10_000].into();
        operation
    });
    node.apply([Page::new().upserts(rows)]);
    let mut child = node
        .command(&["dump"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
