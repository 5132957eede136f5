//! What a page leaves, and what is left to the script.

use super::*;

fn whole(n: u64) -> Operation {
    let mut operation = op(n).about(Object::new(format!("object {}", n % 3)).unwrap());
    operation.sync_order = (!n.is_multiple_of(4)).then(|| SyncOrder::new(n).unwrap());
    if n.is_multiple_of(5) {
        operation.payload = vec![b'x'; 3_000].into();
    }
    operation
}

/// Everything that such a page may hold.
fn everything(n: u64) -> Page {
    let mut again = whole(100 * n + 4);
    again.sync_order = SyncOrder::new(100 * n + 4);
    let before = n.checked_sub(1).map(|n| n.to_string());
    let page = Page::new()
        .replacing()
        .reviving()
        .expect(key("cursor"), before)
        .upserts((100 * n..100 * n + 20).map(whole))
        .upsert(again)
        .upsert(whole(100 * n))
        .set(key("cursor"), n.to_string())
        .set(key(&format!("more {n}")), vec![0; 70]);
    if n < 2 {
        page
    } else {
        page.unset(key(&format!("more {}", n - 2)))
            .unset(key("absent"))
    }
}

#[test]
fn a_page_leaves_the_same_bytes_as_the_scripts() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let eager = Eager::open(&config, "watched");
    let _ = block_on(open(&config, "script").apply(page(1_000_000..1_000_001))).unwrap();
    for n in 0..8 {
        // A handle that knows nothing of the pages before leaves each of them to the script.
        let script = open(&config, "script");
        let expected = block_on(script.apply(everything(n))).unwrap();
        assert_eq!(eager.apply(everything(n)).unwrap(), expected);
    }
    eager.ways(&["watched"; 8]);
    for name in &KEYS[1..] {
        let [script, watched] = ["script", "watched"].map(|space| contents(&server, space, name));
        assert_eq!(script, watched, "{name}");
    }
    let mut stats = ["script", "watched"].map(|name| {
        let store = open(&config, name);
        assert!(block_on(store.check()).unwrap().is_empty());
        block_on(store.stats()).unwrap()
    });
    assert_ne!(stats[0].epoch, stats[1].epoch);
    stats[1].epoch = stats[0].epoch;
    assert_eq!(stats[0], stats[1]);
    assert_eq!((stats[0].total, stats[0].tombstones), (161, 0));
}

/// A hash or a sorted set, sorted.
fn contents(server: &Server, space: &str, name: &str) -> Vec<Vec<u8>> {
    let name = format!("sync:{{{space}}}:{name}");
    let mut all = cmd("HGETALL");
    let mut found: Vec<Vec<u8>> = server.ask(all.arg(&name)).unwrap_or_else(|_| {
        let mut all = cmd("ZRANGE");
        server.ask(all.arg(&name).arg(0).arg(-1)).unwrap()
    });
    found.sort_unstable();
    found
}

#[test]
fn pages_of_new_operations_make_the_next_one_be_tried() {
    let server = Server::start(&[]);
    let ways = Work::default();
    let faults = Faults::default().count_ways(ways.clone());
    let store = open(&migrated(&server.url()).faults(faults), "space");
    for n in 0..10 {
        let _ = block_on(store.apply(page(10 * n..10 * n + 10))).unwrap();
    }
    let counted = [("script".to_owned(), 1), ("watched".to_owned(), 9)];
    assert_eq!(taken(&ways), BTreeMap::from(counted));
    // A replay is found out once.
    for n in 0..10 {
        let _ = block_on(store.apply(page(10 * n..10 * n + 10))).unwrap();
    }
    let counted = [("known".to_owned(), 1), ("script".to_owned(), 10)];
    assert_eq!(taken(&ways), BTreeMap::from(counted));
    assert_eq!(block_on(store.stats()).unwrap().head.value(), 100);
}

#[test]
fn whatever_is_not_as_expected_is_left_to_the_script() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let eager = Eager::open(&config, "space");
    let _ = eager.apply(page(0..10).set(key("k"), "v")).unwrap();
    eager.ways(&["watched"]);
    // Some are known.
    let applied = eager.apply(page(5..15)).unwrap();
    assert_eq!(applied.totals().inserted, 5);
    eager.ways(&["known", "script"]);
    // A precondition does not hold.
    let fenced = page(20..21).expect(key("k"), Some("w"));
    let error = eager.apply(fenced.clone()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    eager.ways(&["not only inserts", "script"]);
    let held = page(20..21).expect(key("k"), Some("v")).unset(key("k"));
    let _ = eager.apply(held).unwrap();
    eager.ways(&["watched"]);
    assert_eq!(block_on(eager.store.load(&key("k"))).unwrap(), None);
    // A page that replaces its own row leaves a tombstone.
    let other = Operation::new(id(30), op(30).ts, "other");
    let replacing = page(30..31).upsert(other).replacing();
    let applied = eager.apply(replacing).unwrap();
    assert_eq!(applied.totals().replaced, 1);
    eager.ways(&["not only inserts", "script"]);
    // Tombstones of other ids than the page's; then of one of them.
    let _ = eager.apply(page(40..41)).unwrap();
    eager.ways(&["tombstones", "script"]);
    let _ = eager.apply(page(41..42)).unwrap();
    eager.ways(&["watched"]);
    let gone = Delete::new(id(50), TombstoneReason::Operator).reject();
    let _ = eager.apply(Page::new().delete(gone)).unwrap();
    eager.ways(&["script"]);
    let applied = eager.apply(page(49..51).reviving()).unwrap();
    assert_eq!(applied.totals().inserted, 1);
    eager.ways(&["tombstoned", "script"]);
    // Written under another server, as after a failover: a new epoch is due.
    let before = block_on(eager.store.stats()).unwrap().epoch;
    server.run_command(&format!(
        "HSET sync:{{space}}:meta server {}",
        "0".repeat(40)
    ));
    let _ = eager.apply(page(60..61)).unwrap();
    eager.ways(&["another server", "script"]);
    assert_ne!(block_on(eager.store.stats()).unwrap().epoch, before);
    // Without the space.
    server.run_command("UNLINK sync:{space}:meta");
    for name in &KEYS[1..] {
        server.run_command(&format!("UNLINK sync:{{space}}:{name}"));
    }
    let _ = eager.apply(page(60..61)).unwrap();
    eager.ways(&["no space", "script"]);
    assert_eq!(eager.total(), 1);
    eager.is_whole();
}

