use super::*;
use crate::dump::{PayloadForm, Writer};

fn line(bytes: &[u8]) -> Line {
    Line {
        number: 7,
        bytes: bytes.to_vec(),
        unfinished: false,
    }
}

/// Writes with `write`, reads it back, and checks that it is one line.
fn through(form: PayloadForm, write: impl FnOnce(&mut Writer<Vec<u8>>)) -> (String, Record) {
    let mut writer = Writer::new(Vec::new(), form);
    write(&mut writer);
    let bytes = writer.bytes();
    let text = writer.finish().unwrap();
    assert_eq!(bytes, text.len() as u64);
    let (newline, rest) = text.split_last().unwrap();
    assert!(*newline == b'\n' && !rest.contains(&b'\n'));
    let record = parse(&line(rest)).unwrap();
    (String::from_utf8(rest.to_vec()).unwrap(), record)
}

fn operation(payload: &[u8]) -> Operation {
    Operation::new(OpId::new([0xab; 32]), Ts::MAX, payload.to_vec())
}

#[test]
fn a_payload_comes_back_byte_for_byte_in_either_form() {
    let all: Vec<u8> = (0..=255).collect();
    let payloads: [(&[u8], bool); 20] = [
        (b"", false),
        (&all, false),
        (b"\xff\xfe", false),
        (b"not json", false),
        (b"{\"a\":1,\"a\":2}", true),
        (b"1e2", true),
        (b"12345678901234567890123", true),
        (b"1e99999", true),
        (b"-0.0", true),
        (b"null", true),
        (b"true", true),
        (b"\"\\u0000\"", true),
        (b"\"\\ud800\"", true),
        (b"[ 1,\t2 ]", true),
        ("\"ü\u{2028}\"".as_bytes(), true),
        (b"{} ", false),
        (b" {}", false),
        (b"{}\n", false),
        (b"[1,\n2]", false),
        (b"[1,\r2]", false),
    ];
    for (payload, as_json) in payloads {
        let operation = operation(payload);
        let (text, record) = through(PayloadForm::Base64, |w| w.row(&operation).unwrap());
        assert_eq!(record, Record::Row(operation.clone()));
        assert!(!text.contains("payloadJson"), "{text}");
        let (text, record) = through(PayloadForm::Json, |w| w.row(&operation).unwrap());
        assert_eq!(record, Record::Row(operation));
        assert_eq!(text.contains("payloadJson"), as_json, "{text}");
    }
}

#[test]
fn the_largest_row_and_a_deeply_nested_payload_fit_a_line() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let largest = vec![b'"'; sync_store::limits::PAYLOAD_BYTES];
    let control = vec![1; sync_store::limits::OBJECT_BYTES];
    for payload in [deep, largest] {
        let operation = operation(&payload).about(Object::new(control.clone()).unwrap());
        for form in [PayloadForm::Base64, PayloadForm::Json] {
            let (text, record) = through(form, |w| w.row(&operation).unwrap());
            assert_eq!(record, Record::Row(operation.clone()));
            assert!(text.len() < crate::dump::LINE_BYTES);
        }
    }
}

