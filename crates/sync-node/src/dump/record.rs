use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sync_store::{
    Bytes, Object, OpId, Operation, StateEntry, StateKey, SyncOrder, TombstoneReason, Ts, limits,
    rules,
};

use super::{Counts, FORMAT, Line, VERSION};
use crate::failure::{Failure, Result};

/// One line of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A row.
    Row(Operation),
    /// The first line of a complete dump.
    Header,
    /// The place of the floor.
    Floor,
    /// A delete.
    Tombstone(Tombstone),
    /// A state key with its value.
    State(StateEntry),
    /// The last line of a complete dump.
    End(Counts),
}

/// A tombstone, as the feed shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) id: OpId,
    pub(crate) ts: Option<Ts>,
    pub(crate) object: Option<Object>,
    pub(crate) reason: TombstoneReason,
    pub(crate) source_seq: Option<SyncOrder>,
    pub(crate) lifted: bool,
}

impl Tombstone {
    /// Whether a prune keeps it.
    pub(crate) fn outlives_prune(&self) -> bool {
        rules::outlives_prune(self.reason, self.lifted)
    }
}

/// Reads one line. The failure names the line and the fault.
pub(crate) fn parse(line: &Line) -> Result<Record> {
    record(&line.bytes).map_err(|what| {
        let number = line.number;
        Failure::input(if line.unfinished {
            format!("line {number}: {what}; the input ends within this line, it may have been cut")
        } else {
            format!("line {number}: {what}")
        })
    })
}

fn record(line: &[u8]) -> Result<Record, String> {
    let trimmed = line.trim_ascii_start();
    if trimmed.is_empty() {
        return Err("is empty".to_owned());
    }
    // Checked here, because serde would take an array's elements for the members in their order.
    let Some(members) = trimmed.strip_prefix(b"{") else {
        return Err("is not a JSON object".to_owned());
    };
    // Rows have no kind; it is the first member of all others.
    if !members.trim_ascii_start().starts_with(br#""kind""#) {
        return read::<RowLine<'_>>(line)?.into_record();
    }
    // A pass of its own finds the kind, because only then it is known which members may follow.
    match read::<Kind<'_>>(line)?.kind.as_ref() {
        "header" => read::<HeaderLine<'_>>(line)?.into_record(),
        "floor" => read::<FloorLine<'_>>(line).map(|_| Record::Floor),
        "tombstone" => read::<TombstoneLine<'_>>(line)?.into_record(),
        "state" => read::<StateLine<'_>>(line)?.into_record(),
        "end" => read::<EndLine<'_>>(line).map(EndLine::into_record),
        _ => Err("the kind is not one of header, floor, tombstone, state, end".to_owned()),
    }
}

/// Reads JSON with exactly the members of `T`. The message is short, whatever the input is.
fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let column = error.column();
        let what = error.to_string();
        let place = format!(" at line 1 column {column}");
        let what = what.strip_suffix(&place).unwrap_or(&what);
        format!("column {column}: {}", cut(what))
    })
}

/// A message that may repeat the input, cut.
fn cut(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 160;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RowLine<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    ts: u64,
    object: Option<String>,
    object_base64: Option<String>,
    sync_order: Option<u64>,
    payload: Option<String>,
    #[serde(borrow, default, deserialize_with = "verbatim")]
    payload_json: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine<'a> {
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
    format: String,
    version: u64,
    space: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorLine<'a> {
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TombstoneLine<'a> {
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    ts: Option<u64>,
    object: Option<String>,
    object_base64: Option<String>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    source_seq: Option<u64>,
    lifted: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StateLine<'a> {
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
    key: String,
    value: Option<String>,
    value_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine<'a> {
    #[serde(borrow, rename = "kind")]
    _kind: Cow<'a, str>,
    rows: u64,
    tombstones: u64,
    state: u64,
}

/// A payload that is the JSON value `null` is a payload, not an absent one.
fn verbatim<'de, D: Deserializer<'de>>(input: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

impl RowLine<'_> {
    fn into_record(self) -> Result<Record, String> {
        let payload = match (self.payload, self.payload_json) {
            (Some(base64), None) => from_base64("payload", &base64)?,
            (None, Some(json)) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, None) => return Err("payload is missing".to_owned()),
            (Some(_), Some(_)) => return Err(only_one("payload", "payloadJson")),
        };
        bounded("payload", &payload, limits::PAYLOAD_BYTES)?;
        Ok(Record::Row(Operation {
            id: id(&self.id)?,
            ts: self.ts.try_into().map_err(what)?,
            object: object(self.object, self.object_base64)?,
            sync_order: self
                .sync_order
                .map(SyncOrder::try_from)
                .transpose()
                .map_err(what)?,
            payload,
        }))
    }
}

impl HeaderLine<'_> {
    fn into_record(self) -> Result<Record, String> {
        if self.format != FORMAT {
            return Err(format!(
                "the format is {:?}, not {FORMAT}",
                cut(&self.format)
            ));
        }
        if self.version != VERSION {
            let version = self.version;
            return Err(format!(
                "version {version} of the format, this program reads {VERSION}"
            ));
        }
        self.space.parse::<sync_store::SpaceName>().map_err(what)?;
        Ok(Record::Header)
    }
}

impl TombstoneLine<'_> {
    fn into_record(self) -> Result<Record, String> {
        Ok(Record::Tombstone(Tombstone {
            id: id(&self.id)?,
            ts: self.ts.map(Ts::try_from).transpose().map_err(what)?,
            object: object(self.object, self.object_base64)?,
            reason: self.reason.parse().map_err(what)?,
            source_seq: self
                .source_seq
                .map(SyncOrder::try_from)
                .transpose()
                .map_err(what)?,
            lifted: self.lifted,
        }))
    }
}

impl StateLine<'_> {
    fn into_record(self) -> Result<Record, String> {
        let value = match (self.value, self.value_base64) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(base64)) => from_base64("valueBase64", &base64)?,
            (None, None) => return Err("value is missing".to_owned()),
            (Some(_), Some(_)) => return Err(only_one("value", "valueBase64")),
        };
        bounded("value", &value, limits::STATE_VALUE_BYTES)?;
        let key = StateKey::new(&self.key).map_err(what)?;
        Ok(Record::State(StateEntry { key, value }))
    }
}

impl EndLine<'_> {
    fn into_record(self) -> Record {
        Record::End(Counts {
            rows: self.rows,
            tombstones: self.tombstones,
            state: self.state,
        })
    }
}

fn id(text: &str) -> Result<OpId, String> {
    text.parse().map_err(what)
}

fn object(text: Option<String>, base64: Option<String>) -> Result<Option<Object>, String> {
    let bytes = match (text, base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(base64)) => from_base64("objectBase64", &base64)?,
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(only_one("object", "objectBase64")),
    };
    Object::new(bytes).map(Some).map_err(what)
}

fn from_base64(member: &str, text: &str) -> Result<Bytes, String> {
    let bytes = STANDARD.decode(text);
    bytes
        .map(Bytes::from)
        .map_err(|error| format!("{member} is not base64: {error}"))
}

/// The store refuses more with the whole page, and cannot name the line.
fn bounded(member: &str, bytes: &Bytes, most: usize) -> Result<(), String> {
    let len = bytes.len();
    if len > most {
        return Err(format!("the {member} has {len} bytes, allowed are {most}"));
    }
    Ok(())
}

fn only_one(one: &str, other: &str) -> String {
    format!("{one} and {other} exclude each other")
}

fn what(error: sync_store::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
