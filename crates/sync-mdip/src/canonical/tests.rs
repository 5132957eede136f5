use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn canonical(raw: &str) -> String {
    String::from_utf8(canonicalize(raw.as_bytes()).unwrap()).unwrap()
}

fn refusal(raw: impl AsRef<[u8]>) -> JsonError {
    canonicalize(raw.as_ref()).unwrap_err()
}

#[test]
fn the_sample_of_rfc_8785_section_3_2_2_comes_out_as_printed() {
    let raw = r#"{
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
    }"#;
    let printed = concat!(
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#,
        r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
    );
    assert_eq!(canonical(raw), printed);
}

#[test]
fn keys_sort_by_utf_16_code_units_as_in_rfc_8785_section_3_2_3() {
    let raw = r#"{
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\ud83d\ude00": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let printed = concat!(
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",",
        "\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",",
        "\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
    );
    assert_eq!(canonical(raw), printed);
}

#[test]
fn numbers_come_out_as_in_rfc_8785_appendix_b() {
    let table: [(u64, &str); 24] = [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ];
    for (bits, printed) in table {
        assert_eq!(canonical(&format!("{:e}", f64::from_bits(bits))), printed);
        assert_eq!(canonical(printed), printed);
    }
}

#[test]
fn numbers_round_to_the_nearest_double_as_javascript_rounds_them() {
    for (raw, printed) in [
        ("9007199254740993", "9007199254740992"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
        ("-1e-400", "0"),
        ("0e99999999999999999999", "0"),
        ("1e-99999999999999999999", "0"),
        ("2e-324", "0"),
        ("3e-324", "5e-324"),
        ("-0.0", "0"),
        ("1.0", "1"),
        ("10E-1", "1"),
    ] {
        assert_eq!(canonical(raw), printed, "{raw}");
    }
    assert_eq!(
        canonical(&format!("0.{}", "1".repeat(100_000))),
        "0.1111111111111111"
    );
}

#[test]
fn a_number_beyond_a_double_is_refused_where_it_stands() {
    for (raw, at) in [
        ("1e400", 0),
        ("[0,-1e400]", 3),
        ("1e99999999999999999999", 0),
    ] {
        assert_eq!(refusal(raw), JsonError::NumberRange { at }, "{raw}");
    }
    assert_eq!(refusal("1".repeat(400)), JsonError::NumberRange { at: 0 });
}

#[test]
fn the_last_of_equal_keys_counts_however_they_are_spelt() {
    assert_eq!(canonical(r#"{"a":1,"b":2,"a":3}"#), r#"{"a":3,"b":2}"#);
    assert_eq!(
        canonical(r#"{"a":1,"\u0061":[2],"a":{"x":0,"x":1}}"#),
        r#"{"a":{"x":1}}"#
    );
    assert_eq!(canonical(r#"{"\ud800":1,"\uD800":2}"#), r#"{"\ud800":2}"#);
    assert_eq!(
        canonical(r#"{"__proto__":1,"__proto__":2}"#),
        r#"{"__proto__":2}"#
    );
}

#[test]
fn lone_surrogates_stay_as_escapes_and_pairs_become_characters() {
    for (raw, printed) in [
        (r#""\uD800""#, r#""\ud800""#),
        (r#""\udead\ud83d\ude00""#, r#""\udead😀""#),
        (r#""\ud83d\ud83d\ude00""#, r#""\ud83d😀""#),
        (r#""\ude00\ud83d""#, r#""\ude00\ud83d""#),
        (r#""a\ud83d\n\ude00é""#, r#""a\ud83d\n\ude00é""#),
        (r#""\ud83d\u0041""#, r#""\ud83dA""#),
        (r#""\ud83d😀""#, r#""\ud83d😀""#),
    ] {
        assert_eq!(canonical(raw), printed);
    }
    assert_eq!(
        canonical(r#"{"\ue000":4,"\ud83d\ude00":3,"\ud800z":2,"\ud800":1}"#),
        "{\"\\ud800\":1,\"\\ud800z\":2,\"😀\":3,\"\u{e000}\":4}"
    );
}

#[test]
fn control_characters_are_escaped_and_nothing_else_is() {
    assert_eq!(
        canonical("\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001F \\/\u{7f}\u{2028}é\""),
        "\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f /\u{7f}\u{2028}é\""
    );
}

#[test]
fn what_json_does_not_allow_is_refused_where_it_stands() {
    for (raw, at) in [
        ("\u{feff}{}", 0),
        ("{} {}", 3),
        ("01", 1),
        (".5", 0),
        ("+1", 0),
        ("1.e1", 2),
        ("1e+x", 3),
        ("-a", 1),
        ("NaN", 0),
        ("trUe", 2),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("{\"a\" 1}", 5),
        ("'a'", 0),
        ("\"\t\"", 1),
        ("\"a\0b\"", 2),
        ("\"\\x\"", 2),
        ("\"\\u00g0\"", 5),
        ("\"\\ud83d\\u00g0\"", 11),
        ("\u{a0}1", 0),
        ("/**/1", 0),
    ] {
        assert_eq!(refusal(raw), JsonError::Syntax { at }, "{raw:?}");
    }
}

#[test]
fn json_cut_anywhere_is_truncated() {
    let whole = r#"{"a":[true,null,-1.5e+3,"\u00e9\n"],"b":{}}"#;
    assert!(canonicalize(whole.as_bytes()).is_ok());
    for length in 0..whole.len() {
        assert_eq!(refusal(&whole[..length]), JsonError::Truncated, "{length}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_where_they_stand() {
    assert_eq!(refusal(b"\"a\xff\""), JsonError::NotUtf8 { at: 2 });
    assert_eq!(refusal(b"\"\xed\xa0\x80\""), JsonError::NotUtf8 { at: 1 });
    assert_eq!(refusal(b"\xff\xfe{\0}\0"), JsonError::NotUtf8 { at: 0 });
}

#[test]
fn nesting_ends_at_the_limit_and_never_in_the_stack() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(canonical(&nested(NESTING)), nested(NESTING));
    assert_eq!(
        refusal(nested(NESTING + 1)),
        JsonError::TooDeep { at: NESTING }
    );
    assert_eq!(refusal(nested(10_000)), JsonError::TooDeep { at: NESTING });
    assert_eq!(
        refusal("{\"a\":".repeat(10_000)),
        JsonError::TooDeep { at: 5 * NESTING }
    );
    // Siblings do not count as depth.
    let siblings = format!("[{}[]]", "[],".repeat(1000));
    assert_eq!(canonical(&siblings), siblings);
}

#[test]
fn sizes_are_bounded_before_memory_is_spent() {
    assert_eq!(refusal(vec![b' '; RAW_BYTES + 1]), JsonError::TooLarge);
    let zeros = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    assert!(canonicalize(zeros(VALUES - 1).as_bytes()).is_ok());
    assert_eq!(refusal(zeros(VALUES)), JsonError::TooLarge);
}

#[test]
fn javascript_lists_index_keys_first_and_by_number() {
    let raw = concat!(
        r#"{"!":0,"01":1,"1":2,"10":3,"2":4,"-1":5,"4294967294":6,"4294967295":7,"0":8,"a":"#,
        r#"[{"b":1,"3":2}],"9007199254740991":9}"#
    );
    let document = parse(raw.as_bytes()).unwrap();
    assert!(document.has_index_keys);
    let listed = concat!(
        r#"{"0":8,"1":2,"2":4,"10":3,"4294967294":6,"!":0,"-1":5,"01":1,"4294967295":7,"#,
        r#""9007199254740991":9,"a":[{"3":2,"b":1}]}"#
    );
    assert_eq!(write(&document.root, Order::JavaScript), listed.as_bytes());
    for other in ["01", "-1", "", "4294967295", "1.0", "+1", "\u{661}"] {
        let document = parse(format!("[{{\"{other}\":1}}]").as_bytes()).unwrap();
        assert!(!document.has_index_keys, "{other}");
    }
}

#[test]
fn every_code_and_message_is_its_own() {
    let errors = [
        JsonError::TooLarge,
        JsonError::NotUtf8 { at: 1 },
        JsonError::Truncated,
        JsonError::Syntax { at: 1 },
        JsonError::TooDeep { at: 1 },
        JsonError::NumberRange { at: 1 },
    ];
    let mut seen = std::collections::HashSet::new();
    for error in errors {
        assert!(seen.insert(error.code().to_owned()));
        assert!(seen.insert(error.to_string()));
    }
}

/// A value, and below it the ways to spell it.
#[derive(Clone, Debug)]
enum Tree {
    Word(&'static str),
    Number(f64),
    String(Vec<u16>),
    Array(Vec<Tree>),
    Object(Vec<(Vec<u16>, Tree)>),
}

/// Code units in which controls, quotes, surrogates and the keys' sorting edges are frequent.
fn units() -> impl Strategy<Value = Vec<u16>> {
    let unit = prop_oneof![
        4 => 0x20_u16..0x7f,
        1 => 0_u16..0x20,
        1 => 0xd7f0_u16..0xe010,
        1 => any::<u16>(),
        1 => Just(0x22), 1 => Just(0x5c),
    ];
    prop::collection::vec(unit, 0..8)
}

fn trees() -> impl Strategy<Value = Tree> {
    let finite = any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |x| x.is_finite());
    let leaf = prop_oneof![
        prop_oneof![Just("null"), Just("true"), Just("false")].prop_map(Tree::Word),
        finite.prop_map(Tree::Number),
        (-1000_i32..1000).prop_map(|number| Tree::Number(f64::from(number) / 8.0)),
        units().prop_map(Tree::String),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::Array),
            prop::collection::btree_map(units(), inner, 0..6)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

/// Spells `tree` in one of its many ways.
fn spell(tree: &Tree, random: &mut fastrand::Rng, out: &mut String) {
    space(random, out);
    match tree {
        Tree::Word(word) => out.push_str(word),
        Tree::Number(number) => match random.u8(..4) {
            0 => write!(out, "{number:?}").unwrap(),
            1 => write!(out, "{number:E}").unwrap(),
            2 => write!(out, "{number:.1100}").unwrap(),
            _ => write!(out, "{number}").unwrap(),
        },
        Tree::String(units) => spell_string(units, random, out),
        Tree::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                spell(value, random, out);
            }
            out.push(']');
        }
        Tree::Object(members) => {
            let mut members = members.iter().collect::<Vec<_>>();
            random.shuffle(&mut members);
            // A duplicate in front of its key's last value changes nothing.
            let decoy = Tree::Word("false");
            let decoys = members.first().map(|(key, _)| (key, &decoy));
            let members = members.iter().map(|(key, value)| (key, value));
            out.push('{');
            for (index, (key, value)) in decoys.into_iter().chain(members).enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(random, out);
                spell_string(key, random, out);
                space(random, out);
                out.push(':');
                spell(value, random, out);
            }
            out.push('}');
        }
    }
    space(random, out);
}

fn spell_string(units: &[u16], random: &mut fastrand::Rng, out: &mut String) {
    out.push('"');
    for unit in char::decode_utf16(units.iter().copied()) {
        match unit {
            Ok(plain) if plain >= ' ' && !['"', '\\'].contains(&plain) && random.bool() => {
                out.push(plain);
            }
            Ok(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04X}").unwrap();
                }
            }
            Err(lone) => write!(out, "\\u{:04x}", lone.unpaired_surrogate()).unwrap(),
        }
    }
    out.push('"');
}

fn space(random: &mut fastrand::Rng, out: &mut String) {
    out.push_str(
        random
            .choice(["", "", " ", "\n", "\t\r"])
            .unwrap_or_default(),
    );
}

proptest! {
    #[test]
    fn every_spelling_of_a_value_has_the_same_canonical_form(tree in trees(), seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let [one, other] = std::array::from_fn(|_| {
            let mut spelling = String::new();
            spell(&tree, &mut random, &mut spelling);
            spelling
        });
        let canonical = canonicalize(one.as_bytes()).unwrap();
        prop_assert_eq!(&canonical, &canonicalize(other.as_bytes()).unwrap());
        prop_assert_eq!(&canonical, &canonicalize(&canonical).unwrap());
    }

    #[test]
    fn a_canonical_number_reads_back_as_the_same_double(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let text = canonical(&format!("{number:e}"));
        // Zero has one form; adding it makes -0 that form.
        let back = text.parse::<f64>().unwrap();
        prop_assert_eq!(back.to_bits(), (number + 0.0).to_bits());
    }

    #[test]
    fn texts_sort_as_their_code_units_do(a in units(), b in units()) {
        let text = |units: &[u16]| match String::from_utf16(units) {
            Ok(text) => Text::Unicode(text),
            Err(_) => Text::Units(units.to_vec()),
        };
        prop_assert_eq!(text(&a).cmp(&text(&b)), a.cmp(&b));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, text in "[\\[\\]{}\",:0-9eE+.\\\\u -]{0,40}") {
        let _ = canonicalize(&bytes);
        let _ = canonicalize(text.as_bytes());
    }
}
