use std::fmt;

use crate::{Error, Object, Result, Ts};

/// 16 bytes that stand for what a row holds: the first half of BLAKE3 over ts, object and
/// payload, each with its length before it.
///
/// Stores keep it with the row and compare it instead of the payload, so that a replay moves no
/// payloads. The sync order is not part of it: that may become known later. An absent object is
/// told from every present one, because a present one is never empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 16]);

impl Digest {
    /// The digest a database gave back.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digest of a row with these values.
    pub fn of(ts: Ts, object: Option<&Object>, payload: &[u8]) -> Self {
        let object = object.map_or(&[][..], Object::as_bytes);
        // One small buffer for the lengths and the short fields: every `update` has a price.
        let mut head = Vec::with_capacity(32 + object.len());
        head.extend_from_slice(&8_u64.to_le_bytes());
        head.extend_from_slice(&ts.value().to_le_bytes());
        head.extend_from_slice(&(object.len() as u64).to_le_bytes());
        head.extend_from_slice(object);
        head.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(payload);
        let whole = hasher.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(whole.as_slice().split_at(16).0);
        Self(half)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::invalid(
                "digest",
                format!("the length is {} instead of 16 bytes", bytes.len()),
            )
        })
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(ts: u64, object: Option<&'static [u8]>, payload: &[u8]) -> Digest {
        let object = object.map(|bytes| Object::new(bytes).unwrap());
        Digest::of(Ts::new(ts).unwrap(), object.as_ref(), payload)
    }

    #[test]
    fn no_two_fields_can_trade_bytes() {
        let all = [
            digest(1, None, b"ab"),
            digest(2, None, b"ab"),
            digest(1, Some(b"a"), b"b"),
            digest(1, Some(b"ab"), b""),
            digest(1, None, b""),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in all.iter().skip(i + 1) {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn the_digest_is_the_one_that_databases_already_hold() {
        // `printf` the 33 bytes through b3sum: the layout is a file format and must not drift.
        let bytes = [
            8_u64.to_le_bytes(),
            7_u64.to_le_bytes(),
            0_u64.to_le_bytes(),
            1_u64.to_le_bytes(),
        ]
        .concat();
        let whole = blake3::hash(&[&bytes[..], b"x"].concat());
        assert_eq!(digest(7, None, b"x").as_bytes(), &whole.as_bytes()[..16]);
    }
}
