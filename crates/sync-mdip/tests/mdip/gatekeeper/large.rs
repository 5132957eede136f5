//! Answers longer than what is read.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use sync_core::SyncOrder;
use sync_hydrate::{Change, InvalidRecord, SnapshotCursor, Source as _, SourceErrorKind};
use sync_mdip::GatekeeperSource;

use super::server::{Server, respond};
use super::{changes, config};
use crate::source::{Changes, Snapshot, history, row, signed};

const DID: &str = "did:test:z3v8AuaObject";

/// A log of `length` operations with as many bytes each as `size` says, which serves any page.
fn serve(length: u64, size: fn(u64) -> usize) -> Server {
    Server::start(move |_, request, connection| {
        let body = serde_json::from_str::<serde_json::Value>(&request.body).unwrap();
        let after = body["cursor"]
            .as_str()
            .map_or(0, |cursor| cursor.parse().unwrap());
        let end = length.min(after + request.limit());
        let operation = |seq: u64| {
            let text = "x".repeat(size(seq));
            row(
                seq,
                DID,
                &signed(DID, &format!(r#""number":{seq},"text":"{text}""#)),
            )
        };
        let page = Changes {
            operations: (after + 1..=end).map(operation).collect(),
            checkpoint: length,
            more: end < length,
            ..Changes::to(end)
        };
        respond(connection, "200 OK", "", page.text().as_bytes());
    })
}

fn bounded(server: &Server, body_bytes: u64) -> GatekeeperSource {
    let mut config = config(server);
    config.body_bytes = body_bytes;
    GatekeeperSource::new(config).unwrap()
}

/// All rows of the log, each by its position and, where it is invalid, the reason.
fn walk(source: &GatekeeperSource, limit: u32) -> Vec<(Option<u64>, Option<String>)> {
    let mut rows = Vec::new();
    let mut after = SyncOrder::ZERO;
    loop {
        let page = pollster::block_on(source.changes(after, limit)).unwrap();
        rows.extend(page.changes.iter().map(|change| {
            let reason = match change {
                Change::Invalid(record) => Some(record.reason.to_string()),
                _ => None,
            };
            (change.seq().map(SyncOrder::value), reason)
        }));
        if !page.more {
            return rows;
        }
        assert!(page.next > after, "a page that does not move on");
        after = page.next;
    }
}

#[test]
fn a_page_that_is_too_long_is_asked_for_with_half_the_limit() {
    let server = serve(100, |_| 1000);
    let rows = walk(&bounded(&server, 10_000), 64);
    let expected = (1..=100).map(|seq| (Some(seq), None)).collect::<Vec<_>>();
    assert_eq!(rows, expected);
    let limits = server
        .requests()
        .iter()
        .map(super::server::Request::limit)
        .collect::<Vec<_>>();
    assert_eq!(limits[..4], [64, 32, 16, 8]);
    assert!(
        limits[4..].iter().all(|limit| [4, 8, 16].contains(limit)),
        "{limits:?}"
    );
}

#[test]
fn a_limit_that_was_halved_grows_back() {
    let server = serve(400, |seq| if seq < 20 { 5000 } else { 0 });
    let rows = walk(&bounded(&server, 40_000), 100);
    assert_eq!(rows.len(), 400);
    let limits = server
        .requests()
        .iter()
        .map(super::server::Request::limit)
        .collect::<Vec<_>>();
    assert_eq!(limits[0], 100);
    assert!(limits.iter().any(|limit| *limit < 8), "{limits:?}");
    assert_eq!(limits.last(), Some(&100), "{limits:?}");
}

#[test]
fn a_record_that_is_too_long_alone_is_invalid_and_the_others_are_not() {
    for limit in [1, 2, 7, 500] {
        let server = serve(30, |seq| {
            if [1, 13, 14, 30].contains(&seq) {
                50_000
            } else {
                100
            }
        });
        let rows = walk(&bounded(&server, 20_000), limit);
        let expected = (1..=30).map(|seq| {
            let is_long = [1, 13, 14, 30].contains(&seq);
            (Some(seq), is_long.then(|| "too_large".to_owned()))
        });
        assert_eq!(rows, expected.collect::<Vec<_>>(), "limit {limit}");
    }
}

/// Serves one endless answer, and counts how much of it was taken.
fn endless(beginning: &'static str) -> (Server, Arc<AtomicUsize>) {
    const BYTES: usize = 200_000_000;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let server = Server::start(move |_, _, connection| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n{beginning}");
        let _ = connection.write_all(head.as_bytes());
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..BYTES / piece.len() {
            if connection.write_all(&piece).is_err() {
                break;
            }
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    (server, taken)
}

#[test]
fn two_hundred_megabytes_of_one_record_are_not_read_to_their_end() {
    let beginning = concat!(
        r#"{"mode":"changes","indexEpoch":"e","cursor":"7","checkpointCursor":"9","hasMore":true,"#,
        r#""dids":[],"blocks":[],"operations":[{"seq":7,"did":"did:a:b","event":""#
    );
    let (server, taken) = endless(beginning);
    let source = GatekeeperSource::new(config(&server)).unwrap();
    let page = changes(&source, 1).unwrap();
    assert_eq!(
        (page.epoch.as_str(), page.next.value(), page.more),
        ("e", 7, true)
    );
    assert_eq!(page.checkpoint.value(), 9);
    let [Change::Invalid(record)] = &page.changes[..] else {
        panic!("{:?}", page.changes.len());
    };
    assert_eq!(record.reason, "too_large");
    assert_eq!(record.seq.map(SyncOrder::value), Some(7));
    assert_eq!(record.start.len(), InvalidRecord::START_BYTES);
    assert!(record.start.starts_with(beginning.as_bytes()));
    // What was read: the bound, and the byte that showed that there is more.
    let read = [
        beginning.as_bytes(),
        &vec![b'x'; (64 << 20) + 1 - beginning.len()],
    ]
    .concat();
    assert_eq!(record.sha256, <[u8; 32]>::from(Sha256::digest(&read)));
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < 100_000_000, "{taken} bytes were taken");
}

#[test]
fn where_the_cursor_was_not_read_the_next_position_is_asked_for() {
    let server = Server::start(|number, _, connection| {
        let long = "x".repeat(20_000);
        let text = Changes::to(40).text();
        let body = match number {
            // Without a word of the history there is nothing to go on from.
            0 => format!(r#"{{"operations":["{long}"],"mode":"changes"}}"#),
            1 => text,
            _ => format!(r#"{{"operations":["{long}"],"indexEpoch":"new","cursor":"50"}}"#),
        };
        respond(connection, "200 OK", "", body.as_bytes());
    });
    let source = bounded(&server, 10_000);
    let error = changes(&source, 1).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Protocol, "{error}");
    changes(&source, 1).unwrap();
    let after = SyncOrder::new(40).unwrap();
    let page = pollster::block_on(source.changes(after, 1)).unwrap();
    assert_eq!((page.next.value(), page.more), (41, true));
    assert_eq!(page.epoch.as_str(), "an epoch");
    assert_eq!(page.changes.len(), 1);
    assert_eq!(page.changes[0].seq(), None);
}

#[test]
fn a_did_that_is_too_long_alone_is_passed_over_where_the_snapshot_can_go_on() {
    let server = Server::start(|_, request, connection| {
        let long = signed(DID, &format!(r#""text":"{}""#, "x".repeat(20_000)));
        let page = if request.body.contains("null") {
            Snapshot {
                cursor: Some("a"),
                checkpoint: 9,
                more: true,
                dids: vec![history(DID, &[&long])],
            }
        } else {
            Snapshot {
                cursor: None,
                checkpoint: 9,
                more: false,
                dids: vec![history(DID, &[&signed(DID, r#""text":"short""#)])],
            }
        };
        respond(connection, "200 OK", "", page.text().as_bytes());
    });
    let source = bounded(&server, 10_000);
    let page = pollster::block_on(source.snapshot(None, 4)).unwrap();
    assert_eq!(page.next.as_deref(), Some("a"));
    assert_eq!(page.invalid.len(), 1);
    assert_eq!(page.invalid[0].reason, "too_large");
    assert!(page.operations.is_empty());
    let limits = server
        .requests()
        .iter()
        .map(super::server::Request::limit)
        .collect::<Vec<_>>();
    assert_eq!(limits, [4, 2, 1]);
    let after = SnapshotCursor {
        cursor: "a".to_owned(),
        checkpoint: page.checkpoint,
    };
    let page = pollster::block_on(source.snapshot(Some(&after), 4)).unwrap();
    assert_eq!((page.next, page.operations.len()), (None, 1));
}

#[test]
fn a_snapshot_that_is_too_long_before_its_cursor_is_an_error() {
    let long = "x".repeat(20_000);
    let server = Server::answering(format!(
        r#"{{"mode":"snapshot","indexEpoch":"e","dids":["{long}"],"cursor":"a"}}"#
    ));
    let error = pollster::block_on(bounded(&server, 10_000).snapshot(None, 1)).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Protocol);
    assert!(error.to_string().contains("10000 bytes"), "{error}");
}
