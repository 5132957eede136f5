//! Generated logs. That their operations verify, and by which keys, is tested with the captured
//! log's.

use std::collections::{HashMap, HashSet};
use std::num::NonZero;

use serde_json::Value;
use sync_mdip::{Kind, Record};
use sync_mdip_simulator::{Change, Config, Log, Row, Shares, generate};

fn rows(config: Config) -> Vec<Row> {
    generate(config).collect()
}

fn with_threads(seed: u64, threads: usize) -> Vec<Row> {
    rows(Config {
        threads: NonZero::new(threads),
        ..Config::new(seed, 3000)
    })
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    operations: usize,
    agents: usize,
    assets: usize,
    updates: usize,
    deletes: usize,
    removals: usize,
    additions: usize,
    reorganisations: usize,
    blocks: usize,
    confirmations: usize,
    local: usize,
    rotations: usize,
    late: usize,
}

fn count(rows: &[Row]) -> Count {
    let mut count = Count::default();
    let mut log = Log::new();
    let mut removed = HashSet::new();
    let mut keys: HashMap<String, Value> = HashMap::new();
    let mut newest = String::new();
    for row in rows {
        match &row.change {
            Change::Accepted { did, event } => {
                count.operations += 1;
                let operation: Value = serde_json::from_str(event.operation()).unwrap();
                let record = Record::parse(event.operation().as_bytes()).unwrap();
                let history = log.history(did);
                if removed.contains(event.hash().unwrap()) {
                    count.additions += 1;
                } else {
                    match (record.kind(), record.subject()) {
                        (Kind::Create, Some("agent")) => count.agents += 1,
                        (Kind::Create, _) => count.assets += 1,
                        (Kind::Update, _) => count.updates += 1,
                        (Kind::Delete, _) => count.deletes += 1,
                    }
                    count.local += usize::from(operation["mdip"]["registry"] == "local");
                    check_validity(&log, did, &record);
                    let newer = history.last().and_then(|event| event.cid());
                    count.reorganisations += usize::from(record.previd() != newer);
                    let late = operation["signature"]["signed"]
                        .as_str()
                        .unwrap()
                        .to_owned();
                    count.late += usize::from(late < newest);
                    newest = newest.max(late);
                }
                let key = match record.kind() {
                    Kind::Create => &operation["publicJwk"],
                    _ => &operation["doc"]["didDocument"]["verificationMethod"][0]["publicKeyJwk"],
                };
                if key.is_object() {
                    let before = keys.insert(did.clone(), key.clone());
                    count.rotations += usize::from(before.is_some_and(|before| before != *key));
                }
            }
            Change::Removed { hash, .. } => {
                count.removals += 1;
                removed.insert(hash.clone());
            }
            Change::Confirmed { did, .. } => {
                count.confirmations += 1;
                assert!(!log.history(did).is_empty(), "{did}");
            }
            Change::Block { .. } => count.blocks += 1,
            other => panic!("{other:?}"),
        }
        log.push_row(row.clone()).unwrap();
    }
    count
}

/// A change follows an operation that its DID has, and whoever signs for another DID is there and
/// active.
fn check_validity(log: &Log, did: &str, record: &Record) {
    if let Some(previd) = record.previd() {
        let mut history = log.history(did).iter();
        assert!(history.any(|event| event.cid() == Some(previd)));
    }
    let signer = record.signer().unwrap_or(did);
    if signer != did {
        let last = log.history(signer).last().unwrap();
        let last = Record::parse(last.operation().as_bytes()).unwrap();
        assert_ne!(last.kind(), Kind::Delete);
    }
}

#[test]
fn a_seed_makes_one_log_whatever_the_number_of_threads() {
    let log = with_threads(1, 1);
    for threads in [2, 3, 8] {
        assert!(with_threads(1, threads) == log, "{threads} threads");
    }
}

#[test]
fn another_seed_makes_another_log() {
    let (one, two) = (with_threads(1, 2), with_threads(2, 2));
    let operations = |rows| crate::operations(rows).into_iter().map(|(_, raw)| raw);
    let one = operations(&one).collect::<HashSet<_>>();
    assert!(operations(&two).all(|raw| !one.contains(&raw)));
    let epoch = |seed| generate(Config::new(seed, 1)).epoch();
    assert!(epoch(1) == epoch(1) && epoch(1) != epoch(2));
    let parts = epoch(1).split('-').map(str::len).collect::<Vec<_>>();
    assert_eq!(parts, [8, 4, 4, 4, 12]);
}

