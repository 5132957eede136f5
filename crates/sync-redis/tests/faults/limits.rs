//! Scripts that are forgotten, and memory that is full.

use std::thread;
use std::time::Duration;

use pollster::block_on;
use sync_core::{
    Backend, Delete, ErrorKind, Limit, Page, Retry, Seq, SyncStore, TimeRange, TombstoneReason,
};
use sync_redis::RedisBackend;

use crate::server::Server;
use crate::{id, key, migrated, op, open, page};

#[test]
fn scripts_may_be_flushed_between_calls() {
    let server = Server::start(&[]);
    let store = open(&migrated(&server.url()), "space");
    for n in 0..10 {
        server.run_command("SCRIPT FLUSH");
        let _ = block_on(store.apply(page(10 * n..10 * n + 10))).unwrap();
        server.run_command("SCRIPT FLUSH");
        let batch = block_on(store.scan_time(TimeRange::ALL, None, Limit::rows(1_000)));
        assert_eq!(batch.unwrap().items.len() as u64, 10 * n + 10);
        server.run_command("SCRIPT FLUSH");
        let _ = block_on(store.prune(Seq::MAX)).unwrap();
    }
}

#[test]
fn scripts_may_be_flushed_all_the_time() {
    let server = Server::start(&[]);
    let store = open(
        &migrated(&server.url()).patience(Duration::from_secs(10)),
        "space",
    );
    thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            for _ in 0..200 {
                server.run_command("SCRIPT FLUSH");
                thread::sleep(Duration::from_millis(2));
            }
        });
        let mut n = 0;
        while !flushing.is_finished() {
            let _ = block_on(store.apply(Page::new().upsert(op(n)))).unwrap();
            n += 1;
        }
        assert_eq!(block_on(store.stats()).unwrap().total, n);
    });
}

#[test]
fn a_server_that_evicts_is_refused() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        let server = Server::start(&["--maxmemory-policy", policy]);
        let config = sync_redis::RedisConfig::from_url(&server.url()).unwrap();
        for refused in [
            block_on(RedisBackend::migrate(&config)).map(drop),
            block_on(RedisBackend::connect(config.clone())).map(drop),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Unsupported);
            assert!(error.to_string().contains(policy), "{error}");
        }
        let keys: i64 = server.ask(&sync_redis::redis::cmd("DBSIZE")).unwrap();
        assert_eq!(keys, 0, "nothing was written");
    }
    // No key of ours has an expiry, so this takes none of them.
    let server = Server::start(&["--maxmemory-policy", "volatile-lru"]);
    open(&migrated(&server.url()), "space");
}

/// Every page up to the limit is there, none beyond it, and none in part.
#[test]
fn a_page_is_all_or_nothing_when_memory_is_full() {
    let server = Server::start(&[]);
    let store = open(&migrated(&server.url()), "space");
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.run_command(&format!("CONFIG SET maxmemory {}", used + (24 << 20)));
    let large = |n: u64| {
        let operations = (500 * n..500 * (n + 1)).map(|n| {
            let mut operation = op(n);
            operation.payload = vec![b'x'; 4_000].into();
            operation
        });
        Page::new()
            .upserts(operations)
            .set(key("page"), n.to_string())
    };
    let mut pages = 0;
    let error = loop {
        match block_on(store.apply(large(pages))) {
            Ok(_) => pages += 1,
            Err(error) => break error,
        }
    };
    assert!(pages > 3, "{pages} pages of 2 MB in 24 MB");
    assert_eq!(error.kind(), &ErrorKind::Full, "{error}");
    assert_eq!(error.retry(), Retry::Later);
    let stats = block_on(store.stats()).unwrap();
    assert_eq!(stats.total, 500 * pages, "rows of whole pages");
    assert!(block_on(store.check()).unwrap().is_empty());
    // A delete leaves a tombstone, and is refused as well. Nothing is half done.
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.run_command(&format!("CONFIG SET maxmemory {}", used - (1 << 20)));
    let gone = (0..500).fold(Page::new(), |page, n| {
        page.delete(Delete::new(id(n), TombstoneReason::Removed))
    });
    let error = block_on(store.apply(gone.clone())).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Full, "{error}");
    assert_eq!(block_on(store.stats()).unwrap(), stats);
    // What frees memory goes on, and so does what readers depend on.
    assert!(block_on(store.new_epoch()).unwrap().is_some());
    let pruned = block_on(store.prune(Seq::MAX)).unwrap();
    assert_eq!(pruned.floor, stats.head);
    let _ = block_on(store.apply(Page::new().reset())).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().total, 0);
    // The handle works again when the server does.
    server.run_command("CONFIG SET maxmemory 0");
    let _ = block_on(store.apply(large(0))).unwrap();
    let _ = block_on(store.apply(gone)).unwrap();
    assert!(block_on(store.check()).unwrap().is_empty());
}
