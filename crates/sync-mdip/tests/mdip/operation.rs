use std::collections::HashSet;

use serde_json::{Value, json};
use sync_core::{OpId, SyncOrder, limits};
use sync_mdip::{Invalid, JsonError, Kind, Record, object, to_operation, to_operation_of};

use crate::generate;

const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000AB";

/// A record with a well-formed signature and these other members.
fn with(members: Value) -> String {
    let mut record = members;
    record["signature"] = json!({ "hash": HASH, "signed": "2024-06-01T10:00:00Z" });
    record.to_string()
}

fn code(raw: &str) -> &'static str {
    Record::parse(raw.as_bytes()).unwrap_err().code()
}

#[test]
fn a_record_shows_the_fields_that_decide_and_keeps_all_others_in_its_payload() {
    let raw = with(json!({
        "type": "update", "did": "did:mdip:test:z3v8", "previd": "z3v7", "controller": "did:a:b",
        "unknown": [1, { "z": null, "a": "\u{0}" }],
    }));
    let record = Record::parse(raw.as_bytes()).unwrap();
    assert_eq!(record.kind(), Kind::Update);
    assert_eq!(record.did(), Some("did:mdip:test:z3v8"));
    assert_eq!(record.previd(), Some("z3v7"));
    assert_eq!(record.controller(), Some("did:a:b"));
    assert_eq!(record.signer(), None);
    assert_eq!(record.subject(), None);
    assert_eq!(record.registry(), None);
    assert_eq!(record.ts().value(), 1_717_236_000);
    assert_eq!(record.id(), HASH.parse::<OpId>().unwrap());
    assert_eq!(
        record.payload(),
        concat!(
            r#"{"controller":"did:a:b","did":"did:mdip:test:z3v8","previd":"z3v7","signature":"#,
            r#"{"hash":"00000000000000000000000000000000000000000000000000000000000000AB","#,
            r#""signed":"2024-06-01T10:00:00Z"},"type":"update","#,
            r#""unknown":[1,{"a":"\u0000","z":null}]}"#
        )
    );
    let operation = record.into_operation(SyncOrder::new(7));
    assert_eq!(operation.sync_order, SyncOrder::new(7));
    assert_eq!(operation.object.unwrap().as_bytes(), b"z3v8");
}

#[test]
fn a_create_shows_what_it_creates_and_where() {
    let key = generate::key(&mut fastrand::Rng::with_seed(1));
    let record = Record::parse(generate::agent(&key, "TBTC").as_bytes()).unwrap();
    assert_eq!(record.kind(), Kind::Create);
    assert_eq!(record.subject(), Some("agent"));
    assert_eq!(record.registry(), Some("TBTC"));
    assert_eq!(record.object().as_bytes(), record.cid().as_bytes());
}

/// The content id was computed by JavaScript, from the canonical form parsed and written again.
#[test]
fn keys_that_are_indices_come_first_in_the_content_id_and_not_in_the_payload() {
    let raw = with(json!({
        "type": "create", "mdip": { "type": "asset", "registry": "hyperswarm" },
        "data": { "10": 1, "2": 2, "!": 3 },
    }));
    let record = Record::parse(raw.as_bytes()).unwrap();
    assert!(
        record
            .payload()
            .starts_with(br#"{"data":{"!":3,"10":1,"2":2},"mdip""#)
    );
    assert_eq!(
        record.cid(),
        "z3v8AuaaU37KTrY9Lm2qesHdynWQdLjKLfgMCXJsuX378Gxwbzt"
    );
    assert_eq!(record.object().as_bytes(), record.cid().as_bytes());
}

#[test]
fn what_is_no_operation_is_refused_by_code() {
    for other in ["null", "[]", "1", "\"create\"", "true"] {
        assert_eq!(code(other), "not_an_object");
    }
    assert_eq!(code("{}"), "missing_signature");
    assert_eq!(
        code(r#"{"signature":{"signed":"2024-06-01"}}"#),
        "missing_signature_hash"
    );
    for kind in [
        json!("CREATE"),
        json!("remove"),
        json!(""),
        json!(1),
        json!(null),
    ] {
        assert_eq!(
            code(&with(json!({ "type": kind, "did": "did:a:b" }))),
            "invalid_type"
        );
    }
    assert_eq!(code(&with(json!({ "did": "did:a:b" }))), "invalid_type");
    let long = format!("did:test:{}", "z".repeat(257));
    for did in [
        "",
        "did",
        "did:",
        "did:test:",
        "test:did:z",
        "DID:test:z",
        "did:z",
        &long,
    ] {
        for kind in ["update", "delete"] {
            assert_eq!(
                code(&with(json!({ "type": kind, "did": did }))),
                "invalid_did",
                "{did}"
            );
        }
    }
    for did in [json!(null), json!(1), json!(["did:a:b"])] {
        assert_eq!(
            code(&with(json!({ "type": "update", "did": did }))),
            "invalid_did"
        );
    }
    assert_eq!(code(&with(json!({ "type": "delete" }))), "invalid_did");
}

#[test]
fn every_code_and_message_is_its_own() {
    let all = [
        Invalid::MissingSignature,
        Invalid::MissingSignatureHash,
        Invalid::SignatureHashType,
        Invalid::SignatureHashFormat,
        Invalid::MissingSignatureSigned,
        Invalid::SignatureSignedType,
        Invalid::SignatureSignedValue,
        Invalid::Json(JsonError::Truncated),
        Invalid::NotAnObject,
        Invalid::TooLarge,
        Invalid::Type,
        Invalid::Did,
        Invalid::HashMismatch,
        Invalid::SignatureValue,
        Invalid::HighS,
        Invalid::KeyFormat,
        Invalid::KeyPoint,
        Invalid::SignatureMismatch,
    ];
    let codes = all.map(Invalid::code).into_iter().collect::<HashSet<_>>();
    let messages = all.map(|invalid| invalid.to_string());
    assert_eq!(codes.len(), all.len());
    assert_eq!(
        messages.into_iter().collect::<HashSet<_>>().len(),
        all.len()
    );
}

#[test]
fn what_has_no_canonical_form_is_refused_by_code() {
    let whole = with(json!({ "type": "update", "did": "did:a:b", "data": "DATA" }));
    assert!(Record::parse(whole.as_bytes()).is_ok());
    let data = |data: &str| whole.replace("\"DATA\"", data);
    assert_eq!(code(&data("1e400")), "json_number_range");
    assert_eq!(code(&data(&"[".repeat(10_000))), "json_too_deep");
    assert_eq!(code(&data("\"\0\"")), "json_syntax");
    assert_eq!(code(&format!("\u{feff}{whole}")), "json_syntax");
    assert_eq!(code(&whole[..whole.len() - 1]), "json_truncated");
    assert_eq!(code(""), "json_truncated");
    let mut bytes = whole.into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'D').unwrap();
    bytes[at] = 0xff;
    let error = Record::parse(&bytes).unwrap_err();
    assert_eq!(error, Invalid::Json(JsonError::NotUtf8 { at }));
    assert_eq!(error.code(), "json_not_utf8");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), format!("not UTF-8 from byte {at} on"));
}