#[test]
fn a_generated_log_has_everything_that_is_configured() {
    let count = count(&rows(Config::new(3, 3000)));
    crate::say(&format!("{count:?}"));
    assert_eq!(count.operations, 3000);
    let Count {
        agents,
        assets,
        updates,
        deletes,
        removals,
        additions,
        reorganisations,
        blocks,
        confirmations,
        local,
        rotations,
        late,
        ..
    } = count;
    for happened in [
        agents,
        assets,
        updates,
        deletes,
        removals,
        additions,
        reorganisations,
        blocks,
        confirmations,
        local,
        rotations,
        late,
    ] {
        assert!(happened > 0);
    }
}

#[test]
fn what_has_no_share_does_not_happen() {
    let shares = Shares {
        deletes: 0,
        removals: 0,
        additions: 0,
        reorganisations: 0,
        blocks: 0,
        confirmations: 0,
        local: 0,
        rotations: 0,
        late: 0,
        ..Shares::default()
    };
    let config = Config {
        shares,
        ..Config::new(4, 1000)
    };
    let Count {
        agents,
        assets,
        updates,
        ..
    } = count(&rows(config.clone()));
    assert_eq!(agents + assets + updates, 1000);
    let expected = Count {
        operations: 1000,
        agents,
        assets,
        updates,
        ..Count::default()
    };
    assert_eq!(count(&rows(config)), expected);
}

#[test]
fn shares_of_nothing_but_what_needs_a_did_still_make_the_operations_asked_for() {
    let none = Shares {
        agents: 0,
        assets: 0,
        updates: 0,
        deletes: 0,
        removals: 0,
        additions: 0,
        reorganisations: 0,
        blocks: 0,
        confirmations: 0,
        ..Shares::default()
    };
    let only = |change: fn(&mut Shares)| {
        let mut shares = none.clone();
        change(&mut shares);
        shares
    };
    for shares in [
        none.clone(),
        only(|shares| shares.blocks = 1),
        only(|shares| shares.additions = 1),
        only(|shares| shares.updates = 1),
        only(|shares| (shares.removals, shares.additions) = (1, 1)),
    ] {
        let config = Config {
            shares,
            ..Config::new(5, 40)
        };
        assert_eq!(count(&rows(config)).operations, 40);
    }
}

#[test]
fn a_removal_has_one_row_for_each_event_of_its_did_all_in_sequence() {
    let rows = rows(Config::new(6, 3000));
    let mut log = Log::new();
    let mut removals = 0;
    let mut left = rows.as_slice();
    while let [row, rest @ ..] = left {
        left = rest;
        if let Change::Removed { did, .. } = &row.change {
            removals += 1;
            let history = log.history(did).to_vec();
            let (removal, after) = left.split_at(history.len() - 1);
            left = after;
            let hashes = std::iter::once(row)
                .chain(removal)
                .map(|row| match &row.change {
                    Change::Removed { did: own, hash } if own == did => hash.as_str(),
                    other => panic!("{other:?}"),
                });
            assert!(hashes.eq(history.iter().map(|event| event.hash().unwrap())));
            for row in std::iter::once(row).chain(removal) {
                log.push_row(row.clone()).unwrap();
            }
        } else {
            log.push_row(row.clone()).unwrap();
        }
    }
    assert!(removals > 10);
}

#[test]
fn the_newest_position_is_known_before_the_log_is_made() {
    for operations in [0, 1, 100, 5000] {
        let mut log = generate(Config::new(7, operations));
        let newest = log.newest();
        assert_eq!(
            log.by_ref().take(50).count().min(1),
            usize::from(operations > 0)
        );
        assert_eq!(log.newest(), newest);
        let seqs = log.map(|row| row.seq).collect::<Vec<_>>();
        let begin = newest.min(50) + 1;
        assert_eq!(seqs, (begin..=newest).collect::<Vec<_>>());
    }
}
