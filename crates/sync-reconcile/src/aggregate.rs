use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

use sha2::{Digest as _, Sha256};
use sync_core::OpId;

use crate::wire;

/// The count of a set of keys, and the sum of their ids modulo 2^256, each id read as a little-endian
/// number.
///
/// Aggregates of disjoint sets add up, and the aggregate of a subset can be subtracted. So the aggregate
/// of a peer's set is known once the difference is: our own, minus the keys that the peer lacks, plus the
/// keys that we lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    count: usize,
    sum: Sum,
}

/// The first 16 bytes of the SHA-256 of an [`Aggregate`]: equal for equal sets.
///
/// The sum is not collision-resistant against anyone who may choose ids freely, so an equal
/// fingerprint is evidence of honest peers, not a proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::BYTES]);

/// A number modulo 2^256, in 64-bit digits from the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Aggregate {
    /// The aggregate of no key.
    pub const EMPTY: Self = Self {
        count: 0,
        sum: Sum([0; 4]),
    };

    /// The number of keys.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The sum of the ids modulo 2^256, lowest byte first.
    pub fn sum_bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let (digits, _) = bytes.as_chunks_mut();
        for (digit, value) in digits.iter_mut().zip(self.sum.0) {
            *digit = value.to_le_bytes();
        }
        bytes
    }

    /// What negentropy compares: SHA-256 over the sum and the count, cut to 16 bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        let (digits, len) = wire::varint(self.count as u64);
        let mut hash = Sha256::new();
        hash.update(self.sum_bytes());
        hash.update(digits.get(..len).unwrap_or_default());
        let hash = hash.finalize();
        let mut bytes = [0; Fingerprint::BYTES];
        for (place, byte) in bytes.iter_mut().zip(hash) {
            *place = byte;
        }
        Fingerprint(bytes)
    }
}

impl AddAssign<&OpId> for Aggregate {
    #[inline]
    fn add_assign(&mut self, id: &OpId) {
        self.count += 1;
        self.sum.add(Sum::of(id));
    }
}

/// For an id that is not in the set the sum means nothing; the count does not fall below 0.
impl SubAssign<&OpId> for Aggregate {
    #[inline]
    fn sub_assign(&mut self, id: &OpId) {
        self.count = self.count.saturating_sub(1);
        self.sum.sub(Sum::of(id));
    }
}

/// The aggregate of two disjoint sets.
impl AddAssign for Aggregate {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.sum.add(other.sum);
    }
}

/// The aggregate of a set without one of its subsets.
impl SubAssign for Aggregate {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        self.count = self.count.saturating_sub(other.count);
        self.sum.sub(other.sum);
    }
}

impl Add for Aggregate {
    type Output = Self;

    #[inline]
    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sub for Aggregate {
    type Output = Self;

    #[inline]
    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl<'k> FromIterator<&'k OpId> for Aggregate {
    fn from_iter<I: IntoIterator<Item = &'k OpId>>(ids: I) -> Self {
        let mut aggregate = Self::EMPTY;
        for id in ids {
            aggregate += id;
        }
        aggregate
    }
}

impl Fingerprint {
    /// The length of a fingerprint.
    pub const BYTES: usize = 16;

    /// The fingerprint made of these bytes, as a peer sends it.
    pub const fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl Sum {
    #[inline]
    fn of(id: &OpId) -> Self {
        let (digits, _) = id.as_bytes().as_chunks();
        let mut sum = [0; 4];
        for (value, digit) in sum.iter_mut().zip(digits) {
            *value = u64::from_le_bytes(*digit);
        }
        Self(sum)
    }

    #[inline]
    fn add(&mut self, Self([b0, b1, b2, b3]): Self) {
        let [a0, a1, a2, a3] = self.0;
        let (a0, carry) = a0.carrying_add(b0, false);
        let (a1, carry) = a1.carrying_add(b1, carry);
        let (a2, carry) = a2.carrying_add(b2, carry);
        let (a3, _) = a3.carrying_add(b3, carry);
        self.0 = [a0, a1, a2, a3];
    }

    #[inline]
    fn sub(&mut self, Self([b0, b1, b2, b3]): Self) {
        let [a0, a1, a2, a3] = self.0;
        let (a0, borrow) = a0.borrowing_sub(b0, false);
        let (a1, borrow) = a1.borrowing_sub(b1, borrow);
        let (a2, borrow) = a2.borrowing_sub(b2, borrow);
        let (a3, _) = a3.borrowing_sub(b3, borrow);
        self.0 = [a0, a1, a2, a3];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(low: u8, high: u8) -> OpId {
        let mut bytes = [0; 32];
        bytes[0] = low;
        bytes[31] = high;
        OpId::new(bytes)
    }

    #[test]
    fn sums_carry_through_every_digit_and_wrap_at_2_to_the_256() {
        let mut sum: Aggregate = [&OpId::new([0xff; 32]), &id(2, 0)].into_iter().collect();
        assert_eq!(sum.count(), 2);
        assert_eq!(&sum.sum_bytes(), id(1, 0).as_bytes());
        sum -= &id(2, 0);
        assert_eq!(sum.sum_bytes(), [0xff; 32]);
    }

    #[test]
    fn aggregates_of_parts_are_the_whole_and_can_be_taken_apart() {
        let ids = [id(1, 200), id(2, 100), id(3, 0xff)];
        let whole: Aggregate = ids.iter().collect();
        let first: Aggregate = ids[..1].iter().collect();
        let rest: Aggregate = ids[1..].iter().collect();
        assert_eq!(first + rest, whole);
        assert_eq!(whole - rest, first);
        assert_eq!(whole - whole, Aggregate::EMPTY);
    }

    #[test]
    fn the_fingerprint_is_the_hash_of_sum_and_count() {
        for count in [1, 127, 128, 20_000] {
            let aggregate: Aggregate = (0..count)
                .map(|_| OpId::new([3; 32]))
                .collect::<Vec<_>>()
                .iter()
                .collect();
            let mut message = aggregate.sum_bytes().to_vec();
            let (digits, len) = wire::varint(count);
            message.extend(&digits[..len]);
            let hash = Sha256::digest(&message);
            assert_eq!(aggregate.fingerprint().as_bytes(), &hash[..16]);
        }
    }

    /// SHA-256 of 33 zero bytes.
    #[test]
    fn the_fingerprint_of_nothing_is_the_hash_of_zeros() {
        assert_eq!(
            Aggregate::EMPTY.fingerprint().to_string(),
            "7f9c9e31ac8256ca2f258583df262dbc"
        );
    }
}