#[test]
fn a_user_without_the_rights_is_left_to_the_script() {
    let server = Server::start(&[]);
    server.run_command("ACL SETUSER poor on >pw ~* &* +@all");
    let config = migrated(&format!("redis://poor:pw@127.0.0.1:{}", server.port()));
    let eager = Eager::open(&config, "space");
    let mut n = 0;
    for right in ["watch", "multi", "exec", "hmget", "zadd", "discard"] {
        server.run_command(&format!("ACL SETUSER poor -{right}"));
        let applied = eager.apply(page(n..n + 2).set(key("k"), "v"));
        let by_script = ["watch", "multi", "exec"].contains(&right);
        if by_script {
            assert_eq!(applied.unwrap().totals().inserted, 2, "-{right}");
            eager.ways(&["refused", "script"]);
        } else if right == "discard" {
            let _ = applied.unwrap();
            eager.ways(&["watched"]);
            // It ends the connection instead.
            let _ = eager.apply(page(n..n + 2)).unwrap();
            eager.ways(&["known", "script"]);
        } else {
            let error = applied.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Denied, "{}", messages(&error));
            eager.ways(&["refused", "script"]);
        }
        server.run_command(&format!("ACL SETUSER poor +{right}"));
        let _ = eager.apply(page(n + 2..n + 4)).unwrap();
        eager.ways(&["watched"]);
        eager.is_whole();
        n += 10;
    }
    // A user without the right to notify needs no script for that.
    server.run_command("ACL SETUSER poor -publish");
    let _ = eager.apply(page(n..n + 1)).unwrap();
    eager.ways(&["watched"]);
}

#[test]
fn a_server_that_takes_no_writes_takes_none_of_a_page() {
    let server = Server::start(&[]);
    let eager = Eager::open(&migrated(&server.url()), "space");
    let limits: [(&str, &str, ErrorKind); 2] = [
        (
            "CONFIG SET maxmemory 1",
            "CONFIG SET maxmemory 0",
            ErrorKind::Full,
        ),
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            ErrorKind::Full,
        ),
    ];
    for (limit, unlimited, kind) in limits {
        for boundary in ["watch", "commit"] {
            let connection = server.connection().unwrap();
            let mut words = limit.split(' ');
            let mut command = cmd(words.next().unwrap());
            words.for_each(|word| {
                command.arg(word);
            });
            eager.at(boundary, move || {
                let mut connection = connection;
                command.exec(&mut connection).unwrap();
            });
            let error = eager.apply(page(0..3).set(key("k"), "v")).unwrap_err();
            assert_eq!(error.kind(), &kind, "{}", messages(&error));
            eager.ways(&["refused", "script"]);
            server.run_command(unlimited);
            assert_eq!(eager.total(), 1);
        }
    }
    let _ = eager.apply(page(0..3)).unwrap();
    eager.ways(&["watched"]);
    eager.is_whole();
}

#[test]
fn a_foreign_key_is_met_before_anything_is_written() {
    let server = Server::start(&[]);
    let config = migrated(&server.url());
    let whole = || {
        let mut operation = whole(1);
        operation.payload = vec![b'x'; 5_000].into();
        Page::new().upsert(operation).set(key("k"), "v")
    };
    for name in KEYS {
        let space = format!("space-{name}");
        let eager = Eager::open(&config, &space);
        let name = format!("sync:{{{space}}}:{name}");
        server.run_command(&format!("UNLINK {name}"));
        server.run_command(&format!("SET {name} theirs"));
        let mut keys = cmd("KEYS");
        let keys = keys.arg(format!("sync:{{{space}}}:*")).clone();
        let before: Vec<String> = server.ask(&keys).unwrap();
        let applied = eager.apply(whole());
        let after: Vec<String> = server.ask(&keys).unwrap();
        if ["dead", "graves"]
            .iter()
            .any(|unused| name.ends_with(unused))
        {
            // It needs none of them.
            let _ = applied.unwrap();
            eager.ways(&["watched"]);
        } else {
            let error = applied.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Corrupt, "{name}: {error}");
            eager.ways(&["refused", "script"]);
            assert_eq!(before.len(), after.len(), "{name}");
        }
    }
}
