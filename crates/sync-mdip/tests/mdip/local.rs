use std::collections::HashSet;

use serde_json::json;
use sync_mdip::Record;
use sync_mdip::local::{Admission, Creates, Scope, scope};

use crate::{generate, log};

fn random() -> fastrand::Rng {
    fastrand::Rng::with_seed(11)
}

fn create(registry: &str) -> Record {
    let raw = generate::agent(&generate::key(&mut random()), registry);
    Record::parse(raw.as_bytes()).unwrap()
}

/// An update of what `create` creates, which claims a registry of its own.
fn update(create: &Record, registry: &str) -> Record {
    let content = json!({
        "type": "update",
        "did": format!("did:other:prefix:{}", create.cid()),
        "doc": { "mdip": { "registry": registry } },
        "mdip": { "registry": registry },
    });
    let raw = generate::sign(&content, &generate::key(&mut random()), "2024-06-01", None);
    Record::parse(raw.as_bytes()).unwrap()
}

fn noted(records: &[&Record]) -> Creates {
    let mut creates = Creates::default();
    for record in records {
        creates.note(record);
    }
    creates
}

#[test]
fn a_did_is_local_when_its_create_says_so_and_public_in_every_other_registry() {
    assert_eq!(scope(&create("local")), Some(Scope::Local));
    for registry in ["hyperswarm", "TBTC", "Local", ""] {
        assert_eq!(scope(&create(registry)), Some(Scope::Public), "{registry}");
    }
    assert_eq!(scope(&update(&create("local"), "local")), None);
}

#[test]
fn a_create_is_judged_by_itself() {
    let empty = Creates::default();
    for stored in [false, true] {
        assert_eq!(empty.admit(&create("local"), stored), Admission::Local);
        assert_eq!(empty.admit(&create("hyperswarm"), stored), Admission::Store);
    }
}

#[test]
fn an_update_follows_its_create_in_the_page_or_its_history() {
    for claimed in ["local", "hyperswarm"] {
        let public = create("hyperswarm");
        assert_eq!(
            noted(&[&public]).admit(&update(&public, claimed), false),
            Admission::Store
        );
        let local = create("local");
        assert_eq!(
            noted(&[&local]).admit(&update(&local, claimed), false),
            Admission::Local
        );
        assert_eq!(
            noted(&[&local]).admit(&update(&local, claimed), true),
            Admission::Local
        );
    }
}

#[test]
fn an_update_whose_create_is_stored_is_stored() {
    let update = update(&create("hyperswarm"), "hyperswarm");
    assert_eq!(Creates::default().admit(&update, true), Admission::Store);
}

#[test]
fn an_update_without_its_create_is_left_out_whatever_it_says_itself() {
    let public = create("hyperswarm");
    let other = create("TBTC");
    let update = update(&public, "hyperswarm");
    // Neither another DID's create nor an update of the same DID shows anything.
    for creates in [noted(&[]), noted(&[&other]), noted(&[&update])] {
        assert_eq!(creates.admit(&update, false), Admission::Unknown);
    }
}

#[test]
fn of_a_whole_log_exactly_the_operations_on_local_dids_stay_behind() {
    let log = log::captured().unwrap_or_else(|| generate::log(4, 300));
    let records = log
        .iter()
        .map(|entry| Record::parse(entry.raw.as_bytes()).unwrap())
        .collect::<Vec<_>>();
    let creates = noted(&records.iter().collect::<Vec<_>>());
    let local = log
        .iter()
        .filter(|entry| {
            let operation: serde_json::Value = serde_json::from_str(&entry.raw).unwrap();
            operation["type"] == "create" && operation["mdip"]["registry"] == "local"
        })
        .map(|entry| entry.did.as_str())
        .collect::<HashSet<_>>();
    for (entry, record) in log.iter().zip(&records) {
        let expected = if local.contains(entry.did.as_str()) {
            Admission::Local
        } else {
            Admission::Store
        };
        assert_eq!(creates.admit(record, false), expected, "{}", entry.did);
    }
    assert!(!local.is_empty(), "a log without local DIDs");
}
