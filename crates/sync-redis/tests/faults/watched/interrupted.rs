//! What happens in the middle of a page.

use super::*;

#[test]
fn a_key_that_is_touched_meanwhile_ends_the_attempt() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let eager = Eager::open(&config, "space");
    for (n, name) in (0..).zip(KEYS) {
        let connection = server.connection().unwrap();
        eager.at("commit", move || touch(connection, name));
        let _ = eager.apply(page(n..n + 1)).unwrap();
        eager.ways(&["changed meanwhile", "script"]);
    }
    // Other writers, in whatever way they write.
    let other = open(&config, "space");
    let acts: [fn(&RedisStore); 4] = [
        |other| drop(block_on(other.apply(page(100..101))).unwrap()),
        |other| drop(block_on(other.apply(page(200..203).set(key("k"), "w"))).unwrap()),
        |other| assert!(block_on(other.new_epoch()).unwrap().is_some()),
        |other| drop(block_on(other.apply(page(203..204).reset())).unwrap()),
    ];
    let expectations = [
        (None, true),
        (None, false),
        (Some("w"), true),
        (Some("w"), false),
    ];
    for ((n, act), (expected, holds)) in (0..).zip(acts).zip(expectations) {
        let other = other.clone();
        eager.at("commit", move || act(&other));
        let page = page(300 + n..301 + n).expect(key("k"), expected);
        // The script judges by the state of then.
        assert_eq!(eager.apply(page).is_ok(), holds, "{n}");
        eager.ways(&["changed meanwhile", "script"]);
        eager.is_whole();
    }
    assert_eq!(eager.total(), 1);
    // And the whole server.
    let connection = server.connection().unwrap();
    eager.at("commit", move || {
        let mut connection = connection;
        cmd("FLUSHALL").exec(&mut connection).unwrap();
    });
    let _ = eager.apply(page(0..1)).unwrap();
    eager.ways(&["changed meanwhile", "script"]);
    assert_eq!(eager.total(), 1);
}

/// Changes a key, and changes it back.
fn touch(mut connection: sync_redis::redis::Connection, name: &str) {
    let sorted = ["time", "seq", "order", "object", "dead", "names"].contains(&name);
    let [add, remove] = if sorted {
        ["ZADD", "ZREM"]
    } else {
        ["HSET", "HDEL"]
    };
    let name = format!("sync:{{space}}:{name}");
    let mut added = cmd(add);
    added.arg(&name);
    let added = if sorted {
        added.arg(0).arg("x")
    } else {
        added.arg("x").arg(0)
    };
    added.exec(&mut connection).unwrap();
    cmd(remove)
        .arg(&name)
        .arg("x")
        .exec(&mut connection)
        .unwrap();
}

#[test]
fn an_error_at_any_boundary_leaves_all_or_nothing() {
    let server = Server::start(&[]);
    let eager = Eager::open(&migrated(&server.url()), "space");
    eager.met.lock().unwrap().clear();
    let _ = eager.apply(page(0..3)).unwrap();
    eager.ways(&["watched"]);
    let boundaries = std::mem::take(&mut *eager.met.lock().unwrap());
    assert_eq!(
        boundaries,
        [
            "watch",
            "look up",
            "multi",
            "rows",
            "time",
            "seq",
            "order",
            "object",
            "blobs",
            "state",
            "meta",
            "exec",
            "commit",
            "committed"
        ]
    );
    for (n, boundary) in (1..).zip(boundaries) {
        let act: Act = Box::new(|| Err(Error::new(ErrorKind::Unavailable)));
        *eager.act.lock().unwrap() = Some((boundary, act));
        let page = || page(10 * n..10 * n + 3).set(key("k"), n.to_string());
        let before = eager.total();
        let error = eager.apply(page()).unwrap_err();
        let written = boundary == "committed";
        assert_eq!(
            (error.kind() == &ErrorKind::UnknownOutcome, eager.total()),
            (written, before + if written { 3 } else { 0 }),
            "{boundary}"
        );
        eager.is_whole();
        let _ = eager.apply(page()).unwrap();
        assert_eq!(eager.total(), before + 3, "{boundary}");
    }
}

