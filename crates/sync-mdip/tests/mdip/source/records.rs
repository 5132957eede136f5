//! Each record is read alone.

use sha2::{Digest as _, Sha256};
use sync_core::SyncOrder;
use sync_hydrate::{Change, InvalidRecord, Source as _};
use sync_mdip::to_operation;

use super::answer::{Changes, Snapshot, capture, history, read, removal, row, signed};
use crate::generate;

const DID: &str = "did:test:z3v8AuaObject";

/// What became of each row: its position, and `added`, `removed` or why not.
fn outcomes(changes: &[Change]) -> Vec<(Option<u64>, &str)> {
    let outcome = |change| match change {
        &Change::Added(_) => "added",
        Change::Removed { .. } => "removed",
        Change::Invalid(record) => &record.reason,
    };
    changes
        .iter()
        .map(|change| (change.seq().map(SyncOrder::value), outcome(change)))
        .collect()
}

fn good(number: u64) -> String {
    signed(DID, &format!(r#""number":{number}"#))
}

/// Operations that are none, or have oddities that make them none elsewhere.
fn odd_operations() -> Vec<(&'static str, String)> {
    let forged = good(1).replace(r#""number":1"#, r#""number":2"#);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let dated = |date: &str| good(3).replace("2024-06-01T00:00:00Z", date);
    let long = format!(r#""text":"{}""#, "x".repeat(1 << 20));
    let agent = generate::agent(&generate::key(&mut fastrand::Rng::with_seed(5)), "TBTC");
    let value = agent.find(r#""value":""#).unwrap() + 9;
    let mut unsigned = agent.clone();
    unsigned.replace_range(value..value + 8, "12345678");
    vec![
        ("added", good(0)),
        ("added", agent),
        ("added", signed(DID, r#""text":"a lone \ud800 surrogate""#)),
        (
            "added",
            good(7).replacen('{', r#"{"number":8,"type":5,"#, 1),
        ),
        ("hash_mismatch", forged),
        (
            "hash_mismatch",
            good(4).replacen("number", r#"number":4,"x"#, 1),
        ),
        ("signature_mismatch", unsigned),
        ("json_number_range", good(1).replace(":1,", ":1e400,")),
        (
            "json_too_deep",
            good(1).replace(":1,", &format!(":{deep},")),
        ),
        ("invalid_signature_signed_value", dated("Jun 1 2024")),
        ("missing_signature_signed", dated("")),
        ("too_large", signed(DID, &long)),
        ("missing_signature", "{}".to_owned()),
        ("not_an_object", "[]".to_owned()),
        ("not_an_object", "null".to_owned()),
        ("json_number_range", "1e400".to_owned()),
        ("json_too_deep", deep),
    ]
}

#[test]
fn a_bad_operation_is_one_invalid_record_of_its_page() {
    let odd = odd_operations();
    let last = 2 * odd.len() as u64;
    let mut page = Changes::to(last);
    let mut expected = Vec::new();
    for (number, (outcome, operation)) in odd.iter().enumerate() {
        let seq = 2 * number as u64 + 1;
        page.operations.push(row(seq, DID, operation));
        page.operations.push(row(seq + 1, DID, &good(seq)));
        expected.extend([(Some(seq), *outcome), (Some(seq + 1), "added")]);
    }
    let read = page.read();
    assert_eq!(outcomes(&read.changes), expected);
    assert_eq!(read.next.value(), last);
}

#[test]
fn a_bad_operation_of_a_snapshot_takes_no_other_of_its_did_with_it() {
    let odd = odd_operations();
    let operations = odd.iter().map(|(_, raw)| raw.as_str()).collect::<Vec<_>>();
    let page = Snapshot {
        cursor: None,
        checkpoint: 9,
        more: false,
        dids: vec![
            history(DID, &operations),
            "17".to_owned(),
            format!(r#"{{"did":"{DID}","events":null}}"#),
            format!(
                r#"{{"did":"{DID}","events":[{{}},{{"operation":{}}}]}}"#,
                good(5)
            ),
            format!(r#"{{"did":"{DID}","events":[],"removed":true}}"#),
        ],
    };
    let source = capture(&[page.text()]);
    let read = pollster::block_on(source.snapshot(None, 500)).unwrap();
    let (added, mut invalid): (Vec<_>, Vec<_>) =
        odd.iter().partition(|(outcome, _)| *outcome == "added");
    assert_eq!(read.operations.len(), added.len() + 1);
    let malformed = ("malformed_row", String::new());
    invalid.extend([&malformed; 3]);
    let reasons = read.invalid.iter().map(|record| record.reason.as_ref());
    assert!(reasons.eq(invalid.iter().map(|(reason, _)| *reason)));
    assert!(read.invalid.iter().all(|record| record.seq.is_none()));
}

#[test]
fn rows_that_cannot_be_read_are_invalid_by_reason_and_those_without_position_come_last() {
    let operation = good(1);
    let hash = "AB".repeat(32);
    let page = Changes {
        operations: vec![
            row(3, DID, &operation),
            row(12, DID, &operation),
            row(5, DID, &operation).replace("\"seq\":5", "\"seq\":\"5\""),
            row(5, DID, &operation).replace("\"seq\":5", "\"seq\":1e400"),
            row(5, DID, &operation).replace("\"seq\":5", "\"seq\":5.5"),
            row(5, DID, &operation).replace("\"seq\":5", "\"sec\":5"),
            row(5, DID, &operation).replace("\"seq\":5", "\"seq\":50e-1"),
            row(6, DID, &operation).replace("\"operation\"", "\"other\""),
            format!(r#"{{"seq":7,"did":"{DID}","event":[]}}"#),
            "[8]".to_owned(),
        ],
        removed: vec![
            removal(4, DID, &hash),
            removal(8, DID, "12"),
            removal(9, "z3v8", &hash),
            removal(13, DID, &hash),
            format!(r#"{{"seq":10,"did":"{DID}"}}"#),
            "null".to_owned(),
        ],
        ..Changes::to(11)
    };
    let read = page.read();
    assert_eq!(
        outcomes(&read.changes),
        [
            (Some(3), "added"),
            (Some(4), "removed"),
            (Some(5), "added"),
            (Some(6), "malformed_row"),
            (Some(7), "malformed_row"),
            (Some(8), "invalid_operation_hash"),
            (Some(9), "invalid_did"),
            (Some(10), "invalid_operation_hash"),
            (None, "seq_outside_page"),
            (None, "invalid_seq"),
            (None, "invalid_seq"),
            (None, "invalid_seq"),
            (None, "invalid_seq"),
            (None, "malformed_row"),
            (None, "seq_outside_page"),
            (None, "malformed_row"),
        ]
    );
    assert_eq!(read.next.value(), 11);
}

#[test]
fn rows_are_in_the_order_of_their_positions_and_of_equal_ones_additions_come_first() {
    let page = Changes {
        operations: [6, 1, 4].map(|seq| row(seq, DID, &good(seq))).to_vec(),
        removed: [5, 4, 2]
            .map(|seq| removal(seq, "did:a:b:z3v9", &format!("{seq:064}")))
            .to_vec(),
        ..Changes::to(6)
    };
    let read = page.read();
    assert_eq!(
        outcomes(&read.changes),
        [
            (Some(1), "added"),
            (Some(2), "removed"),
            (Some(4), "added"),
            (Some(4), "removed"),
            (Some(5), "removed"),
            (Some(6), "added"),
        ]
    );
    let Change::Removed { id, object, .. } = &read.changes[1] else {
        panic!("not a removal");
    };
    assert_eq!(id.to_string(), format!("{:064}", 2));
    assert_eq!(object.as_bytes(), b"z3v9");
}

#[test]
fn a_row_that_is_not_json_is_malformed_and_the_rows_around_it_are_not() {
    let rows = [
        row(2, DID, &good(2)).replace(":2,", ":2,,"),
        row(2, DID, &good(2)).replace(":2,", " 2,"),
        row(2, DID, &good(2)).replace("number", "num\tber"),
        row(2, DID, &good(2)).replace("number", "num\\xber"),
        row(2, DID, &good(2)).replace(":2,", ":02,"),
        row(2, DID, &good(2)).replace(":2,", ":nul,"),
        "nul".to_owned(),
        "{]".to_owned().replace(']', "\"a\"}"),
    ];
    for broken in rows {
        let page = Changes {
            operations: vec![row(1, DID, &good(1)), broken.clone(), row(3, DID, &good(3))],
            ..Changes::to(3)
        };
        let expected = [
            (Some(1), "added"),
            (Some(3), "added"),
            (None, "malformed_row"),
        ];
        assert_eq!(outcomes(&page.read().changes), expected, "{broken}");
    }
}

#[test]
fn unknown_members_are_ignored_and_of_equal_ones_the_last_counts() {
    let page = Changes {
        operations: vec![row(1, DID, &good(1))],
        ..Changes::to(1)
    };
    let text = page.text();
    let first = concat!(
        r#"{"new":{"deep":[[]]},"mode":5,"cursor":"7","operations":[1,2],"dids":{},"#,
        r#""removedOperations":"none","removedOperations":[],"\ud800":1e400,"hasMore":"no","#
    );
    let read = read(text.replacen('{', first, 1).as_bytes());
    assert_eq!(outcomes(&read.changes), [(Some(1), "added")]);
    assert_eq!(read.next.value(), 1);
}

#[test]
fn bytes_that_are_not_utf_8_make_their_record_invalid_and_no_other() {
    let lossy = |text: &str| text.replace("LATIN", "\u{FFFD}");
    let page = Changes {
        operations: vec![
            row(1, DID, &good(1)),
            row(2, DID, &signed(DID, r#""text":"LATIN""#)),
            // What stands for such bytes elsewhere is a character as any other.
            row(3, DID, &signed(DID, "\"text\":\"\u{FFFD}\"")),
            row(4, DID, &good(4)).replace("local", "LATIN"),
            row(5, "did:test:LATIN", "null").replace(":5", ":\"LATIN\""),
        ],
        removed: vec![removal(6, "did:test:LATIN", &"0".repeat(64))],
        dids: vec![history("did:test:LATIN", &["\"LATIN\""])],
        ..Changes::to(6)
    };
    let text = page.text();
    let bytes = text.split("LATIN").map(str::as_bytes).collect::<Vec<_>>();
    let read = read(&bytes.join(&b"\xfc"[..]));
    assert_eq!(
        outcomes(&read.changes),
        [
            (Some(1), "added"),
            (Some(2), "json_not_utf8"),
            (Some(3), "added"),
            (Some(4), "added"),
            (Some(6), "json_not_utf8"),
            (None, "json_not_utf8"),
        ]
    );
    let Change::Invalid(record) = &read.changes[1] else {
        panic!("not invalid");
    };
    let operation = lossy(&signed(DID, r#""text":"LATIN""#));
    assert_eq!(record.start, operation.as_bytes());

    let page = Snapshot {
        cursor: None,
        checkpoint: 9,
        more: false,
        dids: vec![history(
            DID,
            &[&good(1), &signed(DID, r#""text":"LATIN""#), &good(2)],
        )],
    };
    let text = page.text();
    let bytes = text.split("LATIN").map(str::as_bytes).collect::<Vec<_>>();
    let source = capture(&[bytes.join(&b"\xfc"[..])]);
    let read = pollster::block_on(source.snapshot(None, 500)).unwrap();
    assert_eq!(read.operations.len(), 2);
    assert_eq!(read.invalid.len(), 1);
    assert_eq!(read.invalid[0].reason, "json_not_utf8");
}

#[test]
fn of_an_invalid_record_its_beginning_is_kept_and_its_whole_is_known_by_hash() {
    let long = good(1).replace(":1,", &format!(":\"{}\",", "y".repeat(5000)));
    let page = Changes {
        operations: vec![row(1, DID, &long), row(2, "did:test:z3v9", "{\"a\": 1 }")],
        ..Changes::to(2)
    };
    let read = page.read();
    let invalid = |number: usize| match &read.changes[number] {
        Change::Invalid(record) => record.clone(),
        other => panic!("{other:?}"),
    };
    let record = invalid(0);
    assert_eq!(record.reason, "hash_mismatch");
    assert_eq!(record.start.len(), InvalidRecord::START_BYTES);
    assert!(long.as_bytes().starts_with(&record.start));
    assert_eq!(record.sha256, <[u8; 32]>::from(Sha256::digest(&long)));
    assert_eq!(record.object.unwrap().as_bytes(), b"z3v8AuaObject");
    let record = invalid(1);
    assert_eq!(record.start, &b"{\"a\": 1 }"[..]);
    assert_eq!(record.object.unwrap().as_bytes(), b"z3v9");
}

#[test]
fn a_page_of_many_records_is_read_as_each_record_would_be_alone() {
    let log = generate::log(21, 300);
    let page = Changes {
        operations: (1..)
            .zip(&log)
            .map(|(seq, entry)| row(seq, &entry.did, &entry.raw))
            .collect(),
        ..Changes::to(300)
    };
    let read = page.read();
    assert_eq!(read.changes.len(), 300);
    for ((change, entry), seq) in read.changes.iter().zip(&log).zip(1_u64..) {
        let Change::Added(added) = change else {
            panic!("{change:?}");
        };
        let seq = SyncOrder::new(seq);
        let expected = to_operation(entry.raw.as_bytes(), seq).unwrap();
        assert_eq!(added.operation, expected);
    }
    assert!(!read.spent.parse.is_zero() && !read.spent.verify.is_zero());
}
