//! The same JSON in other bytes.

use std::fmt::Write as _;

use serde_json::Value;

/// Writes `raw` with keys backwards, numbers with an exponent, strings escaped, and white space.
pub(crate) fn respell(raw: &str) -> String {
    let mut out = String::new();
    spell(&serde_json::from_str(raw).unwrap(), &mut out);
    out
}

fn spell(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        Value::Number(number) => write!(out, "{:e}", number.as_f64().unwrap()).unwrap(),
        Value::String(text) => spell_text(text, out),
        Value::Array(values) => {
            out.push_str("[ ");
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index > 0 { " ,\n" } else { "" });
                spell(value, out);
            }
            out.push_str(" ]");
        }
        Value::Object(members) => {
            out.push_str("{\t");
            for (index, (key, value)) in members.iter().rev().enumerate() {
                out.push_str(if index > 0 { " ,\r\n" } else { "" });
                spell_text(key, out);
                out.push_str(" : ");
                spell(value, out);
            }
            out.push('}');
        }
    }
}

fn spell_text(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        write!(out, "\\u{unit:04X}").unwrap();
    }
    out.push('"');
}