/// The connection ends after every number of bytes of what writes and ends the transaction.
#[test]
fn a_page_is_all_or_nothing_wherever_its_connection_is_cut() {
    let server = Server::start(&[]);
    let gate = Gate::to(server.address());
    let eager = Eager::open(&migrated(&gate.url()), "space");
    let direct = open(&migrated(&server.url()), "space");
    let total = || block_on(direct.stats()).unwrap().total;
    let _ = eager.apply(page(0..1)).unwrap();
    let (mut after_all, mut first_whole) = (0, None);
    for bytes in 0..4_000 {
        let n = 10 + 2 * bytes as u64;
        let before = total();
        let cut = gate.clone();
        eager.at("commit", move || cut.set(Rule::Cut(bytes)));
        let page = page(n..n + 2).set(key("k"), n.to_string());
        eager.ways.take();
        let applied = eager.apply(page.clone());
        gate.set(Rule::Pass);
        let added = total() - before;
        match (applied, added) {
            // The end of the transaction was behind the cut.
            (Err(error), 0) => {
                assert!(first_whole.is_none(), "{bytes} bytes");
                assert_eq!(error.kind(), &ErrorKind::UnknownOutcome, "{error}");
                assert!(error.retry() != sync_core::Retry::Never || !page.is_retry_safe());
            }
            (Err(error), 2) => {
                first_whole.get_or_insert(bytes);
                assert_eq!(error.kind(), &ErrorKind::UnknownOutcome, "{error}");
            }
            // It was cut later than it ends.
            (Ok(_), 2) => {
                first_whole.get_or_insert(bytes);
                after_all += 1;
            }
            (applied, added) => panic!("{added} rows, and {applied:?} after {bytes} bytes"),
        }
        if bytes % 50 == 0 {
            assert!(block_on(direct.check()).unwrap().is_empty());
        }
        if after_all > 3 {
            break;
        }
    }
    assert!(
        first_whole.is_some_and(|bytes| bytes > 400),
        "{first_whole:?}"
    );
    assert!(block_on(direct.check()).unwrap().is_empty());
}

/// The server checks rights when a command is queued, and again when the transaction ends, where one
/// that is refused does not stop the others.
#[test]
fn rights_that_are_taken_away_in_the_middle_are_told() {
    let server = Server::start(&[]);
    server.run_command("ACL SETUSER poor on >pw ~* &* +@all");
    let gate = Gate::to(server.address());
    let login = gate.url().replace("redis://", "redis://poor:pw@");
    let eager = Eager::open(&migrated(&login), "space");
    let take = |rights: &'static str| {
        let mut connection = server.connection().unwrap();
        gate.set(Rule::BeforeExec(Box::new(move || {
            let mut command = cmd("ACL");
            command
                .arg("SETUSER")
                .arg("poor")
                .arg(rights.split(' ').collect::<Vec<_>>());
            command.exec(&mut connection).unwrap();
        })));
    };
    // All of them: nothing is written, and the script says why.
    take("-hset -zadd");
    let error = eager.apply(page(0..3)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Denied, "{}", messages(&error));
    server.run_command("ACL SETUSER poor +@all");
    assert_eq!(eager.total(), 1);
    eager.is_whole();
    // Some of them.
    take("-zadd");
    let error = eager.apply(page(0..3)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt, "{}", messages(&error));
    assert!(error.to_string().contains("rights"), "{error}");
}

#[test]
fn a_dropped_page_leaves_nothing_on_the_connection() {
    let server = Server::start(&[]);
    let eager = Eager::open(&migrated(&server.url()), "space");
    for n in 0..200 {
        let mut dropped = Box::pin(eager.store.apply(page(10 * n..10 * n + 3)));
        let waker = std::task::Waker::noop();
        let _ = dropped
            .as_mut()
            .poll(&mut std::task::Context::from_waker(waker));
        drop(dropped);
        let _ = eager.apply(page(10 * n + 5..10 * n + 6)).unwrap();
    }
    // The ones that were dropped had been sent, in turn.
    assert_eq!(eager.total(), 1 + 200 * 4);
    eager.is_whole();
    let ways = taken(&eager.ways);
    assert_eq!(ways.get("watched"), Some(&400), "{ways:?}");
}