#[test]
fn a_payload_reaches_one_mebibyte_and_not_one_byte_more() {
    let sized = |length: usize| {
        with(json!({ "type": "update", "did": "did:a:b", "data": "x".repeat(length) }))
    };
    let rest = Record::parse(sized(0).as_bytes()).unwrap().payload().len();
    let fits = Record::parse(sized(limits::PAYLOAD_BYTES - rest).as_bytes()).unwrap();
    assert_eq!(fits.payload().len(), limits::PAYLOAD_BYTES);
    assert_eq!(code(&sized(limits::PAYLOAD_BYTES - rest + 1)), "too_large");
    // The spelling does not count: the same payload fits when every character is escaped.
    let escaped = sized(limits::PAYLOAD_BYTES - rest).replace('x', "\\u0078");
    assert_eq!(
        Record::parse(escaped.as_bytes()).unwrap().payload(),
        fits.payload()
    );
}

#[test]
fn a_record_with_a_lone_surrogate_keeps_it_and_its_hash() {
    let raw = concat!(
        r#"{"type":"update","did":"did:test:z1","data":"\uD800","signature":{"hash":"#,
        r#""5d56ecbffa9e57adac2d13d4a0734cb28d965ec4c53c8a0970b06f7b58daeee2","signed":"2024-06-01T10:00:00Z"}}"#
    );
    let operation = to_operation(raw.as_bytes(), None).unwrap();
    assert!(operation.payload.starts_with(br#"{"data":"\ud800","did""#));
}

#[test]
fn the_last_of_two_signatures_is_the_signature() {
    let raw = format!(
        r#"{{"signature":null,"type":"update","did":"did:a:b","signature":{}}}"#,
        json!({ "hash": HASH, "signed": "2024-06-01" })
    );
    assert!(Record::parse(raw.as_bytes()).is_ok());
    let last = raw
        .replacen("null", "{}", 1)
        .replace("\"did\"", "\"signature\":0,\"did\"");
    assert!(Record::parse(last.as_bytes()).is_ok());
    let gone = raw.replace("}}", "},\"signature\":null}");
    assert_eq!(code(&gone), "missing_signature");
}

#[test]
fn the_object_of_a_did_is_what_follows_its_last_colon() {
    for did in ["did:test:z3v8", "did:mdip:z3v8", "did:mdip:main:z3v8"] {
        assert_eq!(object::of_did(did).unwrap().as_bytes(), b"z3v8");
    }
    let longest = "z".repeat(256);
    assert_eq!(
        object::of_did(&format!("did:a:{longest}"))
            .unwrap()
            .as_bytes(),
        longest.as_bytes()
    );
    assert_eq!(object::of_did("z3v8"), Err(Invalid::Did));
}

#[test]
fn a_kept_operation_is_read_by_the_same_rules_and_only_under_its_own_id() {
    let raw = generate::agent(&generate::key(&mut fastrand::Rng::with_seed(9)), "TBTC");
    let order = SyncOrder::new(7);
    let expected = to_operation(raw.as_bytes(), order).unwrap();
    let kept = to_operation_of(expected.id, raw.as_bytes(), order).unwrap();
    assert_eq!(kept, expected);
    let other = to_operation_of(OpId::new([7; 32]), raw.as_bytes(), order);
    assert_eq!(other, Err(Invalid::HashMismatch));
    let forged = raw.replace("TBTC", "TESS");
    let forged = to_operation_of(expected.id, forged.as_bytes(), order);
    assert_eq!(forged, Err(Invalid::HashMismatch));
}
