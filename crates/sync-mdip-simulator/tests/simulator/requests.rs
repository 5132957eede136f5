//! What a log says to requests, good and bad.

use serde_json::{Value, json};
use sync_mdip_simulator::{Change, Event, Log};

fn ask(log: &Log, request: Value) -> Result<Value, String> {
    match log.export(request.to_string().as_bytes()) {
        Ok(answer) => Ok(serde_json::from_str(&answer).unwrap()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn changes(log: &Log, cursor: &str) -> Value {
    let request = json!({ "mode": "changes", "cursor": cursor, "includeOperations": true });
    ask(log, request).unwrap()
}

fn seqs(answer: &Value, part: &str) -> Vec<u64> {
    let rows = answer[part].as_array().into_iter().flatten();
    rows.map(|row| row["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_request_is_refused_in_the_words_of_the_deployed_gatekeeper() {
    let object = "request body must be an object";
    let mode = r#"mode must be "snapshot" or "changes""#;
    let limit = "limit must be a positive integer";
    let operations = "includeOperations must be a boolean";
    let table = [
        (json!([]), object),
        (json!("snapshot"), object),
        (json!(null), object),
        (json!({}), mode),
        (json!({ "mode": "Snapshot" }), mode),
        (json!({ "mode": 1, "limit": 0 }), mode),
        (
            json!({ "mode": "changes", "cursor": 1 }),
            "cursor must be a string or null",
        ),
        (
            json!({ "mode": "snapshot", "cursor": [] }),
            "cursor must be a string or null",
        ),
        (
            json!({ "mode": "snapshot", "cursor": "z", "checkpointCursor": 7 }),
            "checkpointCursor must be a string or null",
        ),
        (
            json!({ "mode": "snapshot", "cursor": "z" }),
            "checkpointCursor is required when continuing a snapshot",
        ),
        (
            json!({ "mode": "snapshot", "cursor": "z", "checkpointCursor": "" }),
            "checkpointCursor is required when continuing a snapshot",
        ),
        (
            json!({ "mode": "snapshot", "cursor": "", "checkpointCursor": "7" }),
            "checkpointCursor is only valid when continuing a snapshot",
        ),
        (json!({ "mode": "changes", "limit": 0 }), limit),
        (json!({ "mode": "snapshot", "limit": -1 }), limit),
        (json!({ "mode": "changes", "limit": 1.5 }), limit),
        (json!({ "mode": "changes", "limit": "x" }), limit),
        (json!({ "mode": "changes", "limit": true }), limit),
        (
            json!({ "mode": "changes", "includeOperations": 1 }),
            operations,
        ),
        (
            json!({ "mode": "changes", "includeOperations": "yes" }),
            operations,
        ),
    ];
    for (request, text) in table {
        assert_eq!(
            ask(&Log::new(), request.clone()),
            Err(text.to_owned()),
            "{request}"
        );
    }
    assert_eq!(Log::new().export(b"{").unwrap_err().to_string(), object);
}

#[test]
fn limits_are_500_unless_told_and_5000_at_most() {
    let mut log = Log::new();
    for _ in 0..5001 {
        log.block();
    }
    let table = [
        (json!(null), "500"),
        (json!(7), "7"),
        (json!("7 rows"), "7"),
        (json!(2.0), "2"),
        (json!(5001), "5000"),
        (json!(1e300), "5000"),
    ];
    for (limit, cursor) in table {
        let answer = ask(&log, json!({ "mode": "changes", "limit": limit })).unwrap();
        assert_eq!(answer["cursor"], cursor, "{limit}");
        assert_eq!(answer["hasMore"], true);
    }
}

#[test]
fn an_empty_log_answers_as_an_empty_gatekeeper() {
    let mut log = Log::new();
    log.set_epoch("e");
    let snapshot = log.export(br#"{"mode":"snapshot","cursor":null,"limit":500}"#);
    assert_eq!(
        snapshot.unwrap(),
        r#"{"mode":"snapshot","indexEpoch":"e","cursor":null,"checkpointCursor":"0","hasMore":false,"dids":[],"blocks":[]}"#
    );
    let changes = log.export(br#"{"mode":"changes","cursor":"9","includeOperations":"true"}"#);
    assert_eq!(
        changes.unwrap(),
        r#"{"mode":"changes","indexEpoch":"e","cursor":"9","checkpointCursor":"0","hasMore":false,"dids":[],"blocks":[],"operations":[]}"#
    );
    let without = log.export(br#"{"mode":"changes"}"#).unwrap();
    assert!(without.ends_with(
        r#""cursor":null,"checkpointCursor":"0","hasMore":false,"dids":[],"blocks":[]}"#
    ));
}

#[test]
fn a_cursor_that_is_no_position_reads_the_log_from_its_beginning() {
    let mut log = Log::new();
    log.create("hyperswarm");
    log.create("hyperswarm");
    for cursor in ["", "x", "-3", "0"] {
        assert_eq!(
            seqs(&changes(&log, cursor), "operations"),
            [1, 2],
            "{cursor}"
        );
    }
    assert_eq!(seqs(&changes(&log, "1abc"), "operations"), [2]);
}

#[test]
fn rows_without_operations_move_the_cursor_and_leave_gaps() {
    let mut log = Log::new();
    let did = log.create("hyperswarm");
    log.block();
    log.update(&did).unwrap();
    log.confirm(&did);
    let answer = changes(&log, "0");
    assert_eq!(seqs(&answer, "operations"), [1, 3]);
    assert_eq!(answer["cursor"], "4");
    assert_eq!(answer["blocks"].as_array().unwrap().len(), 1);
    assert_eq!(answer["dids"].as_array().unwrap().len(), 1);
    assert_eq!(answer["dids"][0]["events"].as_array().unwrap().len(), 2);
    assert!(answer.get("removedOperations").is_none());
}

#[test]
fn a_removal_shows_a_row_for_each_event_and_an_addition_accepts_them_again() {
    let mut log = Log::new();
    let agent = log.create("hyperswarm");
    let asset = log.create_asset(&agent, "TBTC").unwrap();
    log.update(&asset).unwrap();
    assert_eq!(log.remove(&asset), [4, 5]);
    let answer = changes(&log, "3");
    assert_eq!(seqs(&answer, "removedOperations"), [4, 5]);
    assert_eq!(
        answer["dids"],
        json!([{ "did": asset, "events": [], "removed": true }])
    );
    assert_eq!(log.remove(&asset), [0_u64; 0]);
    assert_eq!(log.update(&asset), None);

    assert_eq!(log.add_again(&asset, 1), [6]);
    assert_eq!(log.add_again(&asset, 1), [0_u64; 0]);
    let answer = changes(&log, "0");
    let hash = |seq: u64| {
        let operations = answer["operations"].as_array().unwrap();
        let row = operations.iter().find(|row| row["seq"] == seq).unwrap();
        row["operationHash"].clone()
    };
    assert_eq!(hash(2), hash(6));
    assert_eq!(log.history(&asset).len(), 1);
    assert_eq!(log.update(&asset), Some(7));
}

#[test]
fn a_reorganisation_shows_the_winner_and_nothing_of_what_it_displaced() {
    let mut log = Log::new();
    let did = log.create("hyperswarm");
    log.update(&did).unwrap();
    let displaced = log.history(&did)[1].clone();
    assert_eq!(log.reorganise(&did, 2), None);
    assert_eq!(log.reorganise(&did, 1), Some(3));
    let answer = changes(&log, "2");
    assert_eq!(seqs(&answer, "operations"), [3]);
    assert!(answer.get("removedOperations").is_none());
    assert_eq!(log.history(&did).len(), 2);
    assert!(!log.history(&did).contains(&displaced));
    assert_eq!(log.delete(&did), Some(4));
}

#[test]
fn a_hidden_row_and_what_it_does_are_unseen_until_it_is_shown() {
    let mut log = Log::new();
    let did = log.create("hyperswarm");
    let seq = log.update(&did).unwrap();
    log.create("hyperswarm");
    assert!(log.hide(seq));
    assert_eq!(seqs(&changes(&log, "0"), "operations"), [1, 3]);
    assert_eq!(log.history(&did).len(), 1);
    assert!(log.hide(3));
    assert_eq!(changes(&log, "0")["checkpointCursor"], "1");
    assert_eq!(log.dids().count(), 1);
    assert!(log.show(3) && log.show(seq) && !log.show(seq));
    assert_eq!(seqs(&changes(&log, "0"), "operations"), [1, 2, 3]);
    assert_eq!(log.history(&did).len(), 2);
    assert!(!log.hide(9));
}

#[test]
fn a_rewound_log_goes_on_with_other_operations_under_its_epoch() {
    let mut log = Log::new();
    let first = log.create("hyperswarm");
    let lost = log.create("hyperswarm");
    let epoch = log.epoch().to_owned();
    log.rewind(1);
    assert_eq!(log.newest(), 1);
    let other = log.create("hyperswarm");
    assert_ne!(lost, other);
    assert_eq!(log.newest(), 2);
    let dids = log.dids().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(dids, [first.as_str(), other.as_str()].into());
    assert_eq!(log.epoch(), epoch);

    log.reset();
    assert_ne!(log.epoch(), epoch);
    assert_ne!(log.epoch(), Log::new().epoch());
    assert_eq!((log.newest(), log.dids().count()), (0, 0));
    assert_eq!(log.update(&first), None);
}

#[test]
fn a_removal_that_names_another_dids_operation_removes_nothing() {
    let mut log = Log::new();
    let (one, other) = (log.create("hyperswarm"), log.create("hyperswarm"));
    let hash = log.history(&other)[0].hash().unwrap().to_ascii_uppercase();
    log.push(Change::Removed { did: one, hash });
    let answer = changes(&log, "2");
    assert_eq!(seqs(&answer, "removedOperations"), [3]);
    assert_eq!(log.dids().count(), 2);
}

#[test]
fn rows_of_anything_are_served_as_they_are() {
    let mut log = Log::new();
    let raw = r#"{"seq":"one","event":1e400}"#.to_owned();
    log.push(Change::Raw { json: raw.clone() });
    let did = "did:test:z3v8";
    let event = Event::of_operation(did, "2024-02-01", r#"{ "signature": 7, "x": 1.0 }"#).unwrap();
    assert_eq!((event.hash(), event.cid()), (None, None));
    let did = did.to_owned();
    log.push(Change::Accepted { did, event });
    let answer = log
        .export(br#"{"mode":"changes","includeOperations":true}"#)
        .unwrap();
    let expected = r#"{"seq":2,"did":"did:test:z3v8","event":{"registry":"local","time":"2024-02-01","ordinal":[0],"operation":{ "signature": 7, "x": 1.0 },"did":"did:test:z3v8"}}"#;
    assert!(
        answer.ends_with(&format!(r#""operations":[{raw},{expected}]}}"#)),
        "{answer}"
    );
    let row = |seq| sync_mdip_simulator::Row {
        seq,
        change: Change::Raw {
            json: String::new(),
        },
    };
    assert!(log.push_row(row(2)).is_err());
    assert!(log.push_row(row(9)).is_ok());
    assert_eq!(log.newest(), 9);
}
