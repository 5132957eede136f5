//! JSON as JavaScript reads it, written in RFC 8785 canonical form.

mod parse;
mod text;
mod write;

use std::fmt;

pub(crate) use parse::{Document, parse};
pub use text::Text;
pub(crate) use write::{Order, write, write_members};

/// The deepest nesting that is read, in arrays and objects that are open at once.
///
/// `JSON.parse` has no fixed limit. This one is far above what a DID document needs, and what the
/// JSON readers of other languages accept by default.
pub const NESTING: usize = 128;

/// The longest record that is read, in bytes: a payload of
/// [1 MiB](sync_core::limits::PAYLOAD_BYTES) with every character written as an escape.
pub const RAW_BYTES: usize = 6 * sync_core::limits::PAYLOAD_BYTES;

/// The most values (members dropped as duplicates included) in one record. A payload of 1 MiB
/// holds fewer, because each takes two bytes; the limit bounds the memory a record can claim.
pub const VALUES: usize = sync_core::limits::PAYLOAD_BYTES / 2 + 1;

/// Writes JSON in the form of RFC 8785: the bytes do not depend on the order of keys, the spelling of
/// numbers and strings, or the white space of the input.
///
/// The input is read as `JSON.parse` of JavaScript reads it: of equal keys the last one counts,
/// and every number is an IEEE 754 double. A lone surrogate, which JavaScript strings may hold and
/// RFC 8785 leaves out, is written as JavaScript writes it, as an escape in lower case
/// (`\ud800`); deployed nodes hash that form. A number too large for a double has no canonical
/// form there either and is refused.
///
/// Limits: [`RAW_BYTES`], [`VALUES`], [`NESTING`].
///
/// ```
/// let canonical = sync_mdip::canonical::canonicalize(br#"{ "b": 1.0, "a": 1E2, "b": "\u0041" }"#)?;
/// assert_eq!(canonical, br#"{"a":100,"b":"A"}"#);
/// # Ok::<(), sync_mdip::JsonError>(())
/// ```
pub fn canonicalize(raw: &[u8]) -> Result<Vec<u8>, JsonError> {
    Ok(write(&parse(raw)?.root, Order::Canonical))
}

/// Why bytes are not JSON that can be written canonically.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// More than [`RAW_BYTES`] bytes or [`VALUES`] values.
    TooLarge,
    /// The bytes are not UTF-8.
    NotUtf8 {
        /// The offset of the first byte that is not.
        at: usize,
    },
    /// The bytes end inside the value.
    Truncated,
    /// A byte that JSON does not allow there. A byte order mark is one.
    Syntax {
        /// Its offset.
        at: usize,
    },
    /// More than [`NESTING`] arrays and objects are open at once.
    TooDeep {
        /// The offset of the first one too many.
        at: usize,
    },
    /// A number beyond the range of a double, such as `1e400`.
    NumberRange {
        /// The offset of its first byte.
        at: usize,
    },
}

impl JsonError {
    /// The stable name under which failures are counted.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::NotUtf8 { .. } => "json_not_utf8",
            Self::Truncated => "json_truncated",
            Self::Syntax { .. } => "json_syntax",
            Self::TooDeep { .. } => "json_too_deep",
            Self::NumberRange { .. } => "json_number_range",
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "more than {RAW_BYTES} bytes or {VALUES} values"),
            Self::NotUtf8 { at } => write!(f, "not UTF-8 from byte {at} on"),
            Self::Truncated => f.write_str("the JSON ends inside a value"),
            Self::Syntax { at } => write!(f, "not JSON at byte {at}"),
            Self::TooDeep { at } => write!(f, "nested deeper than {NESTING} at byte {at}"),
            Self::NumberRange { at } => write!(f, "the number at byte {at} exceeds a double"),
        }
    }
}

impl std::error::Error for JsonError {}

/// A JSON value as JavaScript holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number. It is finite.
    Number(f64),
    /// A string.
    String(Text),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Members),
}

impl Value {
    /// Reads JSON as [`canonicalize`] does, within the same limits.
    pub fn parse(raw: &[u8]) -> Result<Self, JsonError> {
        parse(raw).map(|document| document.root)
    }

    /// The string, unless it is something else or holds a lone surrogate.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// The member called `key` where the value is an object that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The first element where the value is an array that has one.
    pub(crate) fn first(&self) -> Option<&Value> {
        match self {
            Self::Array(values) => values.first(),
            _ => None,
        }
    }
}

/// The members of an object, in canonical order, each key once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Vec<(Text, Value)>);

impl Members {
    /// Orders members as they were read. Of equal keys the last one stays.
    pub(crate) fn from_source(mut members: Vec<(Text, Value)>) -> Self {
        // The sort is stable: among equal keys the last one read comes last.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(&mut later.1, &mut earlier.1);
            }
            same
        });
        Self(members)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.iter()
            .find_map(|(text, value)| (text.as_str() == Some(key)).then_some(value))
    }

    /// The members, by key as RFC 8785 orders them.
    pub fn iter(&self) -> impl Iterator<Item = &(Text, Value)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests;
