//! Rows of the log, and histories of DIDs, each read on its own.

use sync_core::{Object, OpId, SyncOrder};
use sync_hydrate::{InvalidRecord, Spent};

use super::members::{elements, members, position, string};
use super::records::{Around, Checked, Read, check, invalid, not_utf8};
use super::split::{REPLACEMENT, RawRecord};
use crate::{Invalid, object};

/// The row or the history violates the protocol.
const MALFORMED: &str = "malformed_row";
/// The row's position is not a whole number of 0..=2^53-1.
const INVALID_SEQ: &str = "invalid_seq";
/// The row's position is not one that the page can hold.
const OUTSIDE: &str = "seq_outside_page";
/// The hash of a removed operation is not 64 hexadecimal digits.
const INVALID_HASH: &str = "invalid_operation_hash";

/// The positions that a page can hold: above `after`, up to `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) after: Option<SyncOrder>,
    pub(crate) end: Option<SyncOrder>,
}

impl Window {
    fn holds(self, seq: SyncOrder) -> bool {
        self.after.is_none_or(|after| seq > after) && self.end.is_none_or(|end| seq <= end)
    }

    /// The position under `seq`, or why there is none.
    fn seq(self, seq: Option<&serde_json::value::RawValue>) -> Result<SyncOrder, &'static str> {
        let seq = position(seq).ok_or(INVALID_SEQ)?;
        if self.holds(seq) {
            Ok(seq)
        } else {
            Err(OUTSIDE)
        }
    }
}

/// A row of `removedOperations`.
pub(crate) struct Removed {
    pub(crate) seq: SyncOrder,
    pub(crate) id: OpId,
    pub(crate) object: Object,
}

/// The position of a row, where it can be read.
pub(crate) fn seq(row: &RawRecord) -> Option<SyncOrder> {
    let [seq] = members(row.json.as_str(), ["seq"])?;
    position(seq)
}

/// Reads a row of `operations`.
pub(crate) fn operation(row: &RawRecord, window: Window, spent: &mut Spent) -> Read<Checked> {
    let raw = row.json.as_str();
    let [seq, did, event] =
        members(raw, ["seq", "did", "event"]).ok_or_else(|| bad(MALFORMED, None, None, row))?;
    let object = string(did).and_then(|did| object::of_did(&did).ok());
    let seq = match window.seq(seq) {
        Ok(seq) => seq,
        Err(reason) => return Err(bad(reason, None, object, row)),
    };
    let operation = event
        .and_then(|event| members(event.get(), ["operation"]))
        .and_then(|[operation]| operation);
    let Some(operation) = operation else {
        return Err(bad(MALFORMED, Some(seq), object, row));
    };
    let around = Around {
        seq: Some(seq),
        object,
        replaced: row.replaced,
    };
    check(operation, around, spent)
}

/// Reads a row of `removedOperations`.
pub(crate) fn removed(row: &RawRecord, window: Window) -> Read<Removed> {
    let raw = row.json.as_str();
    let [seq, did, hash] = members(raw, ["seq", "did", "operationHash"])
        .ok_or_else(|| bad(MALFORMED, None, None, row))?;
    let object = string(did).and_then(|did| object::of_did(&did).ok());
    let seq = match window.seq(seq) {
        Ok(seq) => seq,
        Err(reason) => return Err(bad(reason, None, object, row)),
    };
    let id = string(hash).and_then(|hash| hash.parse().ok());
    match (id, object) {
        (None, object) => Err(bad(INVALID_HASH, Some(seq), object, row)),
        (Some(_), None) => Err(bad(Invalid::Did.code(), Some(seq), None, row)),
        (Some(_), object) if row.replaced && raw.contains(REPLACEMENT) => {
            Err(Box::new(not_utf8(Some(seq), object, raw)))
        }
        (Some(id), Some(object)) => Ok(Removed { seq, id, object }),
    }
}

/// Reads the operations of one DID in a snapshot.
pub(crate) fn history(history: &RawRecord, spent: &mut Spent) -> Vec<Read<Checked>> {
    let raw = history.json.as_str();
    let Some([did, events]) = members(raw, ["did", "events"]) else {
        return vec![Err(bad(MALFORMED, None, None, history))];
    };
    let object = string(did).and_then(|did| object::of_did(&did).ok());
    let Some(events) = events.and_then(elements) else {
        return vec![Err(bad(MALFORMED, None, object, history))];
    };
    let mut event = |json: &serde_json::value::RawValue| {
        let Some([Some(operation)]) = members(json.get(), ["operation"]) else {
            let record = invalid(MALFORMED, None, object.clone(), json.get());
            return Err(Box::new(record));
        };
        let around = Around {
            seq: None,
            object: object.clone(),
            replaced: history.replaced,
        };
        check(operation, around, spent)
    };
    events.into_iter().map(&mut event).collect()
}

/// A whole row that cannot be read. Where it has bytes that are not UTF-8, they are the reason given.
fn bad(
    reason: &'static str,
    seq: Option<SyncOrder>,
    object: Option<Object>,
    row: &RawRecord,
) -> Box<InvalidRecord> {
    let raw = row.json.as_str();
    Box::new(if row.replaced {
        not_utf8(seq, object, raw)
    } else {
        invalid(reason, seq, object, raw)
    })
}
