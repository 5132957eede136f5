//! Numbers of negentropy's messages.

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
