//! The digests of a page's operations, computed beside the writer.
//!
//! Next to inserting an operation of a kilobyte, hashing it is a large part of the work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_core::{Digest, Operation, Page};

/// How far ahead of the writer the second thread works, at the least.
const AHEAD: usize = 16;

/// A page, and the digests of its upserts as far as they are known. A second thread runs ahead of
/// the writer, which never waits for it: what is not there yet, the writer hashes itself.
pub struct Digested {
    page: Page,
    digests: Vec<OnceLock<Digest>>,
    /// Operations whose digest the writer has asked for.
    asked: AtomicUsize,
}

impl Digested {
    /// A page of which no digest is known.
    pub fn new(page: Page) -> Self {
        let digests = page.upserts.iter().map(|_| OnceLock::new()).collect();
        Self {
            page,
            digests,
            asked: AtomicUsize::new(0),
        }
    }

    /// The page.
    pub const fn page(&self) -> &Page {
        &self.page
    }

    /// Whether a second thread is worth waking.
    pub fn is_long(&self) -> bool {
        self.digests.len() > 8 * AHEAD
    }

    /// Hashes what the writer has not reached.
    pub fn hash_ahead(&self) {
        let mut at = self.ahead();
        while let (Some(operation), Some(slot)) = (self.page.upserts.get(at), self.digests.get(at))
        {
            let _ = slot.set(operation.digest());
            at = (at + 1).max(self.ahead());
        }
    }

    /// The digests of the upserts, in order. Asked for once, by the writer.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.page
            .upserts
            .iter()
            .zip(&self.digests)
            .map(|(operation, slot)| {
                self.asked.fetch_add(1, Ordering::Relaxed);
                slot.get().copied().unwrap_or_else(|| operation.digest())
            })
    }

    /// Ends the work of the second thread: the writer has finished, or given up.
    pub fn finish(&self) {
        self.asked.store(self.digests.len(), Ordering::Relaxed);
    }

    fn ahead(&self) -> usize {
        self.asked.load(Ordering::Relaxed).saturating_add(AHEAD)
    }
}

/// The digests of a page's upserts, in order.
pub fn of(page: &Page) -> Vec<Digest> {
    page.upserts.iter().map(Operation::digest).collect()
}

#[cfg(feature = "runtime")]
pub use beside::{Digests, begin, ready};

#[cfg(feature = "runtime")]
mod beside {
    use std::ops::Range;
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, Shared, try_join_all};
    use sync_core::{Digest, Operation, Page};
    use tokio::runtime::Handle;

    /// Digests that other threads work out while the server looks up what the page names. Any number
    /// of attempts may wait for them.
    pub type Digests = Shared<BoxFuture<'static, Arc<[Digest]>>>;

    /// A page with fewer operations is hashed where it is, unless it is large.
    const FEW: usize = 32;

    /// Bytes of payloads above which a page is large: the runtime's only thread serves every space.
    const LARGE: usize = 256 << 10;

    /// A page with fewer operations is hashed by one thread, and a larger one by two: the server has
    /// answered the look-up before one could be through with it.
    const MANY: usize = 256;

    /// Begins to hash a page beside the runtime's thread, or hashes a small one at once.
    pub fn begin(page: &Arc<Page>, handle: &Handle) -> Digests {
        let all = page.upserts.len();
        let bytes: usize = page.upserts.iter().map(|o| o.payload.len()).sum();
        if all < FEW && bytes <= LARGE {
            return ready(super::of(page).into());
        }
        let most = if all < MANY { all } else { all.div_ceil(2) };
        let parts = (0..all).step_by(most.max(1)).map(|from| {
            let page = Arc::clone(page);
            handle.spawn_blocking(move || part(&page, from..all.min(from + most)))
        });
        let (working, page) = (try_join_all(parts), Arc::clone(page));
        let joined = async move {
            match working.await {
                Ok(parts) => parts.concat().into(),
                // The runtime is ending.
                Err(_) => super::of(&page).into(),
            }
        };
        joined.boxed().shared()
    }

    /// Digests that are known.
    pub fn ready(digests: Arc<[Digest]>) -> Digests {
        std::future::ready(digests).boxed().shared()
    }

    fn part(page: &Page, part: Range<usize>) -> Vec<Digest> {
        let upserts = page.upserts.get(part).unwrap_or_default();
        upserts.iter().map(Operation::digest).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use sync_core::{OpId, Ts};

    use super::*;

    fn page(operations: usize) -> Page {
        let operation = |n: usize| Operation::new(OpId::new([0; 32]), Ts::ZERO, n.to_string());
        Page::new().upserts((0..operations).map(operation))
    }

    #[test]
    fn every_operation_gets_its_own_digest_with_and_without_a_second_thread() {
        for second in [false, true] {
            let page = Digested::new(page(5_000));
            let found: Vec<_> = thread::scope(|scope| {
                if second {
                    scope.spawn(|| page.hash_ahead());
                }
                page.digests().collect()
            });
            assert_eq!(found, of(page.page()));
        }
    }

    #[test]
    fn the_second_thread_stops_where_the_writer_has() {
        let page = Digested::new(page(5_000));
        let _ = page.digests().next();
        page.finish();
        page.hash_ahead();
        assert!(page.digests.iter().all(|slot| slot.get().is_none()));
    }

    #[cfg(feature = "runtime")]
    #[test]
    fn every_operation_gets_its_own_digest_beside_the_runtime() {
        let driver = crate::driver::Driver::new("test").unwrap();
        let large = Operation::new(OpId::new([0; 32]), Ts::ZERO, vec![7; 300 << 10]);
        let sizes = [0, 1, 31, 32, 255, 256, 257, 5_000];
        for page in sizes
            .map(page)
            .into_iter()
            .chain([Page::new().upsert(large)])
        {
            let page = std::sync::Arc::new(page);
            let found = pollster::block_on(begin(&page, driver.handle()));
            assert_eq!(*found, of(&page), "{} operations", page.operations());
        }
    }
}
