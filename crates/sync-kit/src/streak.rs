//! Whether the next page is expected to hold new operations only.

use std::sync::atomic::{AtomicU8, Ordering};

use sync_core::{Applied, UpsertOutcome};

/// The most pages between two attempts that went wrong, as a power of two.
const LONGEST: u8 = 6;

/// What the last pages of a space were like. Only a guess, which a backend may use to write a page
/// without looking first: a wrong guess costs a round trip.
#[derive(Debug, Default)]
pub struct Streak {
    /// Pages of new operations alone, one after the other.
    pages: AtomicU8,
    /// Attempts that went wrong, one after the other. Each doubles the pages until the next one.
    failures: AtomicU8,
}

impl Streak {
    /// Whether at least `pages` pages of new operations alone came one after the other, and more
    /// after attempts that went wrong.
    pub fn is_due(&self, pages: u8) -> bool {
        let failures = self.failures.load(Ordering::Relaxed);
        self.pages.load(Ordering::Relaxed) >= pages.max(1 << failures)
    }

    /// Looks at what became of a page. One without upserts says nothing.
    pub fn learn(&self, applied: &Applied) {
        let new = |outcome: &UpsertOutcome| *outcome == UpsertOutcome::Inserted;
        if applied.upserts.is_empty() {
            return;
        }
        let pages = if applied.upserts.iter().all(new) {
            self.pages.load(Ordering::Relaxed).saturating_add(1)
        } else {
            0
        };
        self.pages.store(pages, Ordering::Relaxed);
    }

    /// An attempt to write without looking went well.
    pub fn went_well(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// An attempt to write without looking went wrong.
    pub fn went_wrong(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        self.failures
            .store((failures + 1).min(LONGEST), Ordering::Relaxed);
        self.pages.store(0, Ordering::Relaxed);
    }

    /// The next page will not be expected to hold new operations only.
    pub fn end(&self) {
        self.pages.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(outcomes: &[UpsertOutcome]) -> Applied {
        Applied {
            upserts: outcomes.to_vec(),
            ..Applied::default()
        }
    }

    #[test]
    fn pages_of_new_operations_make_the_next_one_due() {
        let streak = Streak::default();
        assert!(!streak.is_due(1));
        streak.learn(&page(&[UpsertOutcome::Inserted, UpsertOutcome::Unchanged]));
        assert!(!streak.is_due(1));
        streak.learn(&page(&[UpsertOutcome::Inserted, UpsertOutcome::Inserted]));
        assert!(streak.is_due(1));
        assert!(!streak.is_due(2));
        // What brings no operations says nothing.
        streak.learn(&page(&[]));
        assert!(streak.is_due(1));
        streak.learn(&page(&[UpsertOutcome::Tombstoned]));
        assert!(!streak.is_due(1));
    }

    #[test]
    fn attempts_that_go_wrong_become_rare_and_one_that_goes_well_forgets_them() {
        let streak = Streak::default();
        for pages in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            for _ in 0..pages {
                assert!(!streak.is_due(1));
                streak.learn(&page(&[UpsertOutcome::Inserted]));
            }
            assert!(streak.is_due(1));
            streak.went_wrong();
        }
        streak.went_well();
        streak.learn(&page(&[UpsertOutcome::Inserted]));
        assert!(streak.is_due(1));
    }
}
