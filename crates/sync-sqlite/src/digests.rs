//! The digests of a page's operations, computed beside the thread that writes.
//!
//! Hashing an operation of a kilobyte takes about a fifth of the time that inserting it takes. A
//! second thread does it while the first one writes, and stays ahead.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use sync_core::{Digest, Operation};

/// Operations of a page for which a thread is worth its start.
const WORTH_A_THREAD: usize = 64;
/// Digests handed over at once.
const CHUNK: usize = 32;

/// Runs `write` with the digests of `operations`, which it must ask for in their order.
pub(crate) fn beside<T>(operations: &[Operation], write: impl FnOnce(Digests<'_>) -> T) -> T {
    if operations.len() < WORTH_A_THREAD {
        return write(Digests {
            ready: Vec::new().into_iter(),
            coming: None,
        });
    }
    thread::scope(|scope| {
        let (chunks, coming) = channel();
        let hash = move || {
            for chunk in operations.chunks(CHUNK) {
                let digests: Vec<Digest> = chunk.iter().map(Operation::digest).collect();
                // The writer may have given up.
                if chunks.send(digests).is_err() {
                    return;
                }
            }
        };
        // Without a thread the writer hashes by itself.
        let coming = thread::Builder::new()
            .spawn_scoped(scope, hash)
            .is_ok()
            .then_some(&coming);
        write(Digests {
            ready: Vec::new().into_iter(),
            coming,
        })
    })
}

/// Digests in the order of the operations.
pub(crate) struct Digests<'a> {
    ready: std::vec::IntoIter<Digest>,
    coming: Option<&'a Receiver<Vec<Digest>>>,
}

impl Digests<'_> {
    /// The digest of `operation`, which is the next one.
    pub(crate) fn next_of(&mut self, operation: &Operation) -> Digest {
        if let Some(digest) = self.ready.next() {
            return digest;
        }
        let chunk = self
            .coming
            .and_then(|coming| coming.recv().ok())
            .unwrap_or_default();
        self.ready = chunk.into_iter();
        self.ready.next().unwrap_or_else(|| operation.digest())
    }
}

#[cfg(test)]
mod tests {
    use sync_core::{OpId, Ts};

    use super::*;

    #[test]
    fn every_operation_gets_its_own_digest_on_either_side_of_the_threshold() {
        for count in [0, 1, WORTH_A_THREAD - 1, WORTH_A_THREAD, CHUNK * 5 + 3] {
            let operations: Vec<_> = (0..count)
                .map(|n| Operation::new(OpId::new([0; 32]), Ts::ZERO, n.to_string()))
                .collect();
            let digests: Vec<_> = beside(&operations, |mut digests| {
                operations
                    .iter()
                    .map(|operation| digests.next_of(operation))
                    .collect()
            });
            let expected: Vec<_> = operations.iter().map(Operation::digest).collect();
            assert_eq!(digests, expected);
        }
    }

    #[test]
    fn a_writer_that_gives_up_does_not_wait_for_the_rest() {
        let operations = vec![Operation::new(OpId::new([0; 32]), Ts::ZERO, vec![0; 1000]); 10_000];
        let first = beside(&operations, |mut digests| digests.next_of(&operations[0]));
        assert_eq!(first, operations[0].digest());
    }
}
