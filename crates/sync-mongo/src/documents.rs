//! The stored documents: their keys, and how they are asked for and read.

use std::collections::HashMap;

use mongodb::bson::raw::{
    RawArrayBuf, RawBinaryRef, RawBson, RawBsonRef, RawDocument, RawDocumentBuf,
};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, rawdoc};
use mongodb::error::Error as DriverError;
use mongodb::raw_batch_cursor::RawBatch;
use sync_core::plan::StoredTombstone;
use sync_core::{
    Bytes, Error, Object, OpId, Operation, Result, Row, Seq, SpaceName, SyncOrder, TombstoneReason,
    Ts,
};

use crate::database::Collections;
use crate::error::{corrupt, failed};

/// The most documents of one answer of the server. More make no scan faster.
pub(crate) const BATCH: i64 = 20_000;
/// The most keys of one command that looks up or deletes.
pub(crate) const KEYS: usize = 10_000;

/// Makes a value of a document.
pub(crate) type Decode<T> = fn(&RawDocument) -> Result<T>;

/// Bytes of an incarnation at the beginning of a key.
const PREFIX: usize = 8;

/// The key of an operation, unique among all spaces: MongoDB compares keys of one length by their
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OperationKey([u8; PREFIX + 32]);

impl OperationKey {
    pub(crate) fn new(incarnation: i64, id: &OpId) -> Self {
        let mut bytes = [0; PREFIX + 32];
        let (prefix, rest) = bytes.split_at_mut(PREFIX);
        prefix.copy_from_slice(&incarnation.to_be_bytes());
        rest.copy_from_slice(id.as_bytes());
        Self(bytes)
    }

    /// The lowest key of an incarnation.
    pub(crate) fn lowest(incarnation: i64) -> Self {
        Self::new(incarnation, &OpId::new([0; 32]))
    }

    /// The id in a key that was read.
    pub(crate) fn id(bytes: &[u8]) -> Result<OpId> {
        let (_, id) = bytes
            .split_at_checked(PREFIX)
            .ok_or_else(|| wrong("the key of an operation"))?;
        OpId::try_from(id).map_err(corrupt)
    }

    pub(crate) fn binary(&self) -> RawBsonRef<'_> {
        binary(&self.0)
    }
}

/// The key of a tombstone: incarnation and seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TombstoneKey([u8; PREFIX + 8]);

impl TombstoneKey {
    pub(crate) fn new(incarnation: i64, seq: Seq) -> Self {
        let mut bytes = [0; PREFIX + 8];
        let (prefix, rest) = bytes.split_at_mut(PREFIX);
        prefix.copy_from_slice(&incarnation.to_be_bytes());
        rest.copy_from_slice(&seq.value().to_be_bytes());
        Self(bytes)
    }

    pub(crate) fn binary(&self) -> RawBsonRef<'_> {
        binary(&self.0)
    }
}

/// The key of a state value. Strings compare by their bytes in the simple collation, so that the
/// keys of an incarnation lie together, in the order of their own bytes.
pub(crate) fn state_key(incarnation: i64, key: &str) -> String {
    format!("{incarnation:016x}:{key}")
}

/// Sorts after every state key of the incarnation.
pub(crate) fn after_state_keys(incarnation: i64) -> String {
    format!("{incarnation:016x};")
}

/// The state key in a key that was read.
pub(crate) fn stored_state_key(stored: &str) -> Result<&str> {
    stored
        .split_once(':')
        .map(|(_, key)| key)
        .ok_or_else(|| wrong("the key of a state value"))
}

pub(crate) fn binary(bytes: &[u8]) -> RawBsonRef<'_> {
    RawBsonRef::Binary(RawBinaryRef {
        subtype: BinarySubtype::Generic,
        bytes,
    })
}

/// Keys as the operand of `$in`.
pub(crate) fn operation_keys<'a>(
    incarnation: i64,
    ids: impl IntoIterator<Item = &'a OpId>,
) -> RawArrayBuf {
    let mut keys = RawArrayBuf::new();
    for id in ids {
        keys.push(OperationKey::new(incarnation, id).binary());
    }
    keys
}

/// A filter for documents by their keys.
pub(crate) fn one_of(keys: RawArrayBuf) -> RawDocumentBuf {
    rawdoc! { "_id": { "$in": keys } }
}

/// The command that finds every tombstone of `ids`, which [`tombstone`] reads.
pub(crate) fn find_tombstones(
    collections: &Collections,
    incarnation: i64,
    ids: &[OpId],
) -> RawDocumentBuf {
    rawdoc! {
        "find": collections.tombstones.as_str(),
        "filter": { "op": { "$in": operation_keys(incarnation, ids) } },
        "projection": { "op": 1, "seq": 1, "reason": 1, "source_seq": 1, "lifted": 1 },
        "hint": "tombstone_op",
        "batchSize": BATCH,
    }
}

