//! Who may have an operation, as far as its page shows.

use sync_hydrate::{Change, Source as _, Visibility};
use sync_mdip::Record;

use super::answer::{Changes, Snapshot, capture, history, row, signed};
use crate::generate;

/// A create in `registry`, and its DID.
fn create(registry: &str) -> (String, String) {
    let key = generate::key(&mut fastrand::Rng::with_seed(31));
    let raw = generate::agent(&key, registry);
    let cid = Record::parse(raw.as_bytes()).unwrap().cid();
    (raw, format!("did:test:{cid}"))
}

/// The visibility of the last operation of the page.
fn last(page: &Changes) -> Visibility {
    match page.read().changes.pop() {
        Some(Change::Added(added)) => added.visibility,
        other => panic!("{other:?}"),
    }
}

const REGISTRIES: [(&str, Visibility); 3] = [
    ("local", Visibility::Private),
    ("hyperswarm", Visibility::Public),
    ("Local", Visibility::Public),
];

#[test]
fn a_create_says_itself_who_may_have_it() {
    for (registry, expected) in REGISTRIES {
        let (raw, did) = create(registry);
        let page = Changes {
            operations: vec![row(1, &did, &raw)],
            ..Changes::to(1)
        };
        assert_eq!(last(&page), expected, "{registry}");
    }
}

#[test]
fn an_update_follows_the_create_in_its_page_or_in_the_history_of_its_did() {
    for (registry, expected) in REGISTRIES {
        let (raw, did) = create(registry);
        let other_prefix = did.replace("did:test", "did:mdip:test");
        let update = row(
            2,
            &did,
            &signed(&other_prefix, r#""doc":{"mdip":{"registry":"TBTC"}}"#),
        );
        let in_page = Changes {
            operations: vec![row(1, &did, &raw), update.clone()],
            ..Changes::to(2)
        };
        assert_eq!(last(&in_page), expected, "{registry}, in the page");
        let in_history = Changes {
            dids: vec![history(&did, &[&raw, &signed(&did, r#""b":1"#)])],
            operations: vec![update],
            ..Changes::to(2)
        };
        assert_eq!(last(&in_history), expected, "{registry}, in the history");
    }
}

#[test]
fn an_update_whose_create_the_page_does_not_show_is_as_its_object() {
    let (raw, did) = create("hyperswarm");
    let (_, other) = create("TBTC");
    let update = signed(
        &did,
        r#""registry":"hyperswarm","mdip":{"registry":"hyperswarm"}"#,
    );
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let histories = [
        format!(r#"{{"did":"{did}","events":[],"removed":true}}"#),
        history(&other, &[&raw]),
        history(&did, &[&update, &raw]),
        history("no did", &[&raw]),
        history(&did, &["null"]),
        history(&did, &["1e400"]),
        history(&did, &[&deep]),
        history(&did, &[r#""\ud800""#]),
        history(&did, &[&raw.replace("\"create\"", "\"\\udfff\"")]),
        format!(r#"{{"did":"{did}"}}"#),
        format!(r#"{{"did":7,"events":[{{"operation":{raw}}}]}}"#),
        format!(r#"{{"did":"{did}","events":{deep}}}"#),
        "null".to_owned(),
        "1e400".to_owned(),
        deep.clone(),
    ];
    for shown in histories {
        let page = Changes {
            dids: vec![shown.clone()],
            operations: vec![row(2, &did, &update)],
            ..Changes::to(2)
        };
        assert_eq!(last(&page), Visibility::AsItsObject, "{shown:.200}");
    }
    // A create that is not what it claims shows nothing.
    let forged = raw.replace("hyperswarm", "Hyperswarm");
    let page = Changes {
        operations: vec![row(1, &did, &forged), row(2, &did, &update)],
        ..Changes::to(2)
    };
    assert_eq!(last(&page), Visibility::AsItsObject);
}

#[test]
fn in_a_snapshot_every_operation_of_a_did_is_as_its_create() {
    for (registry, expected) in REGISTRIES {
        let (raw, did) = create(registry);
        let update = signed(&did, r#""a":1"#);
        let page = Snapshot {
            cursor: None,
            checkpoint: 2,
            more: false,
            dids: vec![history(&did, &[&raw, &update])],
        };
        let source = capture(&[page.text()]);
        let read = pollster::block_on(source.snapshot(None, 1)).unwrap();
        let visibilities = read.operations.iter().map(|operation| operation.visibility);
        assert_eq!(
            visibilities.collect::<Vec<_>>(),
            [expected; 2],
            "{registry}"
        );
    }
}
