//! What is sent, and where.

use sync_core::SyncOrder;
use sync_hydrate::{SnapshotCursor, Source as _, SourceErrorKind};
use sync_mdip::GatekeeperSource;
use sync_mdip::gatekeeper::GatekeeperConfig;

use super::server::{Server, respond};
use super::{changes, config, source};
use crate::source::{Changes, Snapshot};

fn at(position: u64) -> SyncOrder {
    SyncOrder::new(position).unwrap()
}

#[test]
fn requests_are_those_of_the_deployed_mediator() {
    let server = Server::start(|_, request, connection| {
        let body = if request.body.contains("snapshot") {
            let page = Snapshot {
                cursor: Some("z3v8Auaa4z"),
                checkpoint: 1823,
                more: true,
                dids: Vec::new(),
            };
            page.text()
        } else {
            Changes::to(2323).text()
        };
        respond(connection, "200 OK", "", body.as_bytes());
    });
    let source = source(&server);
    let first = pollster::block_on(source.snapshot(None, 500)).unwrap();
    let after = SnapshotCursor {
        cursor: first.next.unwrap(),
        checkpoint: first.checkpoint,
    };
    pollster::block_on(source.snapshot(Some(&after), 500)).unwrap();
    pollster::block_on(source.changes(SyncOrder::ZERO, 500)).unwrap();
    pollster::block_on(source.changes(at(1823), 7)).unwrap();
    let requests = server.requests();
    let bodies = requests.iter().map(|request| request.body.as_str());
    assert_eq!(
        bodies.collect::<Vec<_>>(),
        [
            r#"{"mode":"snapshot","cursor":null,"limit":500}"#,
            r#"{"mode":"snapshot","cursor":"z3v8Auaa4z","checkpointCursor":"1823","limit":500}"#,
            r#"{"mode":"changes","cursor":null,"limit":500,"includeOperations":true}"#,
            r#"{"mode":"changes","cursor":"1823","limit":7,"includeOperations":true}"#,
        ]
    );
    for request in &requests {
        assert!(
            request
                .head
                .starts_with("POST /api/v1/index/export HTTP/1.1\r\n")
        );
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), None);
    }
}

#[test]
fn an_answer_is_a_page() {
    let mut page = Changes::to(2323);
    page.checkpoint = 3255;
    page.more = true;
    let server = Server::answering(page.text());
    let page = pollster::block_on(source(&server).changes(at(1823), 500)).unwrap();
    assert_eq!(page.epoch.as_str(), "an epoch");
    assert_eq!(
        (page.next, page.checkpoint, page.more),
        (at(2323), at(3255), true)
    );
    assert!(page.changes.is_empty() && !page.spent.fetch.is_zero());
    // An empty log echoes the cursor it was asked with.
    let server = Server::answering(
        Changes::to(0)
            .text()
            .replace("\"cursor\":\"0\"", "\"cursor\":null"),
    );
    let page = changes(&source(&server), 500).unwrap();
    assert_eq!((page.next, page.more), (SyncOrder::ZERO, false));
}

#[test]
fn a_row_at_or_before_the_position_that_was_asked_for_is_not_taken_again() {
    let row = |seq| crate::source::removal(seq, "did:a:b", &"1".repeat(64));
    let page = Changes {
        removed: vec![row(4), row(5), row(6), row(7)],
        ..Changes::to(6)
    };
    let server = Server::answering(page.text());
    let page = pollster::block_on(source(&server).changes(at(5), 500)).unwrap();
    let seqs = page
        .changes
        .iter()
        .map(|row| row.seq().map(SyncOrder::value));
    assert_eq!(seqs.collect::<Vec<_>>(), [Some(6), None, None, None]);
}

#[test]
fn a_path_a_query_and_a_password_are_sent_and_only_the_path_is_shown() {
    let server = Server::start(|_, _, connection| {
        respond(connection, "401 Unauthorized", "", b"");
    });
    let url = format!(
        "http://user:hidden@{}/mdip/?token=concealed",
        server.address()
    );
    let config = GatekeeperConfig::new(url.parse().unwrap());
    let shown = format!("{config:?}");
    let source = GatekeeperSource::new(config).unwrap();
    assert_eq!(source.name(), format!("http://{}/mdip", server.address()));
    let error = changes(&source, 500).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    let request = &server.requests()[0];
    let line = "POST /mdip/api/v1/index/export?token=concealed HTTP/1.1\r\n";
    assert!(request.head.starts_with(line), "{}", request.head);
    let authorization = request.header("authorization").unwrap();
    assert_eq!(authorization, "Basic dXNlcjpoaWRkZW4=");
    for shown in [shown, format!("{source:?}"), format!("{error:?} {error}")] {
        for secret in ["hidden", "concealed", "dXNlcjpoaWRkZW4"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_source_has_the_name_it_was_given() {
    let server = Server::answering("");
    let mut config = config(&server);
    config.name = Some("upstream".to_owned());
    assert_eq!(GatekeeperSource::new(config).unwrap().name(), "upstream");
}

#[test]
fn requests_of_several_threads_are_answered_each() {
    let server = Server::start(|_, request, connection| {
        let page = Changes::to(request.limit());
        respond(connection, "200 OK", "", page.text().as_bytes());
    });
    let source = source(&server);
    std::thread::scope(|scope| {
        for limit in 1..=8 {
            let source = &source;
            scope.spawn(move || {
                let page = changes(source, limit).unwrap();
                assert_eq!(page.next.value(), u64::from(limit));
            });
        }
    });
}
