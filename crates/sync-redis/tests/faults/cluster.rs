//! A cluster of three.

use std::collections::BTreeSet;
use std::thread;

use pollster::block_on;
use sync_core::{
    Backend, ErrorKind, FeedCursor, Limit, Page, Payloads, SpaceName, SyncStore, TimeRange,
};
use sync_redis::redis::cmd;
use sync_redis::{RedisBackend, RedisConfig};

use crate::server::{Server, eventually};
use crate::{cursor, key, migrated, open, page};

const MANY: Limit = Limit::rows(1_000);

/// Three primaries with a third of the slots each.
fn start() -> [Server; 3] {
    let nodes = [(); 3].map(|()| Server::start(&["--cluster-enabled", "yes"]));
    for (n, node) in nodes.iter().enumerate() {
        let slots: Vec<_> = (0..16_384).filter(|slot| slot / 5_462 == n).collect();
        let mut add = cmd("CLUSTER");
        add.arg("ADDSLOTS").arg(slots);
        node.ask::<()>(&add).unwrap();
        // Without this, nodes that meet may take each other's number of configurations for theirs.
        node.run_command(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
    }
    for node in &nodes[1..] {
        node.run_command(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port()));
    }
    for node in &nodes {
        let is_whole = || {
            let mut slots = cmd("CLUSTER");
            let info: String = node.ask(slots.arg("INFO")).unwrap();
            let known: String = node.ask(cmd("CLUSTER").arg("NODES")).unwrap();
            info.contains("cluster_state:ok") && known.lines().count() == 3
        };
        assert!(eventually(is_whole));
    }
    nodes
}

fn keys_of(node: &Server, space: &str) -> Vec<String> {
    let mut keys = cmd("KEYS");
    node.ask(keys.arg(format!("sync:{{{space}}}:*"))).unwrap()
}

fn slot_of(node: &Server, space: &str) -> u16 {
    let mut slot = cmd("CLUSTER");
    node.ask(slot.arg("KEYSLOT").arg(format!("{{{space}}}")))
        .unwrap()
}

fn id_of(node: &Server) -> String {
    node.ask(cmd("CLUSTER").arg("MYID")).unwrap()
}

#[test]
fn spaces_lie_on_all_nodes_each_of_them_whole_on_one() {
    let nodes = start();
    // Any node will do, and one that answers is enough.
    let config = migrated(&nodes[1].url());
    let dead = crate::server::free_port();
    let url = format!("redis://127.0.0.1:{dead},127.0.0.1:{}", nodes[2].port());
    let other = RedisConfig::from_url(&url).unwrap();
    let names: Vec<String> = (0..24).map(|n| format!("space-{n}")).collect();
    thread::scope(|scope| {
        for name in &names {
            let config = if name.len() % 2 == 0 { &config } else { &other };
            scope.spawn(move || {
                let store = open(config, name);
                for n in 0..5 {
                    let page = page(100 * n..100 * (n + 1)).set(key("page"), n.to_string());
                    let _ = block_on(store.apply(page)).unwrap();
                }
            });
        }
    });
    let mut used = BTreeSet::new();
    for name in &names {
        let holders: Vec<_> = (0..3)
            .filter(|n| !keys_of(&nodes[*n], name).is_empty())
            .collect();
        assert_eq!(
            holders.len(),
            1,
            "nodes that have keys of {name}: {holders:?}"
        );
        used.extend(holders);
        let store = open(&config, name);
        assert_eq!(block_on(store.stats()).unwrap().total, 500);
        let keys = block_on(store.scan_keys(TimeRange::ALL, None, MANY)).unwrap();
        assert_eq!(keys.items.len(), 500);
        assert!(block_on(store.check()).unwrap().is_empty());
    }
    assert_eq!(used.len(), 3, "nodes with spaces");
    block_on(async {
        let backend = RedisBackend::connect(config).await.unwrap();
        let mut listed = Vec::new();
        loop {
            let more = backend.spaces(listed.last(), 7).await.unwrap();
            if more.is_empty() {
                break;
            }
            listed.extend(more);
        }
        let mut expected: Vec<_> = names
            .iter()
            .map(|name| SpaceName::new(name).unwrap())
            .collect();
        expected.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        assert_eq!(listed, expected);
        assert!(backend.drop_space(&expected[0]).await.unwrap());
        assert_eq!(backend.spaces(None, 100).await.unwrap(), expected[1..]);
    });
}

