//! Opening, reading at the head, and a reset cost the same in a small and in a large space.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pollster::block_on;
use sync_core::{
    Backend, FeedCursor, Limit, OpId, Operation, Page, Payloads, SpaceName, StateKey, SyncOrder,
    SyncState, SyncStore, Ts,
};
use sync_sqlite::fault::{Cost, Work};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig};

const SMALL: u64 = 1_000;
const LARGE: u64 = 200_000;

/// What the statements of one step cost, by their text.
type Costs = BTreeMap<String, Cost>;

fn space() -> SpaceName {
    SpaceName::new("s").unwrap()
}

fn operation(n: u64) -> Operation {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let payload = format!("the payload of operation {n}");
    Operation::new(OpId::new(id), Ts::new(n % 1_000).unwrap(), payload)
        .at(SyncOrder::new(n + 1).unwrap())
}

fn filled(dir: &Path, rows: u64) -> SqliteConfig {
    let config = SqliteConfig::new(dir.join(format!("{rows}.db"))).durability(Durability::Process);
    let _ = block_on(SqliteBackend::migrate(&config)).unwrap();
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    let store = block_on(backend.open(&space())).unwrap();
    let mut from = 0;
    while from < rows {
        let upto = rows.min(from + 50_000);
        let page = Page::new().upserts((from..upto).map(operation));
        let _ = block_on(store.apply(page.set(cursor(), upto.to_string()))).unwrap();
        from = upto;
    }
    assert_eq!(block_on(store.stats()).unwrap().total, rows);
    config
}

fn cursor() -> StateKey {
    StateKey::new("cursor").unwrap()
}

/// What each step costs in the space of `config`.
fn costs(config: SqliteConfig, rows: u64) -> Vec<(&'static str, Costs)> {
    let work = Work::default();
    // The page's own statements, without those of the sweep that begins behind it.
    let reset = Arc::new(Mutex::new(None));
    let config = config.count_work(work.clone()).on_boundary({
        let (work, reset) = (work.clone(), Arc::clone(&reset));
        Arc::new(move |boundary| {
            if boundary == "committed" {
                *reset.lock().unwrap() = Some(work.take());
            }
            Ok(())
        })
    });
    let mut costs = Vec::new();
    let backend = block_on(SqliteBackend::connect(config)).unwrap();
    costs.push(("connect", work.take()));
    let store = block_on(backend.open(&space())).unwrap();
    costs.push(("open", work.take()));
    let stats = block_on(store.stats()).unwrap();
    assert_eq!(stats.total, rows);
    costs.push(("stats", work.take()));
    let head = FeedCursor::After {
        epoch: stats.epoch.unwrap(),
        floor: stats.floor,
        seq: stats.head,
    };
    let page = block_on(store.feed(head, Limit::rows(1_000), Payloads::Include)).unwrap();
    assert!(page.entries.is_empty());
    costs.push(("feed at the head", work.take()));
    let value = block_on(store.load(&cursor())).unwrap();
    costs.push(("load", work.take()));
    let page = Page::new()
        .expect(cursor(), value)
        .reset()
        .set(cursor(), "0");
    let _ = block_on(store.apply(page)).unwrap();
    let reset = reset.lock().unwrap().take().unwrap();
    costs.push(("reset", reset));
    assert_eq!(block_on(store.stats()).unwrap().total, 0);
    costs
}

#[test]
fn opening_and_reset_cost_the_same_with_1_000_and_with_200_000_rows() {
    let dir = tempfile::tempdir().unwrap();
    let large = filled(dir.path(), LARGE);
    let schema = Connection::open(large.path()).unwrap();
    let small = costs(filled(dir.path(), SMALL), SMALL);
    let large = costs(large, LARGE);
    println!("{SMALL:>9} {LARGE:>9}  rows, and the steps of each statement");
    for ((step, small), (_, large)) in small.iter().zip(&large) {
        println!("{step}");
        for text in small
            .keys()
            .chain(large.keys().filter(|text| !small.contains_key(*text)))
        {
            let [small, large] =
                [small, large].map(|costs| costs.get(text).copied().unwrap_or_default());
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            println!("{:>9} {:>9}  {line}", small.units, large.units);
        }
        assert_eq!(small, large, "{step}");
        for text in small.keys() {
            has_no_hidden_walk(&schema, text);
        }
    }
    let ran = |step: usize| {
        small
            .get(step)
            .unwrap()
            .1
            .values()
            .map(|cost| cost.runs)
            .sum::<u64>()
    };
    assert_eq!(ran(1), 0, "opening a space asks the file nothing");
    assert!(
        ran(2) > 0 && ran(3) > 0 && ran(5) > 3,
        "statements were not counted"
    );
}

#[test]
fn a_page_of_state_costs_the_same_wherever_it_begins() {
    const KEYS: u32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let work = Work::default();
    let config = filled(dir.path(), 1).count_work(work.clone());
    let backend = block_on(SqliteBackend::connect(config)).unwrap();
    let store = block_on(backend.open(&space())).unwrap();
    for prefix in ["a", "b", "c"] {
        let keys = (0..KEYS).map(|n| StateKey::new(&format!("{prefix}{n:04}")).unwrap());
        let page = keys.fold(Page::new(), |page, key| page.set(key, "value"));
        let _ = block_on(store.apply(page)).unwrap();
    }
    let steps = |prefix: &str, after: Option<&str>| {
        let after = after.map(|key| StateKey::new(key).unwrap());
        let _ = work.take();
        let page = block_on(store.list(prefix, after.as_ref(), Limit::rows(10))).unwrap();
        assert_eq!(page.items.len(), 10);
        let first = after.map_or_else(|| format!("{prefix}0000"), |_| format!("{prefix}0901"));
        assert_eq!(page.items[0].key.as_str(), first);
        work.take().values().map(|cost| cost.units).sum::<u64>()
    };
    let first = steps("a", None);
    for (what, steps) in [
        ("behind other keys", steps("c", None)),
        ("late in the walk", steps("a", Some("a0900"))),
        ("late, behind other keys", steps("c", Some("c0900"))),
    ] {
        assert!(steps < 2 * first, "{what}: {steps} steps, {first} at first");
    }
}

/// Two instructions of SQLite's machine go over a whole table in one step. The list of tables is
/// the only one that may be counted so.
fn has_no_hidden_walk(schema: &Connection, text: &str) {
    if text.contains("sqlite_schema") {
        return;
    }
    let mut explain = schema.prepare(&format!("EXPLAIN {text}")).unwrap();
    let mut rows = explain.raw_query();
    while let Some(row) = rows.next().unwrap() {
        let instruction: String = row.get(1).unwrap();
        assert!(instruction != "Count" && instruction != "Clear", "{text}");
    }
}
