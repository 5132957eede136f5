use super::{Members, Text, Value};

/// The order of an object's keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By UTF-16 code units: RFC 8785.
    Canonical,
    /// As JavaScript lists the keys of a canonical document that it has parsed: those that are
    /// indices first, by number, then the others in canonical order.
    JavaScript,
}

/// The value without white space, keys in `order`.
pub(crate) fn write(value: &Value, order: Order) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_value(value, order, &mut out);
    out
}

/// The canonical form of an object without the member `except`.
pub(crate) fn write_members(members: &Members, except: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let kept = members
        .iter()
        .filter(|(key, _)| key.as_str() != Some(except));
    write_object(kept, Order::Canonical, &mut out);
    out
}

fn write_value(value: &Value, order: Order, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            out.extend_from_slice(ryu_js::Buffer::new().format_finite(*number).as_bytes());
        }
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(value, order, out);
            }
            out.push(b']');
        }
        Value::Object(members) if order == Order::Canonical => {
            write_object(members.iter(), order, out);
        }
        Value::Object(members) => {
            let mut members = members.iter().collect::<Vec<_>>();
            // The sort is stable: keys that are no indices keep their canonical order.
            members.sort_by_key(|(key, _)| key.as_index().unwrap_or(u32::MAX));
            write_object(members.into_iter(), order, out);
        }
    }
}

fn write_object<'a>(
    members: impl Iterator<Item = &'a (Text, Value)>,
    order: Order,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    for (index, (key, value)) in members.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        write_value(value, order, out);
    }
    out.push(b'}');
}

fn write_text(text: &Text, out: &mut Vec<u8>) {
    out.push(b'"');
    match text {
        Text::Unicode(text) => write_str(text, out),
        Text::Units(units) => {
            for unit in char::decode_utf16(units.iter().copied()) {
                match unit {
                    Ok(character) => write_str(character.encode_utf8(&mut [0; 4]), out),
                    Err(lone) => write_escape(lone.unpaired_surrogate(), out),
                }
            }
        }
    }
    out.push(b'"');
}

fn write_str(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            0x08 => out.extend_from_slice(br"\b"),
            b'\t' => out.extend_from_slice(br"\t"),
            b'\n' => out.extend_from_slice(br"\n"),
            0x0c => out.extend_from_slice(br"\f"),
            b'\r' => out.extend_from_slice(br"\r"),
            0x00..0x20 => write_escape(byte.into(), out),
            _ => out.push(byte),
        }
    }
}

fn write_escape(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}
