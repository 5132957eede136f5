//! The same JSON in other bytes.

use std::fmt::Write as _;

use sync_mdip::JsonError;
use sync_mdip::canonical::{Text, Value};

/// Writes `json` with the keys of every object shuffled, numbers and strings spelt otherwise, and
/// white space, so that JavaScript reads the same value and its
/// [canonical form](sync_mdip::canonicalize) is the same.
pub fn respell(json: &str, random: &mut fastrand::Rng) -> Result<String, JsonError> {
    let mut out = String::with_capacity(2 * json.len());
    spell(&Value::parse(json.as_bytes())?, random, &mut out);
    Ok(out)
}

fn spell(value: &Value, random: &mut fastrand::Rng, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => spell_number(*number, random, out),
        Value::String(text) => spell_text(text, random, out),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(random, out);
                spell(value, random, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members = members.iter().collect::<Vec<_>>();
            random.shuffle(&mut members);
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                space(random, out);
                spell_text(key, random, out);
                out.push(':');
                space(random, out);
                spell(value, random, out);
            }
            out.push('}');
        }
    }
}

fn space(random: &mut fastrand::Rng, out: &mut String) {
    out.push_str(["", "", " ", "\n\t"].get(random.usize(..4)).unwrap_or(&""));
}

fn spell_number(number: f64, random: &mut fastrand::Rng, out: &mut String) {
    // Both are the shortest digits that read back as the same double.
    let _ = match random.u8(..3) {
        0 => write!(out, "{number:e}"),
        1 => write!(out, "{number:E}"),
        _ => write!(out, "{number}"),
    };
}

fn spell_text(text: &Text, random: &mut fastrand::Rng, out: &mut String) {
    out.push('"');
    match text {
        Text::Unicode(text) => {
            for character in text.chars() {
                if matches!(character, '"' | '\\' | '\0'..' ') || random.u8(..8) == 0 {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        spell_unit(*unit, random, out);
                    }
                } else {
                    out.push(character);
                }
            }
        }
        Text::Units(units) => {
            for unit in units {
                spell_unit(*unit, random, out);
            }
        }
    }
    out.push('"');
}

fn spell_unit(unit: u16, random: &mut fastrand::Rng, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = if random.bool() {
        write!(out, "\\u{unit:04X}")
    } else {
        write!(out, "\\u{unit:04x}")
    };
}