/// A primary that followed another one for a moment has another replication id.
#[test]
fn a_server_that_changes_its_identity_in_the_middle_begins_a_new_epoch() {
    let server = Server::start(&[]);
    let eager = Eager::open(&migrated(&server.url()), "space");
    let before = block_on(eager.store.stats()).unwrap();
    let connection = server.connection().unwrap();
    eager.at("commit", move || {
        let mut connection = connection;
        for target in [["127.0.0.1", "1"], ["NO", "ONE"]] {
            let mut follow = cmd("REPLICAOF");
            follow.arg(&target).exec(&mut connection).unwrap();
        }
    });
    let reader = cursor(&eager.store);
    let applied = eager.apply(page(0..3)).unwrap();
    assert_eq!(applied.totals().inserted, 3);
    eager.ways(&["watched"]);
    // No reader sees the page under the old epoch.
    let read = block_on(eager.store.feed(reader, Limit::rows(10), Payloads::Skip));
    let error = read.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongEpoch { .. }),
        "{error}"
    );
    let after = block_on(eager.store.stats()).unwrap();
    assert_ne!(after.epoch, before.epoch);
    assert_eq!((after.total, after.head.value()), (4, 4));
    eager.is_whole();
}

#[test]
fn a_server_that_becomes_a_replica_in_the_middle_takes_nothing() {
    let server = Server::start(&[]);
    let patience = Duration::from_millis(50);
    let eager = Eager::open(&migrated(&server.url()).patience(patience), "space");
    let connection = server.connection().unwrap();
    eager.at("commit", move || {
        let mut connection = connection;
        let mut follow = cmd("REPLICAOF");
        follow
            .arg(&["127.0.0.1", "1"])
            .exec(&mut connection)
            .unwrap();
    });
    let error = eager.apply(page(0..3)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::ReadOnly, "{}", messages(&error));
    eager.ways(&["refused", "script"]);
    server.promote();
    assert_eq!(eager.total(), 1);
    let _ = eager.apply(page(0..3)).unwrap();
    assert_eq!(eager.total(), 4);
    eager.is_whole();
}

/// Each space has its own transaction, also where they are written at once, and however many.
#[test]
fn many_spaces_and_many_writers_share_a_server() {
    let server = Server::start(&[]);
    let ways = Work::default();
    let faults = Faults::default().expect_new().count_ways(ways.clone());
    let config = migrated(&server.url()).faults(faults);
    let backends = [(); 2].map(|()| block_on(RedisBackend::connect(config.clone())).unwrap());
    thread::scope(|scope| {
        for (n, backend) in (0..24_u64).zip(backends.iter().cycle()) {
            scope.spawn(move || {
                let name = SpaceName::new(&format!("space-{}", n / 4)).unwrap();
                let store = block_on(backend.open(&name)).unwrap();
                for m in 0..30 {
                    let from = 10_000 * n + 100 * m;
                    let applied = block_on(store.apply(page(from..from + 20))).unwrap();
                    assert_eq!(applied.totals().inserted, 20);
                }
            });
        }
    });
    for n in 0..6 {
        let store = open(&config, &format!("space-{n}"));
        let stats = block_on(store.stats()).unwrap();
        assert_eq!((stats.total, stats.head.value()), (2_400, 2_400));
        assert!(block_on(store.check()).unwrap().is_empty());
    }
    let ways = taken(&ways);
    assert!(ways["watched"] > 50, "{ways:?}");
    assert_eq!(ways["watched"] + ways["script"], 720, "{ways:?}");
}

#[test]
fn a_connection_that_ends_before_the_writes_is_no_error() {
    let server = Server::start(&[]);
    let eager = Eager::open(&migrated(&server.url()), "space");
    let _ = eager.apply(page(0..1)).unwrap();
    eager.ways(&["watched"]);
    server.run_command("CLIENT KILL TYPE normal");
    let _ = eager.apply(page(1..2)).unwrap();
    let ways = taken(&eager.ways);
    assert_eq!(
        ways.values().sum::<u64>() - ways.len() as u64,
        0,
        "{ways:?}"
    );
    let _ = eager.apply(page(2..3)).unwrap();
    eager.ways(&["watched"]);
    assert_eq!(eager.total(), 4);
}
