//! Logins, rights, and the keys of other programs.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{
    Backend, Delete, Error, ErrorKind, FeedCursor, Limit, Page, Payloads, Seq, SpaceName,
    SyncState, SyncStore, TimeRange, TombstoneReason,
};
use sync_redis::redis::cmd;
use sync_redis::{RedisBackend, RedisConfig};

use crate::server::{Server, free_port};
use crate::{id, key, messages, migrated, open, page};

const SECRET: &str = "hunter2-correct-horse";

fn refused(url: &str) -> Vec<Error> {
    let config = RedisConfig::from_url(url).unwrap();
    let began = Instant::now();
    let errors = vec![
        block_on(RedisBackend::migrate(&config)).unwrap_err(),
        block_on(RedisBackend::connect(config)).unwrap_err(),
    ];
    assert!(began.elapsed() < Duration::from_secs(20), "{errors:?}");
    for error in &errors {
        assert!(!messages(error).contains(SECRET), "{}", messages(error));
    }
    errors
}

#[test]
fn what_is_wrong_in_a_url_is_told_at_once_and_without_the_password() {
    let server = Server::start(&["--requirepass", "another-password"]);
    let port = server.port();
    for (url, kind) in [
        (
            format!("redis://:{SECRET}@127.0.0.1:{port}"),
            ErrorKind::Denied,
        ),
        (
            format!("redis://nobody:{SECRET}@127.0.0.1:{port}"),
            ErrorKind::Denied,
        ),
        (format!("redis://127.0.0.1:{port}"), ErrorKind::Denied),
        (
            format!("redis://:another-password@127.0.0.1:{port}/99"),
            ErrorKind::NotFound,
        ),
        (
            format!("redis://:{SECRET}@127.0.0.1:{}", free_port()),
            ErrorKind::Unavailable,
        ),
    ] {
        for error in refused(&url) {
            assert_eq!(error.kind(), &kind, "{url}: {}", messages(&error));
        }
    }
    for error in refused(&format!("redis://:{SECRET}@no-such-host.invalid:{port}")) {
        // Without a name server it stays unknown whether the host exists.
        let told = [ErrorKind::NotFound, ErrorKind::Unavailable];
        assert!(told.contains(error.kind()), "{}", messages(&error));
    }
    for url in [
        format!("redis://:another-password@127.0.0.1:{port}/3"),
        format!("valkey://default:another-password@127.0.0.1:{port}"),
    ] {
        let store = open(&migrated(&url), "space");
        let _ = block_on(store.apply(page(0..1))).unwrap();
    }
}

/// The rights that the documentation lists are enough, and no other one is.
#[test]
fn an_acl_user_needs_the_rights_that_are_listed() {
    let server = Server::start(&[]);
    let readme = include_str!("../../README.md");
    let rule = readme
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER sync on >PASSWORD "))
        .expect("the documentation names a rule");
    server.run_command(&format!("ACL SETUSER sync on >{SECRET} {rule}"));
    let url = format!("redis://sync:{SECRET}@127.0.0.1:{}", server.port());
    let config = migrated(&url);
    let store = open(&config, "space");
    let _ = block_on(store.apply(page(0..10).set(key("k"), "v"))).unwrap();
    let gone = Page::new().delete(Delete::new(id(3), TombstoneReason::Removed));
    let _ = block_on(store.apply(gone)).unwrap();
    let many = Limit::rows(100);
    assert_eq!(block_on(store.stats()).unwrap().total, 9);
    let feed = block_on(store.feed(FeedCursor::Beginning, many, Payloads::Include));
    assert_eq!(feed.unwrap().entries.len(), 10);
    let keys = block_on(store.scan_keys(TimeRange::ALL, None, many)).unwrap();
    assert_eq!(keys.items.len(), 9);
    assert_eq!(block_on(store.list("", None, many)).unwrap().items.len(), 1);
    assert!(block_on(store.check()).unwrap().is_empty());
    let _ = block_on(store.prune(Seq::MAX)).unwrap();
    block_on(async {
        let backend = RedisBackend::connect(config).await.unwrap();
        backend.describe().await.unwrap();
        assert_eq!(backend.spaces(None, 10).await.unwrap().len(), 1);
        let space = SpaceName::new("space").unwrap();
        assert!(backend.drop_space(&space).await.unwrap());
    });
    // Another prefix is not theirs.
    let other = RedisConfig::from_url(&url)
        .unwrap()
        .prefix("other")
        .unwrap();
    let error = block_on(RedisBackend::migrate(&other)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Denied, "{}", messages(&error));
    assert!(!messages(&error).contains(SECRET));
}

