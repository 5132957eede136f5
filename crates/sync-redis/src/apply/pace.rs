//! When a page is worth a try without the script.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use sync_core::{Applied, UpsertOutcome};

/// The most pages in a row that are left to the script, as a power of two.
const LONGEST: u8 = 6;

/// What the last pages of a space were like. Only a guess: a wrong one costs a round trip.
#[derive(Default)]
pub(crate) struct Pace {
    /// Pages of new operations alone that the script has written one after the other.
    new: AtomicU8,
    /// Tries that went wrong one after the other. Each doubles the pages until the next one.
    failures: AtomicU8,
    /// Whether the space was last seen with tombstones.
    tombstones: AtomicBool,
}

impl Pace {
    pub(super) fn is_due(&self) -> bool {
        self.new.load(Ordering::Relaxed) >= 1 << self.failures.load(Ordering::Relaxed)
    }

    pub(super) fn went_well(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub(super) fn went_wrong(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        self.failures
            .store((failures + 1).min(LONGEST), Ordering::Relaxed);
        self.new.store(0, Ordering::Relaxed);
    }

    /// Looks at what the script did.
    pub(super) fn learn(&self, applied: &Applied) {
        if applied.upserts.is_empty() {
            return;
        }
        let new = |outcome: &UpsertOutcome| *outcome == UpsertOutcome::Inserted;
        let streak = if applied.upserts.iter().all(new) {
            self.new.load(Ordering::Relaxed).saturating_add(1)
        } else {
            0
        };
        self.new.store(streak, Ordering::Relaxed);
    }

    pub(super) fn has_tombstones(&self) -> bool {
        self.tombstones.load(Ordering::Relaxed)
    }

    pub(super) fn saw_tombstones(&self, any: bool) {
        self.tombstones.store(any, Ordering::Relaxed);
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
    fn a_page_of_new_operations_makes_the_next_one_be_tried() {
        let pace = Pace::default();
        assert!(!pace.is_due());
        pace.learn(&page(&[UpsertOutcome::Inserted, UpsertOutcome::Unchanged]));
        assert!(!pace.is_due());
        pace.learn(&page(&[UpsertOutcome::Inserted, UpsertOutcome::Inserted]));
        assert!(pace.is_due());
        // What brings no operations says nothing.
        pace.learn(&page(&[]));
        assert!(pace.is_due());
        pace.learn(&page(&[UpsertOutcome::Tombstoned]));
        assert!(!pace.is_due());
    }

    #[test]
    fn tries_that_go_wrong_become_rare_and_one_that_goes_well_forgets_them() {
        let pace = Pace::default();
        for pages in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            for _ in 0..pages {
                assert!(!pace.is_due());
                pace.learn(&page(&[UpsertOutcome::Inserted]));
            }
            assert!(pace.is_due());
            pace.went_wrong();
        }
        for _ in 0..64 {
            pace.learn(&page(&[UpsertOutcome::Inserted]));
        }
        pace.went_well();
        assert!(pace.is_due());
        pace.went_wrong();
        pace.learn(&page(&[UpsertOutcome::Inserted]));
        pace.learn(&page(&[UpsertOutcome::Inserted]));
        assert!(pace.is_due());
    }
}
