//! The digests of a page's operations, computed beside the thread that writes.
//!
//! Next to inserting an operation of a kilobyte, hashing it is no small matter. A second thread runs
//! ahead of the writer, which never waits for it: what is not there yet, the writer hashes by itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_core::{Digest, Operation, Page};

/// How far ahead of the writer the second thread works, at the least.
const AHEAD: usize = 16;

/// A page, and the digests of its upserts as far as they are known.
pub(crate) struct Digested {
    page: Page,
    digests: Vec<OnceLock<Digest>>,
    /// Operations whose digest the writer has asked for.
    asked: AtomicUsize,
}

impl Digested {
    pub(crate) fn new(page: Page) -> Self {
        let digests = page.upserts.iter().map(|_| OnceLock::new()).collect();
        Self {
            page,
            digests,
            asked: AtomicUsize::new(0),
        }
    }

    pub(crate) fn page(&self) -> &Page {
        &self.page
    }

    /// Whether a second thread is worth waking.
    pub(crate) fn is_long(&self) -> bool {
        self.digests.len() > 8 * AHEAD
    }

    /// Hashes what the writer has not reached.
    pub(crate) fn hash_ahead(&self) {
        let mut at = self.ahead();
        while let (Some(operation), Some(slot)) = (self.page.upserts.get(at), self.digests.get(at))
        {
            let _ = slot.set(operation.digest());
            at = (at + 1).max(self.ahead());
        }
    }

    /// The upserts with their digests, in order. Asked for once, by the writer.
    pub(crate) fn upserts(&self) -> impl ExactSizeIterator<Item = (&Operation, Digest)> {
        self.page
            .upserts
            .iter()
            .zip(&self.digests)
            .map(|(operation, slot)| {
                self.asked.fetch_add(1, Ordering::Relaxed);
                (
                    operation,
                    slot.get().copied().unwrap_or_else(|| operation.digest()),
                )
            })
    }

    /// Ends the work of the second thread: the writer has finished, or given up.
    pub(crate) fn finish(&self) {
        self.asked.store(self.digests.len(), Ordering::Relaxed);
    }

    fn ahead(&self) -> usize {
        self.asked.load(Ordering::Relaxed).saturating_add(AHEAD)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use sync_core::{OpId, Ts};

    use super::*;

    fn page(operations: usize) -> Digested {
        let operation = |n: usize| Operation::new(OpId::new([0; 32]), Ts::ZERO, n.to_string());
        Digested::new(Page::new().upserts((0..operations).map(operation)))
    }

    #[test]
    fn every_operation_gets_its_own_digest_with_and_without_a_second_thread() {
        for second in [false, true] {
            let page = page(5_000);
            let found: Vec<_> = thread::scope(|scope| {
                if second {
                    scope.spawn(|| page.hash_ahead());
                }
                page.upserts().map(|(_, digest)| digest).collect()
            });
            let expected: Vec<_> = page.page().upserts.iter().map(Operation::digest).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_second_thread_stops_where_the_writer_has() {
        let page = page(5_000);
        let _ = page.upserts().next();
        page.finish();
        page.hash_ahead();
        assert!(page.digests.iter().all(|slot| slot.get().is_none()));
    }
}
