//! The same with the `negentropy` crate.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use sync_core::TimeKey;

use crate::Wire;

pub(crate) struct Vector(NegentropyStorageVector);

impl Vector {
    pub(crate) fn load(keys: &[TimeKey]) -> Self {
        let mut storage = NegentropyStorageVector::with_capacity(keys.len());
        for key in keys {
            let id = Id::from_byte_array(*key.id.as_bytes());
            storage.insert(key.ts.value(), id).unwrap();
        }
        storage.seal().unwrap();
        Self(storage)
    }
}

pub(crate) fn session(vectors: &[Vector; 2], frame: Option<usize>) -> Wire {
    let frame = frame.unwrap_or(0) as u64;
    let [mut asks, mut answers] =
        [0, 1].map(|side: usize| Negentropy::borrowed(&vectors[side].0, frame).unwrap());
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut wire = Wire {
        rounds: 0,
        bytes: 0,
        have: 0,
        need: 0,
    };
    let mut message = asks.initiate().unwrap();
    loop {
        let answer = answers.reconcile(&message).unwrap();
        wire.rounds += 1;
        wire.bytes += message.len() + answer.len();
        match asks
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .unwrap()
        {
            Some(next) => message = next,
            None => break,
        }
    }
    for ids in [&mut have, &mut need] {
        ids.sort_unstable();
        ids.dedup();
    }
    wire.have = have.len();
    wire.need = need.len();
    wire
}
