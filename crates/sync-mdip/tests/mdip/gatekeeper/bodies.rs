//! Answers that are not what the protocol says.

use std::io::Write as _;

use sync_core::SyncOrder;
use sync_hydrate::{Change, SnapshotCursor, Source as _, SourceErrorKind};

use super::server::{Server, respond};
use super::{changes, source};
use crate::source::{Changes, Snapshot, row, signed};

const DID: &str = "did:test:z3v8AuaObject";

fn good() -> Changes {
    let operation = |seq| row(seq, DID, &signed(DID, &format!(r#""text":"number {seq}""#)));
    Changes {
        operations: (1..=3).map(operation).collect(),
        ..Changes::to(3)
    }
}

#[test]
fn an_answer_that_is_not_of_the_protocol_is_an_error_and_is_not_asked_for_again() {
    let text = good().text();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let snapshot = Snapshot {
        cursor: Some("a"),
        checkpoint: 3,
        more: false,
        dids: Vec::new(),
    };
    for (what, answer) in [
        ("another mode", snapshot.text()),
        ("no mode", replaced("\"mode\"", "\"mood\"")),
        ("no epoch", replaced("\"indexEpoch\"", "\"index\"")),
        ("an empty epoch", replaced("\"an epoch\"", "\"\"")),
        ("an epoch that is no string", replaced("\"an epoch\"", "7")),
        (
            "no checkpoint",
            replaced("\"checkpointCursor\"", "\"checkpoint\""),
        ),
        (
            "no checkpoint yet",
            replaced(r#""checkpointCursor":"3""#, r#""checkpointCursor":null"#),
        ),
        (
            "a checkpoint that is a number",
            replaced(r#"checkpointCursor":"3""#, r#"checkpointCursor":3"#),
        ),
        (
            "a cursor that is no position",
            replaced(r#""cursor":"3""#, r#""cursor":"z3v8""#),
        ),
        (
            "a cursor above all positions",
            replaced(r#""cursor":"3""#, r#""cursor":"9007199254740992""#),
        ),
        (
            "a cursor that is a number",
            replaced(r#""cursor":"3""#, r#""cursor":3"#),
        ),
        ("no operations", replaced("\"operations\"", "\"others\"")),
        (
            "operations that are no array",
            replaced("\"operations\":[", "\"operations\":{},\"x\":["),
        ),
        (
            "removals that are no array",
            replaced("\"blocks\":[]", "\"removedOperations\":{}"),
        ),
        ("no word of more", replaced("\"hasMore\"", "\"has\"")),
        ("no JSON", "<html>".to_owned()),
        ("no object", "[1]".to_owned()),
        ("more than one object", format!("{text}{text}")),
        ("two commas", replaced("\"blocks\":[],", "\"blocks\":[],,")),
    ] {
        let server = Server::answering(answer);
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Protocol, "{what}: {error}");
        assert!(!error.to_string().is_empty() && !error.is_retryable());
        assert_eq!(server.requests().len(), 1, "{what}");
    }
    let server = Server::answering(text);
    assert_eq!(changes(&source(&server), 500).unwrap().changes.len(), 3);
}

#[test]
fn a_snapshot_that_cannot_go_on_is_an_error() {
    let page = |cursor, checkpoint, more| {
        let page = Snapshot {
            cursor,
            checkpoint,
            more,
            dids: Vec::new(),
        };
        page.text()
    };
    let after = SnapshotCursor {
        cursor: "a".to_owned(),
        checkpoint: SyncOrder::new(9).unwrap(),
    };
    for (what, answer) in [
        ("more, and no cursor", page(None, 9, true)),
        (
            "no DIDs",
            page(Some("b"), 9, true).replace("\"dids\"", "\"others\""),
        ),
        ("changes", good().text()),
    ] {
        let server = Server::answering(answer);
        let error = pollster::block_on(source(&server).snapshot(Some(&after), 500)).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Protocol, "{what}: {error}");
    }
    let server = Server::answering(page(Some("b"), 9, false));
    let page = pollster::block_on(source(&server).snapshot(Some(&after), 500)).unwrap();
    assert_eq!(page.next, None);
}

#[test]
fn bytes_that_are_not_utf_8_do_not_end_a_page() {
    let bytes = good().text().into_bytes();
    let text = String::from_utf8_lossy(&bytes);
    let at = text.find("number 2").unwrap();
    for cut in ["\u{e9}".as_bytes(), b"\xff", b"\xed\xa0\x80", b"\xf0\x9f"] {
        // A lone byte of a character, or all of it, in place of a letter.
        let mut wrong = bytes.clone();
        wrong.splice(at..=at, cut.iter().copied());
        let server = Server::answering(wrong);
        let page = changes(&source(&server), 500).unwrap();
        let reasons = page.changes.iter().map(|change| match change {
            Change::Invalid(record) => record.reason.as_ref(),
            _ => "",
        });
        let is_utf8 = std::str::from_utf8(cut).is_ok();
        let reason = if is_utf8 {
            "hash_mismatch"
        } else {
            "json_not_utf8"
        };
        assert_eq!(reasons.collect::<Vec<_>>(), ["", reason, ""]);
    }
}

#[test]
fn an_answer_that_ends_too_soon_is_asked_for_again() {
    let text = good().text();
    let cut = text.len() / 2;
    let short = text.as_bytes()[..cut].to_vec();
    let whole = text.into_bytes();
    let long_head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
    let chunked = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cut:x}\r\n");
    let beginnings: [&[u8]; 5] = [
        b"",
        b"HTTP/1.1 200",
        long_head.as_bytes(),
        chunked.as_bytes(),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ];
    for (number, beginning) in beginnings.into_iter().enumerate() {
        let mut cut_off = beginning.to_vec();
        if number > 1 {
            cut_off.extend_from_slice(&short);
        }
        let answer = cut_off.clone();
        let good = whole.clone();
        let server = Server::start(move |number, _, connection| {
            if number < 2 {
                let _ = connection.write_all(&answer);
            } else {
                respond(connection, "200 OK", "", &good);
            }
        });
        let page = changes(&source(&server), 500);
        let what = String::from_utf8_lossy(beginning);
        assert_eq!(page.unwrap().changes.len(), 3, "{what}");
        assert_eq!(server.requests().len(), 3, "{what}");

        let server = Server::start(move |_, _, connection| {
            let _ = connection.write_all(&cut_off);
        });
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(
            error.kind(),
            SourceErrorKind::Unavailable,
            "{what}: {error}"
        );
        assert_eq!(server.requests().len(), 3, "{what}");
    }
}
