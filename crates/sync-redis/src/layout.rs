//! Keys, and the bytes of their fields and members. `migrations/V1__init.lua` has the layout.

use std::ops::Range;

use sync_core::{
    Bytes, Digest, Object, OpId, Operation, Result, Row, Seq, SpaceName, SyncOrder,
    TombstoneReason, Ts,
};

use crate::error::corrupt;
use crate::slots;

/// Payloads up to this many bytes are part of the row; larger ones are in a hash of their own, so that
/// reading rows without their payloads stays cheap.
pub(crate) const INLINE: usize = 2_048;

/// The eight bytes of an absent position.
pub(crate) const NONE: [u8; 8] = [0xff; 8];

/// Bytes of a row before its object.
pub(crate) const HEAD: usize = 46;
/// Bytes of a tombstone before its object.
const TOMBSTONE_HEAD: usize = 58;

/// The key of an installation's marker.
pub(crate) fn schema_key(prefix: &str) -> String {
    format!("{prefix}:schema")
}

/// The key of the list of spaces.
pub(crate) fn spaces_key(prefix: &str) -> String {
    format!("{prefix}:spaces")
}

/// The keys of a space, and the slot of a cluster that they share.
#[derive(Clone, Debug)]
pub(crate) struct SpaceKeys {
    /// In the order of the scripts.
    pub(crate) all: [String; 11],
    pub(crate) channel: String,
    pub(crate) slot: u16,
}

/// A key's index among those of a space.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Meta = 0,
    Rows = 1,
    Blobs = 2,
    Time = 3,
    Seq = 4,
    Order = 5,
    Object = 6,
    /// The newest tombstone of each id without a row, unless it was lifted.
    TombstoneOf = 8,
    State = 9,
    Names = 10,
}

impl SpaceKeys {
    pub(crate) fn of(prefix: &str, space: &SpaceName) -> Self {
        let key = |name: &str| format!("{prefix}:{{{space}}}:{name}");
        Self {
            all: [
                "meta", "rows", "blobs", "time", "seq", "order", "object", "dead", "graves",
                "state", "names",
            ]
            .map(key),
            channel: key("changed"),
            slot: slots::slot(space.as_str().as_bytes()),
        }
    }

    pub(crate) fn name(&self, key: Key) -> &str {
        self.all.get(key as usize).map_or("", String::as_str)
    }
}

impl Key {
    /// Its index as the scripts count.
    pub(crate) fn number(self) -> usize {
        self as usize + 1
    }
}

/// A position's eight bytes.
pub(crate) fn be8(position: impl Into<u64>) -> [u8; 8] {
    position.into().to_be_bytes()
}

/// A position's eight bytes, or those of none.
pub(crate) fn optional(position: Option<impl Into<u64>>) -> [u8; 8] {
    position.map_or(NONE, be8)
}

/// A row without its seq, and without its payload where that is large. `order` is its own where the
/// page's operation was not the only one with its id.
pub(crate) fn pack_row(
    operation: &Operation,
    order: Option<SyncOrder>,
    digest: &Digest,
    into: &mut Vec<u8>,
) {
    let object = operation.object.as_ref().map_or(&[][..], Object::as_bytes);
    into.extend_from_slice(&be8(operation.ts));
    into.extend_from_slice(&optional(order));
    into.extend_from_slice(digest.as_bytes());
    // The limits of both are far below these bounds.
    into.extend_from_slice(
        &u16::try_from(object.len())
            .unwrap_or(u16::MAX)
            .to_be_bytes(),
    );
    let payload = u32::try_from(operation.payload.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&payload.to_be_bytes());
    into.extend_from_slice(object);
    if operation.payload.len() <= INLINE {
        into.extend_from_slice(&operation.payload);
    }
}