#[test]
fn a_right_that_is_taken_away_is_missed_before_anything_is_written() {
    let server = Server::start(&[]);
    server.run_command("ACL SETUSER poor on >pw ~* &* +@all");
    let config = migrated(&format!("redis://poor:pw@127.0.0.1:{}", server.port()));
    let store = open(&config, "space");
    let _ = block_on(store.apply(page(0..5))).unwrap();
    let before = block_on(store.stats()).unwrap();
    let everything = || {
        page(5..9)
            .delete(Delete::new(id(1), TombstoneReason::Removed))
            .reset()
    };
    for right in [
        "evalsha", "hdel", "hlen", "hmget", "hset", "info", "unlink", "zadd", "zcard", "zrem",
    ] {
        server.run_command(&format!("ACL SETUSER poor -{right}"));
        let error = block_on(store.apply(everything())).unwrap_err();
        assert_eq!(
            error.kind(),
            &ErrorKind::Denied,
            "-{right}: {}",
            messages(&error)
        );
        server.run_command(&format!("ACL SETUSER poor +{right}"));
        assert_eq!(block_on(store.stats()).unwrap(), before, "-{right}");
    }
    // Notifications are hints, and a page does without the right to send them.
    server.run_command("ACL SETUSER poor -publish");
    let _ = block_on(store.apply(page(5..9))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 9);
}

#[test]
fn keys_of_another_program_under_our_prefix_are_left_alone() {
    let server = Server::start(&[]);
    let config = RedisConfig::from_url(&server.url()).unwrap();
    for (set, keys) in [
        ("SET sync:schema theirs", 1),
        ("HSET sync:schema version 1", 1),
        ("SET sync:{space}:meta theirs", 1),
        ("SET sync:session:42 theirs", 1),
    ] {
        server.run_command("FLUSHALL");
        server.run_command(set);
        for refused in [
            block_on(RedisBackend::migrate(&config)).map(drop),
            block_on(RedisBackend::connect(config.clone())).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Foreign, "{set}: {error}");
            assert!(error.to_string().contains("sync:"), "{error}");
        }
        let found: i64 = server.ask(&cmd("DBSIZE")).unwrap();
        assert_eq!(found, keys, "{set}");
    }
    // Keys of a similar name are left alone.
    server.run_command("FLUSHALL");
    server.run_command("SET sync2:schema theirs");
    server.run_command("SET async:schema theirs");
    open(&migrated(&server.url()), "space");
}

/// Written there later: an error in the middle of a script would leave half a page.
#[test]
fn a_foreign_key_in_the_place_of_one_of_ours_is_met_before_anything_is_written() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let everything = || {
        let mut operation = crate::op(1).about(sync_core::Object::new("a").unwrap());
        operation.sync_order = sync_core::SyncOrder::new(1);
        operation.payload = vec![b'x'; 5_000].into();
        Page::new()
            .upsert(operation)
            .delete(Delete::new(id(2), TombstoneReason::Rejected).reject())
            .set(key("k"), "v")
    };
    for name in [
        "meta", "rows", "blobs", "time", "seq", "order", "object", "dead", "graves", "state",
        "names",
    ] {
        let space = format!("space-{name}");
        server.run_command(&format!("SET sync:{{{space}}}:{name} theirs"));
        let error = block_on(open(&config, &space).apply(everything())).unwrap_err();
        assert_eq!(
            error.kind(),
            &ErrorKind::Corrupt,
            "{name}: {}",
            messages(&error)
        );
        let mut keys = cmd("KEYS");
        let found: Vec<String> = server.ask(keys.arg(format!("sync:{{{space}}}:*"))).unwrap();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
}
