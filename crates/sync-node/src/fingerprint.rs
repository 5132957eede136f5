use sha2::{Digest, Sha256};
use sync_store::OpId;

/// The fingerprint of a set of keys as negentropy v1 defines it: two nodes with the same one hold
/// the same ids.
///
/// The first 16 bytes of SHA-256 over the sum of the ids, taken as little-endian numbers modulo
/// 2^256 (32 bytes, little-endian), followed by the number of ids as a varint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fingerprint {
    /// The sum's 64-bit digits, lowest first.
    sum: [u64; 4],
    count: u64,
}

impl Fingerprint {
    /// Adds one id.
    pub(crate) fn add(&mut self, id: &OpId) {
        let (digits, _) = id.as_bytes().as_chunks::<8>();
        let mut carry = false;
        for (sum, digit) in self.sum.iter_mut().zip(digits) {
            let (partial, first) = sum.overflowing_add(u64::from_le_bytes(*digit));
            let (whole, second) = partial.overflowing_add(u64::from(carry));
            *sum = whole;
            carry = first || second;
        }
        self.count += 1;
    }

    /// How many ids were added.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The 16 bytes, in hexadecimal.
    pub(crate) fn to_hex(self) -> String {
        let mut hasher = Sha256::new();
        for digit in self.sum {
            hasher.update(digit.to_le_bytes());
        }
        hasher.update(varint(self.count));
        let whole = hasher.finalize();
        hex::encode(whole.get(..16).unwrap_or_default())
    }
}

/// Base 128, most significant digit first, every byte but the last with its high bit set.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut more = 0;
    loop {
        bytes.push(u8::try_from(value & 0x7f).unwrap_or(0) | more);
        value >>= 7;
        more = 0x80;
        if value == 0 {
            bytes.reverse();
            return bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[[u8; 32]]) -> String {
        let mut fingerprint = Fingerprint::default();
        for id in ids {
            fingerprint.add(&OpId::new(*id));
        }
        fingerprint.to_hex()
    }

    /// The first 16 bytes of SHA-256 over `bytes`.
    fn hash(bytes: &[u8]) -> String {
        hex::encode(&Sha256::digest(bytes)[..16])
    }

    #[test]
    fn a_fingerprint_hashes_the_little_endian_sum_and_the_count() {
        assert_eq!(of(&[]), hash(&[0; 33]));
        let mut expected = [0; 33];
        expected[0] = 3;
        expected[32] = 2;
        let (mut one, mut two) = ([0; 32], [0; 32]);
        (one[0], two[0]) = (1, 2);
        assert_eq!(of(&[one, two]), hash(&expected));
        assert_eq!(of(&[two, one]), hash(&expected));
    }

    #[test]
    fn the_sum_carries_through_every_digit_and_wraps_at_2_to_the_256() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut expected = [0; 33];
        expected[32] = 2;
        assert_eq!(of(&[[0xff; 32], one]), hash(&expected));
        let mut low = [0; 32];
        low[..8].fill(0xff);
        let mut carried = [0; 33];
        carried[8] = 1;
        carried[32] = 2;
        assert_eq!(of(&[low, one]), hash(&carried));
    }

    #[test]
    fn varints_are_base_128_with_the_highest_digit_first() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(127), [127]);
        assert_eq!(varint(128), [0x81, 0]);
        assert_eq!(varint(16_384), [0x81, 0x80, 0]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}