#[test]
fn notifications_reach_a_handle_that_listens_at_another_node() {
    let nodes = start();
    let configs = nodes.each_ref().map(|node| migrated(&node.url()));
    for n in 0..6 {
        let name = format!("space-{n}");
        let store = open(&configs[n % 3], &name);
        let waiting = store.clone();
        let waiter = thread::spawn(move || block_on(waiting.changed(FeedCursor::Beginning)));
        let _ = block_on(open(&configs[(n + 1) % 3], &name).apply(page(0..1))).unwrap();
        assert!(eventually(|| waiter.is_finished()), "{name}");
        waiter.join().unwrap().unwrap();
    }
}

/// Slot by slot, as an operator rebalances. Nothing is lost, which the space cannot know: it has a
/// new epoch.
#[test]
fn a_space_that_moves_to_another_node_is_followed() {
    let nodes = start();
    let config = migrated(&nodes[0].url());
    let store = open(&config, "moving");
    let large = (500..510).map(|n| {
        let mut operation = crate::op(n);
        operation.payload = vec![b'x'; 10_000].into();
        operation
    });
    let _ = block_on(store.apply(page(0..500).upserts(large).set(key("k"), "v"))).unwrap();
    let before = block_on(store.stats()).unwrap();
    let reader = cursor(&store);
    let from = nodes
        .iter()
        .find(|node| !keys_of(node, "moving").is_empty());
    let from = from.unwrap();
    let to = nodes
        .iter()
        .find(|node| node.port() != from.port())
        .unwrap();
    let slot = slot_of(from, "moving");
    to.run_command(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id_of(from)));
    from.run_command(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id_of(to)));
    for (n, name) in keys_of(from, "moving").iter().enumerate() {
        let mut migrate = cmd("MIGRATE");
        migrate
            .arg("127.0.0.1")
            .arg(to.port())
            .arg(name)
            .arg(0)
            .arg(5_000);
        from.ask::<()>(&migrate).unwrap();
        if n == 2 {
            // Half here and half there: a page would need both.
            let impatient = config
                .clone()
                .patience(std::time::Duration::from_millis(50));
            let store = open(&impatient, "moving");
            let error = block_on(store.apply(page(600..601))).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error}");
        }
    }
    for node in &nodes {
        node.run_command(&format!("CLUSTER SETSLOT {slot} NODE {}", id_of(to)));
    }
    // The handle that was open follows.
    let after = block_on(store.stats()).unwrap();
    assert_eq!((after.total, after.head), (before.total, before.head));
    assert_ne!(after.epoch, before.epoch);
    let error = block_on(store.feed(reader, MANY, Payloads::Skip)).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongEpoch { .. }),
        "{error}"
    );
    let _ = block_on(store.apply(page(600..610))).unwrap();
    assert!(keys_of(from, "moving").is_empty());
    assert_eq!(
        block_on(open(&config, "moving").stats()).unwrap().total,
        520
    );
    assert!(block_on(store.check()).unwrap().is_empty());
    // A node that is gone takes only its own spaces with it.
    let _ = block_on(store.apply(Page::new().set(key("k"), "w"))).unwrap();
}

#[test]
fn what_is_no_cluster_or_has_no_other_database_is_refused() {
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    let url = format!("redis://127.0.0.1:{},127.0.0.1:{}", one.port(), two.port());
    let error = block_on(RedisBackend::connect(RedisConfig::from_url(&url).unwrap()));
    assert_eq!(error.unwrap_err().kind(), &ErrorKind::Config);
    let lonely = Server::start(&["--cluster-enabled", "yes"]);
    let config = RedisConfig::from_url(&lonely.url()).unwrap();
    let error = block_on(RedisBackend::connect(config)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unavailable, "{error}");
}