#[test]
fn objects_of_any_bytes_come_back_as_text_or_base64() {
    for (bytes, member) in [
        (&b"did"[..], r#""object":"did""#),
        ("\0\"\\\u{7f}ü".as_bytes(), r#""object":"\u0000\"\\"#),
        (b"\xff\xfe", r#""objectBase64":"//4=""#),
    ] {
        let operation = operation(b"").about(Object::new(bytes).unwrap());
        let (text, record) = through(PayloadForm::Base64, |w| w.row(&operation).unwrap());
        assert_eq!(record, Record::Row(operation));
        assert!(text.contains(member), "{text}");
    }
}

#[test]
fn tombstones_state_floor_and_end_come_back() {
    let tombstone = Tombstone {
        id: OpId::new([1; 32]),
        ts: None,
        object: Some(Object::new(&b"\xff"[..]).unwrap()),
        reason: TombstoneReason::Rejected,
        source_seq: Some(SyncOrder::MAX),
        lifted: true,
    };
    let (_, record) = through(PayloadForm::Base64, |w| w.tombstone(&tombstone).unwrap());
    assert_eq!(record, Record::Tombstone(tombstone));
    for value in [&b""[..], b"text", b"\xff\0"] {
        let entry = StateEntry {
            key: StateKey::new("k\"\n ü").unwrap(),
            value: Bytes::copy_from_slice(value),
        };
        let (_, record) = through(PayloadForm::Base64, |w| w.state(&entry).unwrap());
        assert_eq!(record, Record::State(entry));
    }
    let counts = Counts {
        rows: 1,
        tombstones: 2,
        state: 3,
    };
    let (_, record) = through(PayloadForm::Base64, |w| w.end(counts).unwrap());
    assert_eq!(record, Record::End(counts));
    let (_, record) = through(PayloadForm::Base64, |w| w.floor().unwrap());
    assert_eq!(record, Record::Floor);
    let space = "a.b".parse().unwrap();
    let (_, record) = through(PayloadForm::Base64, |w| w.header(&space).unwrap());
    assert_eq!(record, Record::Header);
}

#[test]
fn members_may_come_in_any_order_and_null_is_absent() {
    let id = "ab".repeat(32);
    let text = format!(
        r#" {{ "payload" : "", "objectBase64": null, "object": null, "syncOrder": null, "ts": 9007199254740991, "id": "{id}" }} "#
    );
    let record = parse(&line(text.as_bytes())).unwrap();
    assert_eq!(record, Record::Row(operation(b"")));
}

#[test]
fn each_malformed_row_is_refused_by_a_message_that_says_what_is_wrong() {
    let id = "ab".repeat(32);
    let row = |members: &str| format!(r#"{{"id":"{id}",{members}}}"#);
    let cases = [
        (String::new(), "is empty"),
        (" \r".into(), "is empty"),
        ("x".into(), "is not a JSON object"),
        (
            format!(r#"["{id}",1,null,null,null,"",1]"#),
            "is not a JSON object",
        ),
        ("{x}".into(), "key must be a string"),
        ("{}".into(), "missing field `id`"),
        (
            format!("{}{{}}", row(r#""ts":1,"payload":"""#)),
            "trailing characters",
        ),
        (row(r#""ts":1,"payload":"""#)[..20].to_owned(), "EOF"),
        (row(r#""payload":"""#), "missing field `ts`"),
        (row(r#""ts":1"#), "payload is missing"),
        (row(r#""ts":1,"payload":null"#), "payload is missing"),
        (row(r#""ts":1,"ts":1,"payload":"""#), "duplicate field `ts`"),
        (
            row(r#""ts":1,"id":"","payload":"""#),
            "duplicate field `id`",
        ),
        (
            row(r#""ts":1,"payload":"","paylaod":"""#),
            "unknown field `paylaod`",
        ),
        (
            row(r#""ts":1,"payload":"","kind":"row""#),
            "unknown field `kind`",
        ),
        (
            row(r#""ts":"1","payload":"""#),
            "invalid type: string \"1\", expected u64",
        ),
        (row(r#""ts":1.0,"payload":"""#), "expected u64"),
        (row(r#""ts":-1,"payload":"""#), "expected u64"),
        (
            row(r#""ts":9007199254740992,"payload":"""#),
            "invalid ts: 9007199254740992",
        ),
        (
            row(r#""ts":99999999999999999999,"payload":"""#),
            "expected u64",
        ),
        (
            row(r#""ts":1,"syncOrder":9007199254740992,"payload":"""#),
            "invalid sync order",
        ),
        (row(r#""ts":1,"payload":1"#), "expected a string"),
        (row(r#""ts":1,"payload":"AA""#), "payload is not base64"),
        (row(r#""ts":1,"payload":"AB==""#), "payload is not base64"),
        (row(r#""ts":1,"payload":"A A=""#), "payload is not base64"),
        (row(r#""ts":1,"payload":"_w==""#), "payload is not base64"),
        (
            row(r#""ts":1,"payload":"","payloadJson":1"#),
            "exclude each other",
        ),
        (row(r#""ts":1,"payloadJson":1e"#), "invalid number"),
        (
            row(r#""ts":1,"payload":"","object":"""#),
            "invalid object: 0 bytes",
        ),
        (
            row(&format!(
                r#""ts":1,"payload":"","object":"{}""#,
                "x".repeat(257)
            )),
            "invalid object: 257 bytes",
        ),
        (
            row(r#""ts":1,"payload":"","object":"a","objectBase64":"YQ==""#),
            "exclude each other",
        ),
        (
            r#"{"id":"ab","ts":1,"payload":""}"#.into(),
            "is not 64 hexadecimal digits",
        ),
        (
            r#"{"id":7,"ts":1,"payload":""}"#.into(),
            "expected a string",
        ),
    ];
    refuses(cases);
}

#[test]
fn each_malformed_record_of_another_kind_is_refused_by_a_message_that_says_what_is_wrong() {
    let id = "ab".repeat(32);
    let tombstone = |members: &str| format!(r#"{{"kind":"tombstone","id":"{id}",{members}}}"#);
    let cases = [
        (r#"{"kind":"row"}"#.into(), "not one of header, floor"),
        (r#"{"kind":7}"#.into(), "expected a"),
        (r#"{"kind":"floor","x":1}"#.into(), "unknown field `x`"),
        (
            r#"{"kind":"floor","kind":"floor"}"#.into(),
            "duplicate field `kind`",
        ),
        (
            r#"{"kind":"header","format":"tar","version":1,"space":"s"}"#.into(),
            "the format is \"tar\"",
        ),
        (
            r#"{"kind":"header","format":"sync-dump","version":2,"space":"s"}"#.into(),
            "version 2",
        ),
        (
            r#"{"kind":"header","format":"sync-dump","version":1,"space":"S"}"#.into(),
            "invalid space name",
        ),
        (
            tombstone(r#""ts":1,"reason":"gone","sourceSeq":null,"lifted":false"#),
            "allowed are removed, rejected, operator",
        ),
        (
            tombstone(r#""ts":1,"reason":"removed","sourceSeq":null"#),
            "missing field `lifted`",
        ),
        (
            tombstone(r#""ts":1,"reason":"removed","sourceSeq":-1,"lifted":false"#),
            "expected u64",
        ),
        (r#"{"kind":"state","key":"k"}"#.into(), "value is missing"),
        (
            r#"{"kind":"state","key":"","value":""}"#.into(),
            "invalid state key",
        ),
        (
            r#"{"kind":"state","key":"k","value":"","valueBase64":""}"#.into(),
            "exclude each other",
        ),
        (
            r#"{"kind":"end","rows":1,"tombstones":2}"#.into(),
            "missing field `state`",
        ),
    ];
    refuses(cases);
}

fn refuses<const N: usize>(cases: [(String, &str); N]) {
    for (text, expected) in cases {
        let message = parse(&line(text.as_bytes())).unwrap_err().to_text();
        assert!(message.starts_with("error: line 7: "), "{text}: {message}");
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn a_message_is_short_however_long_the_line_is() {
    let long = "x".repeat(1 << 20);
    for text in [
        format!(r#"{{"id":"{long}","ts":1,"payload":""}}"#),
        format!(r#"{{"id":7,"{long}":1}}"#),
        format!(r#"{{"ts":"{long}"}}"#),
        format!(r#"{{"kind":"header","format":"{long}","version":1,"space":"s"}}"#),
    ] {
        let message = parse(&line(text.as_bytes())).unwrap_err().to_text();
        assert!(message.len() < 600, "{}", message.len());
    }
}

#[test]
fn a_line_without_its_newline_is_said_to_be_cut_only_where_it_cannot_be_read() {
    let id = "ab".repeat(32);
    let text = format!(r#"{{"id":"{id}","ts":9007199254740991,"payload":""}}"#);
    let unfinished = |bytes: &[u8]| Line {
        unfinished: true,
        ..line(bytes)
    };
    assert_eq!(
        parse(&unfinished(text.as_bytes())).unwrap(),
        Record::Row(operation(b""))
    );
    let message = parse(&unfinished(&text.as_bytes()[..30]))
        .unwrap_err()
        .to_text();
    assert!(message.contains("it may have been cut"), "{message}");
}
