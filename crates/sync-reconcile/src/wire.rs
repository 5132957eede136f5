//! Messages of negentropy version 1, byte for byte.
//!
//! A message is the version and then ranges of keys that follow each other. A range begins where the
//! one before it ends; what comes after the last one is skipped. Sessions do all of this by
//! themselves: the module is for looking into messages, and for tests.

use std::cmp::Ordering;

use sync_core::TimeKey;

use crate::{Error, ErrorKind, Fingerprint, Result};

/// The first byte of a message.
pub const VERSION: u8 = 0x61;

/// The first bytes of messages of any version.
const VERSIONS: std::ops::RangeInclusive<u8> = 0x60..=0x6f;

/// The most bytes a bound takes.
pub(crate) const MAX_BOUND: usize = 10 + 1 + ID;
/// The most bytes a mode and the number of ids take.
pub(crate) const MAX_COUNT: usize = 1 + 10;
/// The length of an id.
pub(crate) const ID: usize = 32;

const INFINITY: u64 = u64::MAX;

const SKIP: u64 = 0;
const FINGERPRINT: u64 = 1;
const IDS: u64 = 2;

/// A place between keys: everything below it belongs to the range that it ends.
///
/// A timestamp and the first bytes of an id; the missing ones are zeros. Bounds compare as keys do,
/// whichever way they are written.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    ts: u64,
    id: [u8; ID],
    len: u8,
}

/// A range of a message: from the bound of the one before it to its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range<'m> {
    /// Where the range ends, exclusive.
    pub upper: Bound,
    /// What the sender says about it.
    pub body: Body<'m>,
}

/// What a range says: one of the modes of version 1, which has no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'m> {
    /// Nothing is to be said about these keys.
    Skip,
    /// The fingerprint of the sender's keys.
    Fingerprint(Fingerprint),
    /// The ids of all of the sender's keys.
    Ids(&'m [[u8; ID]]),
}

/// Reads the ranges of a message.
///
/// A bound that is below the one before it, a number with leading zeros, and whatever does not end
/// are errors; after an error the iterator is at its end. A message cut between two ranges cannot be
/// told from a whole one: the transport has to see to that.
#[derive(Clone, Debug)]
pub struct Ranges<'m> {
    rest: &'m [u8],
    last: Bound,
}

/// Writes a message.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    last_ts: u64,
}

impl Bound {
    /// Below every key.
    pub const START: Self = Self {
        ts: 0,
        id: [0; ID],
        len: 0,
    };

    /// Above every key.
    pub const END: Self = Self {
        ts: INFINITY,
        id: [0; ID],
        len: 0,
    };

    /// Just below `key`.
    pub fn at(key: &TimeKey) -> Self {
        Self {
            ts: key.ts.value(),
            id: *key.id.as_bytes(),
            len: 32,
        }
    }

    /// The shortest bound above `below` and not above `key`, its successor.
    pub fn between(below: &TimeKey, key: &TimeKey) -> Self {
        let mut bound = Self::START;
        bound.ts = key.ts.value();
        if below.ts == key.ts {
            let pairs = key.id.as_bytes().iter().zip(below.id.as_bytes());
            for ((byte, other), place) in pairs.zip(&mut bound.id) {
                *place = *byte;
                bound.len += 1;
                if byte != other {
                    break;
                }
            }
        }
        bound
    }

    /// Whether this is [`END`](Self::END).
    pub const fn is_end(&self) -> bool {
        self.ts == INFINITY
    }

    /// The timestamp, or `None` above every key.
    pub const fn ts(&self) -> Option<u64> {
        if self.is_end() { None } else { Some(self.ts) }
    }

    /// The bytes of the id that the message names.
    pub fn prefix(&self) -> &[u8] {
        self.id.get(..self.len.into()).unwrap_or(&self.id)
    }