/// A tombstone, with its operation's id before it, and after it whether it was lifted.
pub(crate) fn tombstone(document: &RawDocument) -> Result<(OpId, StoredTombstone, bool)> {
    let fields = Fields::of(document)?;
    let tombstone = StoredTombstone {
        seq: fields.seq()?,
        reason: fields.reason()?,
        source_seq: fields.source_seq()?,
    };
    Ok((fields.deleted_id()?, tombstone, fields.lifted()))
}

/// Of each id the newest tombstone, unless that one was lifted.
pub(crate) fn in_force(
    mut tombstones: Vec<(OpId, StoredTombstone, bool)>,
) -> HashMap<OpId, StoredTombstone> {
    tombstones.sort_unstable_by_key(|(_, tombstone, _)| tombstone.seq);
    let mut newest = HashMap::new();
    for (id, tombstone, lifted) in tombstones {
        if lifted {
            newest.remove(&id);
        } else {
            newest.insert(id, tombstone);
        }
    }
    newest
}

/// The fields of an operation or a tombstone, as far as they were read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields<'a> {
    key: Option<&'a [u8]>,
    op: Option<&'a [u8]>,
    ts: Option<i64>,
    order: Option<i64>,
    seq: Option<i64>,
    digest: Option<&'a [u8]>,
    object: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    reason: Option<i64>,
    source_seq: Option<i64>,
    lifted: bool,
    size: Option<i64>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(document: &'a RawDocument) -> Result<Self> {
        let mut fields = Self::default();
        for element in document {
            let (name, value) = element.map_err(unreadable)?;
            match name.as_str() {
                "_id" => fields.key = Some(bytes(value)?),
                "op" => fields.op = Some(bytes(value)?),
                "ts" => fields.ts = Some(number(value)?),
                "order" => fields.order = Some(number(value)?),
                "seq" => fields.seq = Some(number(value)?),
                "digest" => fields.digest = Some(bytes(value)?),
                "object" => fields.object = Some(bytes(value)?),
                "payload" => fields.payload = Some(bytes(value)?),
                "reason" => fields.reason = Some(number(value)?),
                "source_seq" => fields.source_seq = Some(number(value)?),
                "lifted" => fields.lifted = value.as_bool().unwrap_or_default(),
                "size" => fields.size = Some(number(value)?),
                _ => {}
            }
        }
        Ok(fields)
    }

    /// The id of an operation.
    pub(crate) fn id(&self) -> Result<OpId> {
        OperationKey::id(self.key.ok_or_else(|| wrong("_id"))?)
    }

    /// The id of a tombstone's operation.
    pub(crate) fn deleted_id(&self) -> Result<OpId> {
        OperationKey::id(self.op.ok_or_else(|| wrong("op"))?)
    }

    pub(crate) fn ts(&self) -> Result<Ts> {
        self.optional_ts()?.ok_or_else(|| wrong("ts"))
    }

    pub(crate) fn optional_ts(&self) -> Result<Option<Ts>> {
        self.ts.map(Ts::try_from).transpose().map_err(corrupt)
    }

    pub(crate) fn order(&self) -> Result<Option<SyncOrder>> {
        self.order
            .map(SyncOrder::try_from)
            .transpose()
            .map_err(corrupt)
    }

    pub(crate) fn seq(&self) -> Result<Seq> {
        Seq::try_from(self.seq.ok_or_else(|| wrong("seq"))?).map_err(corrupt)
    }

    pub(crate) fn digest(&self) -> Result<&'a [u8]> {
        self.digest.ok_or_else(|| wrong("digest"))
    }

    pub(crate) fn object(&self) -> Result<Option<Object>> {
        self.object
            .map(|object| Object::new(Bytes::copy_from_slice(object)))
            .transpose()
            .map_err(corrupt)
    }

    pub(crate) fn payload(&self) -> Result<Bytes> {
        self.optional_payload().ok_or_else(|| wrong("payload"))
    }

    pub(crate) fn optional_payload(&self) -> Option<Bytes> {
        self.payload.map(Bytes::copy_from_slice)
    }

    pub(crate) fn reason(&self) -> Result<TombstoneReason> {
        TombstoneReason::from_code(self.reason.ok_or_else(|| wrong("reason"))?).map_err(corrupt)
    }

    pub(crate) fn source_seq(&self) -> Result<Option<SyncOrder>> {
        self.source_seq
            .map(SyncOrder::try_from)
            .transpose()
            .map_err(corrupt)
    }

    pub(crate) fn lifted(&self) -> bool {
        self.lifted
    }

    /// The computed size of a row.
    pub(crate) fn size(&self) -> Result<usize> {
        let size = self.size.ok_or_else(|| wrong("size"))?;
        usize::try_from(size).map_err(|_| wrong("size"))
    }

    pub(crate) fn row(&self) -> Result<Row> {
        Ok(Row {
            operation: Operation {
                id: self.id()?,
                ts: self.ts()?,
                object: self.object()?,
                sync_order: self.order()?,
                payload: self.payload()?,
            },
            seq: self.seq()?,
        })
    }
}

