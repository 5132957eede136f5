//! Gatekeepers that do not answer, or refuse to.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use sync_core::SyncOrder;
use sync_hydrate::{Source as _, SourceErrorKind};
use sync_mdip::GatekeeperSource;
use sync_mdip::gatekeeper::GatekeeperConfig;

use super::server::{Server, respond};
use super::{changes, config, source};
use crate::source::Changes;

#[test]
fn a_gatekeeper_that_cannot_answer_now_is_asked_again() {
    for status in [
        "503 Service Unavailable",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "408 Request Timeout",
        "429 Too Many Requests",
    ] {
        let server = Server::start(move |number, _, connection| {
            if number < 2 {
                respond(
                    connection,
                    status,
                    "",
                    br#"{"error":"database_unavailable"}"#,
                );
            } else {
                respond(connection, "200 OK", "", Changes::to(3).text().as_bytes());
            }
        });
        let page = changes(&source(&server), 500).unwrap();
        assert_eq!(
            (page.next.value(), server.requests().len()),
            (3, 3),
            "{status}"
        );

        let server = Server::start(move |_, _, connection| {
            respond(
                connection,
                status,
                "",
                br#"{"error":"database_unavailable"}"#,
            );
        });
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{status}");
        assert!(
            error.to_string().contains("database_unavailable"),
            "{error}"
        );
        assert_eq!(server.requests().len(), 3, "{status}");
    }
}

#[test]
fn a_gatekeeper_that_asks_for_a_day_is_asked_again_after_the_longest_pause() {
    let server = Server::start(|number, _, connection| {
        if number == 0 {
            let day = "Retry-After: 86400\r\n";
            respond(connection, "503 Service Unavailable", day, b"");
        } else {
            respond(connection, "200 OK", "", Changes::to(3).text().as_bytes());
        }
    });
    assert_eq!(changes(&source(&server), 500).unwrap().next.value(), 3);
}

#[test]
fn a_request_that_is_refused_is_not_sent_again_and_the_reason_is_told() {
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        let server = Server::start(move |_, _, connection| {
            let body = br#"{"error":"limit must be\u001b[31m a positive\nintegerxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
            respond(connection, status, "", body);
        });
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused, "{status}");
        assert!(!error.is_retryable());
        let message = error.to_string();
        assert!(message.contains("limit must be"), "{message}");
        assert!(message.contains(status), "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
        assert!(message.len() < 200, "{message}");
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn a_refusal_without_a_readable_reason_is_a_refusal() {
    let endless = format!("{{\"error\":\"{}\"}}", "x".repeat(100_000)).into_bytes();
    for body in [
        Vec::new(),
        b"<html>".to_vec(),
        br#"{"error":7}"#.to_vec(),
        endless,
    ] {
        let server = Server::start(move |_, _, connection| {
            respond(connection, "400 Bad Request", "", &body);
        });
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert!(error.to_string().contains("400"), "{error}");
    }
}

#[test]
fn a_redirect_is_refused_and_nothing_is_sent_to_its_target() {
    let target = Server::answering(Changes::to(3).text());
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let location = format!("http://user:hidden@{}/there?key=hidden", target.address());
        let shown = format!("http://{}/there", target.address());
        for (location, shown) in [
            (location, shown),
            ("/elsewhere".to_owned(), "elsewhere".to_owned()),
        ] {
            let header = format!("Location: {location}\r\n");
            let server = Server::start(move |_, _, connection| {
                respond(connection, status, &header, b"");
            });
            let error = changes(&source(&server), 500).unwrap_err();
            assert_eq!(error.kind(), SourceErrorKind::Refused, "{status}: {error}");
            let message = format!("{error} {error:?}");
            assert!(
                message.contains(&shown) && !message.contains("hidden"),
                "{message}"
            );
            assert_eq!(server.requests().len(), 1, "{status}");
        }
    }
    assert_eq!(target.requests().len(), 0);
}

#[test]
fn a_status_that_the_protocol_does_not_have_is_an_error_of_its_own() {
    for status in ["204 No Content", "206 Partial Content"] {
        let server = Server::start(move |_, _, connection| respond(connection, status, "", b""));
        let error = changes(&source(&server), 500).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Protocol, "{status}");
    }
}

#[test]
fn what_does_not_speak_http_is_an_error_and_no_panic() {
    let server = Server::start(|_, _, connection| {
        let _ = connection.write_all(b"220 mail.example ESMTP\r\n\r\n");
    });
    let error = changes(&source(&server), 500).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Protocol, "{error}");
}

#[test]
fn where_nobody_listens_the_gatekeeper_is_unavailable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = GatekeeperConfig::new(url.parse().unwrap());
    config.attempts = 2;
    config.backoff = Duration::from_millis(1);
    let error = changes(&GatekeeperSource::new(config).unwrap(), 500).unwrap_err();
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
    assert!(error.is_retryable());
}

#[test]
fn an_answer_that_drips_ends_with_the_time_it_has() {
    for beginning in [
        "HTTP/1.1 200 OK\r\nDrip: ",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{\"mode\":\"",
    ] {
        let server = Server::start(move |_, _, connection| {
            let _ = connection.write_all(beginning.as_bytes());
            // Byte by byte, until the client has had enough.
            while connection.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let mut config = config(&server);
        config.timeout = Duration::from_millis(300);
        config.attempts = 2;
        let error = changes(&GatekeeperSource::new(config).unwrap(), 500).unwrap_err();
        assert_eq!(
            error.kind(),
            SourceErrorKind::Timeout,
            "{beginning:?}: {error}"
        );
        assert!(error.is_retryable());
        assert_eq!(server.requests().len(), 2, "{beginning:?}");
    }
}

#[test]
fn a_future_that_is_dropped_leaves_the_source_usable() {
    let server = Server::start(|number, _, connection| {
        if number == 0 {
            let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{");
            while connection.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        } else {
            respond(connection, "200 OK", "", Changes::to(3).text().as_bytes());
        }
    });
    let source = source(&server);
    let mut dropped = Box::pin(source.changes(SyncOrder::ZERO, 500));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    while server.requests().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    drop(dropped);
    assert_eq!(changes(&source, 500).unwrap().next.value(), 3);
    assert_eq!(server.requests().len(), 2);
    // One that was never polled asks nothing.
    drop(source.changes(SyncOrder::ZERO, 500));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_source_may_be_dropped_in_the_middle_of_a_request() {
    let server = Server::start(|_, _, connection| {
        respond(
            connection,
            "503 Service Unavailable",
            "Retry-After: 3600\r\n",
            b"",
        );
    });
    let mut config = config(&server);
    config.attempts = u32::MAX;
    config.backoff_cap = Duration::from_hours(1);
    let source = GatekeeperSource::new(config).unwrap();
    let mut dropped = Box::pin(source.changes(SyncOrder::ZERO, 500));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    while server.requests().is_empty() {
        thread::sleep(Duration::from_millis(5));
    }
    drop(dropped);
    drop(source);
}
