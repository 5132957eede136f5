//! As much of BSON, and of the message that carries it, as it takes to greet a MongoDB server and
//! to make it a replica set.
//!
//! A document is its own length, elements, and a zero byte; an element is a type, a name that ends
//! with a zero byte, and a value. Numbers are little-endian, and every length counts itself where
//! it stands in front. <https://bsonspec.org/spec.html> has the grammar.

use anyhow::{Context as _, Result, bail};

const DOUBLE: u8 = 0x01;
const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BINARY: u8 = 0x05;
const OBJECT_ID: u8 = 0x07;
const BOOLEAN: u8 = 0x08;
const DATE: u8 = 0x09;
const NULL: u8 = 0x0a;
const INT32: u8 = 0x10;
const TIMESTAMP: u8 = 0x11;
const INT64: u8 = 0x12;

/// The one message that servers since version 3.6 take commands in.
const OP_MSG: i32 = 2013;

/// The length of a message's header: length, request id, id it responds to, operation code.
pub(super) const HEADER: usize = 16;

/// The kind of a section that is one document: the command, or its answer.
const BODY: u8 = 0;

/// A document that is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    elements: Vec<u8>,
}

impl Document {
    pub(super) fn int(self, name: &str, value: i32) -> Self {
        self.element(INT32, name, &value.to_le_bytes())
    }

    pub(super) fn string(self, name: &str, value: &str) -> Self {
        let mut bytes = length(value.len() + 1).to_vec();
        bytes.extend(value.as_bytes());
        bytes.push(0);
        self.element(STRING, name, &bytes)
    }

    pub(super) fn document(self, name: &str, value: Self) -> Self {
        self.element(DOCUMENT, name, &value.bytes())
    }

    /// An array is a document whose names are `0`, `1` …
    pub(super) fn array(self, name: &str, values: Vec<Self>) -> Self {
        let array = values
            .into_iter()
            .enumerate()
            .fold(Self::default(), |array, (at, value)| {
                array.document(&at.to_string(), value)
            });
        self.element(ARRAY, name, &array.bytes())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = length(4 + self.elements.len() + 1).to_vec();
        bytes.extend(&self.elements);
        bytes.push(0);
        bytes
    }

    /// The message that sends this document as a command to the database `admin`.
    pub(super) fn message(self, request: i32) -> Vec<u8> {
        let body = self.string("$db", "admin").bytes();
        let mut message = length(HEADER + 4 + 1 + body.len()).to_vec();
        for number in [request, 0, OP_MSG] {
            message.extend(number.to_le_bytes());
        }
        message.extend([0; 4]); // flags
        message.push(BODY);
        message.extend(body);
        message
    }

    fn element(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.elements.push(kind);
        self.elements.extend(name.as_bytes());
        self.elements.push(0);
        self.elements.extend(value);
        self
    }
}

/// A value that is read, as far as anybody asks for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    String(String),
    Boolean(bool),
    Other,
}

/// The document in the answer to a message, from behind its header.
pub(super) fn answer(body: &[u8]) -> Result<&[u8]> {
    match body.split_at_checked(5) {
        Some(([_, _, _, _, BODY], document)) => Ok(document),
        _ => bail!("an answer that is no document"),
    }
}

/// The value of a name of this document; none if it has no such name.
pub(super) fn find(document: &[u8], name: &str) -> Result<Option<Value>> {
    let mut rest = document.get(4..).context("a document without a length")?;
    loop {
        let (&kind, named) = rest.split_first().context("a document without an end")?;
        if kind == 0 {
            return Ok(None);
        }
        let end = named.iter().position(|&byte| byte == 0);
        let (found, value) = named.split_at(end.context("a name without an end")?);
        let value = value.get(1..).unwrap_or_default();
        let size = size(kind, value)?;
        let (value, after) = value.split_at_checked(size).context("a value cut off")?;
        if found == name.as_bytes() {
            return read(kind, value).map(Some);
        }
        rest = after;
    }
}

/// How many bytes a value of this type takes.
fn size(kind: u8, value: &[u8]) -> Result<usize> {
    let stated = || -> Result<usize> {
        let bytes = value.first_chunk().context("a length cut off")?;
        usize::try_from(i32::from_le_bytes(*bytes)).context("a negative length")
    };
    Ok(match kind {
        NULL => 0,
        BOOLEAN => 1,
        INT32 => 4,
        DOUBLE | DATE | TIMESTAMP | INT64 => 8,
        OBJECT_ID => 12,
        STRING => stated()? + 4,
        DOCUMENT | ARRAY => stated()?,
        BINARY => stated()? + 5,
        other => bail!("a value of the type {other:#04x}"),
    })
}

fn read(kind: u8, value: &[u8]) -> Result<Value> {
    Ok(match (kind, value) {
        (DOUBLE, _) => match value.try_into() {
            Ok(bytes) => Value::Number(f64::from_le_bytes(bytes)),
            Err(_) => Value::Other,
        },
        (INT32, _) => match value.try_into() {
            Ok(bytes) => Value::Number(i32::from_le_bytes(bytes).into()),
            Err(_) => Value::Other,
        },
        (BOOLEAN, &[byte]) => Value::Boolean(byte != 0),
        (STRING, [_, _, _, _, text @ .., 0]) => Value::String(String::from_utf8(text.to_vec())?),
        _ => Value::Other,
    })
}

fn length(bytes: usize) -> [u8; 4] {
    // What is written here is a few hundred bytes long.
    i32::try_from(bytes).unwrap_or(i32::MAX).to_le_bytes()
}