/// The beginning of the members of the object index. The length comes first, so that the members of
/// one object lie together.
pub(crate) fn object_prefix(object: &Object, into: &mut Vec<u8>) {
    let bytes = object.as_bytes();
    into.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

/// A stored row.
pub(crate) struct Stored {
    pub(crate) seq: Seq,
    pub(crate) ts: Ts,
    pub(crate) sync_order: Option<SyncOrder>,
    pub(crate) digest: Digest,
    pub(crate) object: Option<Object>,
    /// The part of the payload that is in the row, all or nothing of it.
    inline: Bytes,
    payload_len: usize,
}

impl Stored {
    pub(crate) fn unpack(row: Vec<u8>) -> Result<Self> {
        let row = Bytes::from(row);
        let object_len = usize::from(u16::from_be_bytes(array(&row, 40..42)?));
        let payload_len = u32::from_be_bytes(array(&row, 42..46)?) as usize;
        if row.len() < HEAD + object_len {
            return Err(short());
        }
        let object = match object_len {
            0 => None,
            len => Some(Object::new(row.slice(HEAD..HEAD + len)).map_err(corrupt)?),
        };
        Ok(Self {
            seq: position(array(&row, 0..8)?)?,
            ts: position(array(&row, 8..16)?)?,
            sync_order: optional_position(array(&row, 16..24)?)?,
            digest: Digest::new(array(&row, 24..40)?),
            object,
            inline: row.slice(HEAD + object_len..),
            payload_len,
        })
    }

    /// The row with its payload, which is `blob` where it is not in the row.
    pub(crate) fn into_row(self, id: OpId, blob: Vec<u8>) -> Result<Row> {
        let payload = if self.inline.len() == self.payload_len {
            self.inline
        } else {
            Bytes::from(blob)
        };
        if payload.len() != self.payload_len {
            return Err(corrupt(format!("the payload of {id} is not whole")));
        }
        let operation = Operation {
            id,
            ts: self.ts,
            object: self.object,
            sync_order: self.sync_order,
            payload,
        };
        Ok(Row {
            operation,
            seq: self.seq,
        })
    }
}

/// A tombstone.
pub(crate) struct Tombstone {
    pub(crate) seq: Seq,
    pub(crate) id: OpId,
    pub(crate) reason: TombstoneReason,
    pub(crate) lifted: bool,
    pub(crate) source_seq: Option<SyncOrder>,
    pub(crate) ts: Option<Ts>,
    pub(crate) object: Option<Object>,
}

impl Tombstone {
    pub(crate) fn unpack(member: Vec<u8>) -> Result<Self> {
        let member = Bytes::from(member);
        let [reason, lifted] = array(&member, 40..42)?;
        let source_seq = optional_position(array(&member, 42..50)?)?;
        let ts = optional_position(array(&member, 50..TOMBSTONE_HEAD)?)?;
        let object = match member.len() {
            TOMBSTONE_HEAD => None,
            _ => Some(Object::new(member.slice(TOMBSTONE_HEAD..)).map_err(corrupt)?),
        };
        Ok(Self {
            seq: position(array(&member, 0..8)?)?,
            id: OpId::new(array(&member, 8..40)?),
            reason: TombstoneReason::from_code(i64::from(reason)).map_err(corrupt)?,
            lifted: lifted != 0,
            source_seq,
            ts,
            object,
        })
    }
}

/// `N` bytes of `bytes`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: Range<usize>) -> Result<[u8; N]> {
    bytes
        .get(at)
        .and_then(|part| part.try_into().ok())
        .ok_or_else(short)
}

/// A position of eight bytes.
pub(crate) fn position<P>(bytes: [u8; 8]) -> Result<P>
where
    P: TryFrom<u64, Error = sync_core::Error>,
{
    P::try_from(u64::from_be_bytes(bytes)).map_err(corrupt)
}

/// A position of eight bytes, or none.
pub(crate) fn optional_position<P>(bytes: [u8; 8]) -> Result<Option<P>>
where
    P: TryFrom<u64, Error = sync_core::Error>,
{
    if bytes == NONE {
        return Ok(None);
    }
    position(bytes).map(Some)
}

fn short() -> sync_core::Error {
    corrupt("a row or tombstone is not whole")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(payload: usize, object: Option<&'static [u8]>) -> Operation {
        let mut operation = Operation::new(OpId::new([7; 32]), Ts::MAX, vec![b'x'; payload]);
        operation.object = object.map(|bytes| Object::new(bytes).unwrap());
        operation.sync_order = SyncOrder::new(3);
        operation
    }

    #[test]
    fn a_row_comes_back_as_it_was_packed_on_both_sides_of_the_limit() {
        for payload in [0, 1, INLINE, INLINE + 1] {
            for object in [None, Some(&b"a"[..]), Some(&[0xff; 256][..])] {
                let operation = operation(payload, object);
                let mut row = be8(Seq::MAX).to_vec();
                pack_row(
                    &operation,
                    operation.sync_order,
                    &operation.digest(),
                    &mut row,
                );
                let large = payload > INLINE;
                let blob = if large {
                    operation.payload.to_vec()
                } else {
                    Vec::new()
                };
                let stored = Stored::unpack(row).unwrap();
                assert_eq!(stored.digest, operation.digest());
                let row = stored.into_row(operation.id, blob).unwrap();
                assert_eq!((row.operation, row.seq), (operation, Seq::MAX));
            }
        }
    }

    #[test]
    fn a_row_or_tombstone_that_is_cut_is_refused() {
        let operation = operation(5, Some(b"abc"));
        let mut row = be8(Seq::ZERO).to_vec();
        pack_row(
            &operation,
            operation.sync_order,
            &operation.digest(),
            &mut row,
        );
        for len in 0..row.len() {
            let cut = Stored::unpack(row[..len].to_vec())
                .and_then(|stored| stored.into_row(operation.id, Vec::new()));
            assert!(cut.is_err(), "{len} bytes");
        }
        assert!(Tombstone::unpack(vec![1; 57]).is_err());
    }

    #[test]
    fn the_keys_of_a_space_share_its_name_as_their_hash_tag() {
        let space = SpaceName::new("a.b").unwrap();
        let keys = SpaceKeys::of("sync", &space);
        assert_eq!(keys.name(Key::Meta), "sync:{a.b}:meta");
        for (key, name) in [
            (Key::Rows, "rows"),
            (Key::Blobs, "blobs"),
            (Key::Time, "time"),
            (Key::Seq, "seq"),
            (Key::Order, "order"),
            (Key::Object, "object"),
            (Key::TombstoneOf, "graves"),
            (Key::State, "state"),
            (Key::Names, "names"),
        ] {
            assert_eq!(keys.name(key), format!("sync:{{a.b}}:{name}"));
        }
        assert_eq!(keys.slot, slots::slot(b"a.b"));
    }
}
