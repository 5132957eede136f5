//! Hashing of ids.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes ids with random keys, so that nobody can choose ids that collide.
///
/// Ids are long and mostly random already: two multiplications do what the default hasher takes
/// several times as long for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdHash {
    keys: [u64; 2],
}

#[derive(Debug)]
pub(crate) struct IdHasher {
    keys: [u64; 2],
    state: u64,
}

impl IdHash {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self {
            keys: [0_u64, 1].map(|n| random.hash_one(n)),
        }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher {
            keys: self.keys,
            state: 0,
        }
    }
}

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let [first, second] = self.keys;
        let (words, _) = bytes.as_chunks();
        for pair in words.chunks(2) {
            let [low, high] = match pair {
                [low, high] => [*low, *high],
                [low] => [*low, [0; 8]],
                _ => continue,
            };
            let low = u64::from_le_bytes(low) ^ first ^ self.state;
            let (low, high) = low.carrying_mul(u64::from_le_bytes(high) ^ second, 0);
            self.state = (low ^ high).rotate_left(23);
        }
    }

    /// The length of an id, which is always the same.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.state
    }
}
