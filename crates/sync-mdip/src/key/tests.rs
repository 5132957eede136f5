use super::*;
use crate::canonical::parse;

/// The key of an operation whose `signature` is this JSON.
fn key_of(signature: &str) -> Result<(OpId, Ts), Invalid> {
    key(Some(&parse(signature.as_bytes()).unwrap().root))
}

fn signed(date: &str) -> Result<u64, Invalid> {
    let hash = "ab".repeat(32);
    key_of(&format!(r#"{{"hash":"{hash}","signed":"{date}"}}"#)).map(|(_, ts)| ts.value())
}

#[test]
fn faults_of_the_signature_have_the_codes_of_the_deployed_system() {
    let hash = format!("\"{}\"", "ab".repeat(32));
    let with_hash = |hash: &str| format!(r#"{{"hash":{hash},"signed":"2024-06-01"}}"#);
    let with_signed = |signed: &str| format!(r#"{{"hash":{hash},"signed":{signed}}}"#);
    let code = |signature: &str| key_of(signature).unwrap_err().code();
    assert_eq!(key(None).unwrap_err().code(), "missing_signature");
    for falsy in ["null", "false", "0", "-0", "\"\""] {
        assert_eq!(code(falsy), "missing_signature", "{falsy}");
    }
    for truthy in [
        "{}",
        "[]",
        "1",
        "true",
        "\"x\"",
        &with_hash("null"),
        &with_hash("\"\""),
    ] {
        assert_eq!(code(truthy), "missing_signature_hash", "{truthy}");
    }
    for other in ["1", "false", "[]", "{}"] {
        assert_eq!(code(&with_hash(other)), "invalid_signature_hash_type");
        assert_eq!(code(&with_signed(other)), "invalid_signature_signed_type");
    }
    let long = format!("\"{}\"", "ab".repeat(33));
    for other in [
        "\"ab\"",
        "\" \"",
        &"\"zz\"".replace('z', &"z".repeat(32)),
        &long,
        "\"\\ud800\"",
    ] {
        assert_eq!(
            code(&with_hash(other)),
            "invalid_signature_hash_format",
            "{other}"
        );
    }
    for missing in ["null", "\"\""] {
        assert_eq!(code(&with_signed(missing)), "missing_signature_signed");
    }
    assert_eq!(
        code(&format!("{{\"hash\":{hash}}}")),
        "missing_signature_signed"
    );
    for other in [
        "\"yesterday\"",
        "\" \"",
        "\"1717236000\"",
        "\"\\udead\"",
        "\"2024-06-01\\u0000\"",
    ] {
        assert_eq!(
            code(&with_signed(other)),
            "invalid_signature_signed_value",
            "{other}"
        );
    }
    // The hash is looked at first.
    assert_eq!(
        code("{\"hash\":1,\"signed\":1}"),
        "invalid_signature_hash_type"
    );
}

#[test]
fn the_id_is_the_hash_in_either_case() {
    let id = |hash: &str| {
        key_of(&format!(r#"{{"hash":"{hash}","signed":"2024-06-01"}}"#))
            .unwrap()
            .0
    };
    assert_eq!(id(&"aB".repeat(32)), OpId::new([0xab; 32]));
    assert_eq!(id(&"AB".repeat(32)), id(&"ab".repeat(32)));
}

#[test]
fn the_time_is_whole_seconds_rounded_down_and_not_before_the_mdip_epoch() {
    assert_eq!(signed("2024-06-01T10:00:00.999Z"), Ok(1_717_236_000));
    assert_eq!(signed("2024-01-01T00:00:01Z"), Ok(MDIP_EPOCH + 1));
    for early in [
        "2024-01-01T00:00:00Z",
        "2023-12-31T23:59:59.999Z",
        "1969-12-31T23:59:59.999Z",
        "-271821-04-20T00:00:00Z",
    ] {
        assert_eq!(signed(early), Ok(MDIP_EPOCH), "{early}");
    }
    assert_eq!(signed("9999-12-31T23:59:59Z"), Ok(253_402_300_799));
    assert_eq!(signed("+275760-09-13T00:00:00Z"), Ok(8_640_000_000_000));
}

/// What V8's `Date.parse` answers with the time zone UTC.
#[test]
fn dates_of_the_grammar_read_as_in_javascript() {
    for (text, milliseconds) in [
        ("2024-06-01T10:00:00.123Z", 1_717_236_000_123),
        ("2024-06-01t10:00:00z", 1_717_236_000_000),
        ("2024-06-01T10:00:00.1Z", 1_717_236_000_100),
        ("2024-06-01T10:00:00.123456789Z", 1_717_236_000_123),
        ("2024-06-01T10:00:00+02:00", 1_717_228_800_000),
        ("2024-06-01T10:00:00+0200", 1_717_228_800_000),
        ("2024-06-01T10:00:00-00:00", 1_717_236_000_000),
        ("2024-06-01T10:00:00+23:59", 1_717_149_660_000),
        ("2024-06-01T10:00:00.123456+05:30", 1_717_216_200_123),
        ("2024-06-01T10:00-05:00", 1_717_254_000_000),
        ("2024-06-01T10:00Z", 1_717_236_000_000),
        ("2024-06-01T10:00:00", 1_717_236_000_000),
        ("2024-06-01T10:00", 1_717_236_000_000),
        ("2024-06T10:00Z", 1_717_236_000_000),
        ("2024T10:00Z", 1_704_103_200_000),
        ("2024-06-01", 1_717_200_000_000),
        ("2024-06", 1_717_200_000_000),
        ("2024", 1_704_067_200_000),
        ("2024-06-01T24:00:00Z", 1_717_286_400_000),
        ("2024-06-01T24:00Z", 1_717_286_400_000),
        ("2024-06-01T24:00:00.0000Z", 1_717_286_400_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("2024-02-30T00:00:00Z", 1_709_251_200_000),
        ("2023-02-29T00:00:00Z", 1_677_628_800_000),
        ("2024-04-31", 1_714_521_600_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1969-12-31T23:59:59.5+00:00", -500),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ("+000000-01-01T00:00:00Z", -62_167_219_200_000),
        ("+012024-06-01T10:00:00Z", 317_286_756_000_000),
        ("+275760-09-13T00:00:00Z", 8_640_000_000_000_000),
        ("-271821-04-20T00:00:00Z", -8_640_000_000_000_000),
        ("2024-06-01 10:00", 1_717_236_000_000),
        ("2024-06-01 10:00:00.123", 1_717_236_000_123),
        ("2024-06-01 10:00:00Z", 1_717_236_000_000),
        ("2024-06-01 10:00:00+02:00", 1_717_228_800_000),
        ("2024-06-01 10:00:00 +02:00", 1_717_228_800_000),
        ("2024-02-30 10:00", 1_709_287_200_000),
        ("Sat, 01 Jun 2024 10:00:00 GMT", 1_717_236_000_000),
        ("Sat, 1 Jun 2024 10:00:00 +0200", 1_717_228_800_000),
        ("1 Jun 2024 10:00:00 -0700", 1_717_261_200_000),
        ("1 Jun 2024 10:00 EST", 1_717_254_000_000),
        ("Sat, 01 Jun 2024 10:00:00 PDT", 1_717_261_200_000),
        ("Mon, 01 Jun 2024 10:00:00 UT", 1_717_236_000_000),
        ("sat,  01 jUN 2024 10:00:00 gmt", 1_717_236_000_000),
        ("Sat, 01 Jun 2024 10:00:00", 1_717_236_000_000),
        ("Sat, 31 Feb 2024 10:00:00 GMT", 1_709_373_600_000),
        ("Thu, 29 Feb 2023 10:00:00 GMT", 1_677_664_800_000),
    ] {
        assert_eq!(parse_date(text), Some(milliseconds), "{text}");
    }
}

/// Those marked are read by V8, each in a way of its own.
#[test]
fn dates_outside_the_grammar_are_none() {
    for text in [
        "",
        " ",
        "abc",
        "0", // V8
        "1717236000",
        "20240601",
        "2024-153",
        "2024-W22-6",
        "2024-6-1",                                 // V8
        "2024/06/01",                               // V8
        "06/01/2024",                               // V8
        "Jun 1 2024",                               // V8
        "1 Jun 2024",                               // V8
        "Sat Jun 01 2024 10:00:00 GMT+0200 (CEST)", // V8
        " 2024-06-01T10:00:00Z",
        "2024-06-01T10:00:00Z ",
        "2024-06-01T10:00:00Zjunk",
        "2024-06-01T10:00:00 Z",
        "2024-06-01T10:00:00,5Z",
        "2024-06-01T10:00:00.Z",
        "2024-06-01T10Z",
        "2024-06-01T1:00:00Z",
        "2024-06-01T",
        "2024-06-01T10:00:00+02",
        "2024-06-01T10:00:00+24:00",
        "2024-06-01T10:00:00+02:60",
        "2024-06-01T24:00:01Z",
        "2024-06-01T24:00:00.001Z",
        "2024-06-01T24:00:00.0001Z",
        "2024-06-01T24:00:01Z",
        "2024-06-01T24:01Z",
        "2024-06-01T25:00:00Z",
        "2024-06-01T10:60:00Z",
        "2024-06-01T23:59:60Z",
        "2024-06-01+02:00",
        "2024-06-01Z", // V8
        "2024-06-32",
        "0030-06-01 10:00", // V8
        "2024-06-00",
        "2024-13-01",
        "2024-00-01",
        "10000-01-01T00:00:00Z",
        "-000000-01-01T00:00:00Z",
        "+275760-09-13T00:00:00.001Z",
        "-271821-04-19T23:59:59Z",
        "+999999-01-01T00:00:00Z",
        "2024-06-01T10:00:00+0\u{660}:00",
        "२०२४-06-01",
        "\u{2212}2024-06-01",
        "Sat, 32 Jan 2024 10:00:00 GMT",
        "Sat, 0 Jan 2024 10:00:00 GMT",
        "Sat, 01 Jun 24 10:00:00 GMT",    // V8
        "Sat, 01 Jun 0024 10:00:00 GMT",  // V8
        "Sat, 01 Jun 12024 10:00:00 GMT", // V8
        "Sat, 01 Jun 2024 25:00:00 GMT",
        "Sat, 01 Jun 2024 10:00:60 GMT", // V8
        "Sat, 01 Jun 2024 10:00:00 A",
        "Sat, 01 Jun 2024 10:00:00 +02:00", // V8
        "Sat, 01 Jun 2024 10:00:00 +2400",  // V8
        "Sat,01 Jun 2024 10:00:00 GMT",     // V8
        "Xyz, 01 Jun 2024 10:00:00 GMT",    // V8
    ] {
        assert_eq!(parse_date(text), None, "{text}");
    }
}

#[test]
fn every_day_of_two_gregorian_cycles_follows_the_one_before() {
    let mut milliseconds = parse_date("1900-01-01").unwrap();
    for year in 1900..2700 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in (1..).zip(lengths) {
            for day in 1..=length {
                let date = format!("{year}-{month:02}-{day:02}");
                assert_eq!(parse_date(&date), Some(milliseconds), "{date}");
                milliseconds += 86_400_000;
            }
        }
    }
}