/// A field that every version of this crate writes.
pub(crate) fn value<'d>(document: &'d RawDocument, name: &str) -> Result<RawBsonRef<'d>> {
    let value = document.get(name).map_err(unreadable)?;
    value.ok_or_else(|| wrong(name))
}

/// A document's key.
pub(crate) fn key(document: &RawDocument) -> Result<RawBson> {
    value(document, "_id").map(Into::into)
}

/// The name of the space whose document this is.
pub(crate) fn space_name(document: &RawDocument) -> Result<SpaceName> {
    let name = document.get_str("_id").map_err(|_| wrong("_id"))?;
    SpaceName::new(name).map_err(corrupt)
}

/// A field that holds bytes.
pub(crate) fn bytes(value: RawBsonRef<'_>) -> Result<&[u8]> {
    match value {
        RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Generic => Ok(binary.bytes),
        _ => Err(wrong("a field of bytes")),
    }
}

/// A field that holds a whole number. Every number here was written as one; a person's shell may
/// have made it another type with the same value.
pub(crate) fn number(value: RawBsonRef<'_>) -> Result<i64> {
    match value {
        RawBsonRef::Int64(number) => Ok(number),
        RawBsonRef::Int32(number) => Ok(number.into()),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number below 2^53 is exact"
        )]
        RawBsonRef::Double(number)
            if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 =>
        {
            Ok(number as i64)
        }
        _ => Err(wrong("a field of a number")),
    }
}

/// How many documents a command says it wrote.
pub(crate) fn count(answer: &Document) -> Result<usize> {
    let count = whole(answer, "n").and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| wrong("the number of documents in an answer"))
}

/// A whole number in an answer of the server, which tells it in any type.
pub(crate) fn whole(document: &Document, name: &str) -> Option<i64> {
    match document.get(name)? {
        Bson::Int32(whole) => Some((*whole).into()),
        Bson::Int64(whole) => Some(*whole),
        #[expect(clippy::cast_possible_truncation, reason = "cut, as a size may be")]
        Bson::Double(whole) => Some(*whole as i64),
        _ => None,
    }
}

/// Decodes the documents of a batch.
pub(crate) fn decode<T>(
    batch: &RawBatch,
    decode: Decode<T>,
    mut take: impl FnMut(T),
) -> Result<()> {
    for document in batch.doc_slices().map_err(failed)? {
        if let Some(document) = document.map_err(unreadable)?.as_document() {
            take(decode(document)?);
        }
    }
    Ok(())
}

/// A document that cannot be read.
pub(crate) fn unreadable(source: mongodb::bson::error::Error) -> Error {
    failed(DriverError::from(source))
}

/// A document that no version of this crate writes.
pub(crate) fn wrong(what: &str) -> Error {
    corrupt(Error::invalid(
        "document",
        format!("{what} is absent, or is of another type"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_incarnation_and_then_by_what_they_hold() {
        let [low, high] = [OpId::new([0; 32]), OpId::new([0xff; 32])];
        assert!(OperationKey::new(1, &high).0 < OperationKey::new(2, &low).0);
        assert!(OperationKey::new(1, &low).0 < OperationKey::new(1, &high).0);
        assert_eq!(
            OperationKey::id(&OperationKey::new(7, &high).0).unwrap(),
            high
        );
        assert!(TombstoneKey::new(1, Seq::MAX).0 < TombstoneKey::new(2, Seq::ZERO).0);
        let highest = "\u{10ffff}".repeat(64);
        assert!(state_key(1, &highest) < after_state_keys(1));
        assert!(after_state_keys(1) < state_key(2, "a"));
        assert!(state_key(0xf, "a") < state_key(0x10, "a"));
        assert_eq!(stored_state_key(&state_key(3, "a:b")).unwrap(), "a:b");
    }

    #[test]
    fn numbers_of_any_type_are_read_and_fractions_are_refused() {
        for value in [
            RawBsonRef::Int64(7),
            RawBsonRef::Int32(7),
            RawBsonRef::Double(7.0),
        ] {
            assert_eq!(number(value).unwrap(), 7);
        }
        for value in [
            RawBsonRef::Double(0.5),
            RawBsonRef::Double(f64::NAN),
            RawBsonRef::Double(1e300),
            RawBsonRef::String("7"),
        ] {
            assert!(number(value).is_err());
        }
    }
}