    /// Whether `key` is below the bound.
    #[inline]
    pub fn is_above(&self, key: &TimeKey) -> bool {
        let ts = key.ts.value();
        ts < self.ts || ts == self.ts && *key.id.as_bytes() < self.id
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ts.cmp(&other.ts).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bound {}

impl<'m> Ranges<'m> {
    /// Reads the version; the ranges follow.
    ///
    /// Fails with [`ErrorKind::NotNegentropy`] or [`ErrorKind::UnsupportedVersion`].
    pub fn new(message: &'m [u8]) -> Result<Self> {
        match message.split_first() {
            Some((&VERSION, rest)) => Ok(Self {
                rest,
                last: Bound::START,
            }),
            Some((&theirs, _)) if VERSIONS.contains(&theirs) => {
                Err(ErrorKind::UnsupportedVersion { theirs }.into())
            }
            _ => Err(ErrorKind::NotNegentropy.into()),
        }
    }

    fn range(&mut self) -> Result<Range<'m>> {
        let upper = self.bound()?;
        if upper < self.last {
            return Err(ErrorKind::UnorderedBounds.into());
        }
        self.last = upper;
        let body = match self.number()? {
            SKIP => Body::Skip,
            FINGERPRINT => Body::Fingerprint(Fingerprint::new(self.array()?)),
            IDS => {
                let count = self.number()?;
                let ids = self.rest.as_chunks().0;
                let count = usize::try_from(count).ok();
                let ids = count.and_then(|count| ids.get(..count)).ok_or(TRUNCATED)?;
                self.rest = self.rest.get(ids.len() * ID..).unwrap_or_default();
                Body::Ids(ids)
            }
            mode => return Err(ErrorKind::UnknownMode { mode }.into()),
        };
        Ok(Range { upper, body })
    }

    fn bound(&mut self) -> Result<Bound> {
        let mut bound = Bound::START;
        bound.ts = match self.number()?.checked_sub(1) {
            None => INFINITY,
            Some(more) => {
                let ts = self.last.ts.checked_add(more);
                ts.filter(|ts| *ts < INFINITY).ok_or(INVALID_BOUND)?
            }
        };
        let len = self.number()?;
        bound.len = u8::try_from(len).map_err(|_| INVALID_BOUND)?;
        let place = bound.id.get_mut(..bound.len.into()).ok_or(INVALID_BOUND)?;
        let (prefix, rest) = self.rest.split_at_checked(place.len()).ok_or(TRUNCATED)?;
        place.copy_from_slice(prefix);
        self.rest = rest;
        Ok(bound)
    }

    fn number(&mut self) -> Result<u64> {
        let mut value: u64 = 0;
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
            self.rest = rest;
            if value == 0 && byte == 0x80 || value >> (u64::BITS - 7) != 0 {
                return Err(ErrorKind::InvalidNumber.into());
            }
            value = value << 7 | u64::from(byte & 0x7f);
            if byte < 0x80 {
                return Ok(value);
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

impl<'m> Iterator for Ranges<'m> {
    type Item = Result<Range<'m>>;

    fn next(&mut self) -> Option<Result<Range<'m>>> {
        if self.rest.is_empty() {
            return None;
        }
        let range = self.range();
        if range.is_err() {
            self.rest = &[];
        }
        Some(range)
    }
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![VERSION],
            last_ts: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn skip(&mut self, upper: &Bound) {
        self.bound(upper);
        self.number(SKIP);
    }

    pub(crate) fn fingerprint(&mut self, upper: &Bound, fingerprint: Fingerprint) {
        self.bound(upper);
        self.number(FINGERPRINT);
        self.bytes.extend_from_slice(fingerprint.as_bytes());
    }

    /// Begins a list; [`id`](Self::id) has to be called `count` times.
    pub(crate) fn ids(&mut self, upper: &Bound, count: usize) {
        self.bytes.reserve(MAX_BOUND + MAX_COUNT + count * ID);
        self.bound(upper);
        self.number(IDS);
        self.number(count as u64);
    }

    pub(crate) fn id(&mut self, id: &[u8; ID]) {
        self.bytes.extend_from_slice(id);
    }

    fn bound(&mut self, bound: &Bound) {
        if bound.is_end() {
            self.number(0);
        } else {
            self.number(bound.ts.saturating_sub(self.last_ts) + 1);
        }
        self.last_ts = bound.ts;
        self.number(bound.len.into());
        self.bytes.extend_from_slice(bound.prefix());
    }

    fn number(&mut self, value: u64) {
        if let [low, 0, ..] = value.to_le_bytes()
            && value < 0x80
        {
            self.bytes.push(low);
            return;
        }
        let (bytes, len) = varint(value);
        self.bytes.extend(bytes.iter().take(len));
    }
}

/// The message of these ranges, whose bounds must not descend.
pub fn encode<'m>(ranges: impl IntoIterator<Item = Range<'m>>) -> Vec<u8> {
    let mut writer = Writer::new();
    for Range { upper, body } in ranges {
        match body {
            Body::Skip => writer.skip(&upper),
            Body::Fingerprint(fingerprint) => writer.fingerprint(&upper, fingerprint),
            Body::Ids(ids) => {
                writer.ids(&upper, ids.len());
                for id in ids {
                    writer.id(id);
                }
            }
        }
    }
    writer.into_bytes()
}

/// `value` in base 128, most significant digit first, and how many bytes that is.
pub(crate) fn varint(value: u64) -> ([u8; 10], usize) {
    let len = (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize;
    let mut bytes = [0; 10];
    let mut rest = value;
    for (place, byte) in bytes.iter_mut().take(len).rev().enumerate() {
        let [low, ..] = rest.to_le_bytes();
        *byte = low & 0x7f | if place == 0 { 0 } else { 0x80 };
        rest >>= 7;
    }
    (bytes, len)
}

const TRUNCATED: Error = Error::new(ErrorKind::Truncated);
const INVALID_BOUND: Error = Error::new(ErrorKind::InvalidBound);

#[cfg(test)]
mod tests;
