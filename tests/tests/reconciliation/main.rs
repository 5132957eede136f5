//! Two stores, of every pair of databases, that reconcile over a pipe which loses messages.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends in a panic"
)]
#![expect(clippy::indexing_slicing, reason = "there are two sides")]

mod pair;
mod side;

use std::collections::BTreeSet;

use fastrand::Rng;
use pollster::block_on;
use sync_core::{Delete, Operation, Page, SyncStore, TombstoneReason};
use sync_peers::Outcome;
use sync_tests::databases::Database;

use pair::Pair;
use side::{Side, dump, operation, union};

const CHECKED: Outcome = Outcome::Complete { checked: true };

fn apply(store: &impl SyncStore, page: Page) {
    let _ = block_on(store.apply(page)).unwrap();
}

/// Both databases filled with operations out of a common pool, some of them on both sides.
fn fill(rng: &mut Rng, sides: &[Side; 2]) {
    let common = rng.f64();
    let mut of: [Vec<Operation>; 2] = Default::default();
    for n in 0..1_500 {
        let on = [rng.f64() < common || rng.bool(), rng.bool()];
        let both = rng.f64() < common;
        for (side, operations) in of.iter_mut().enumerate() {
            if both || on[side] {
                operations.push(operation(n));
            }
        }
    }
    for (side, operations) in sides.iter().zip(of) {
        for part in operations.chunks(400) {
            apply(side.store(), Page::new().upserts(part.iter().cloned()));
        }
    }
}

#[test]
fn every_pair_of_databases_ends_equal_to_the_union() {
    let mut rng = Rng::with_seed(11);
    // Twice, so that a database also meets another one of its own kind.
    let [left, right] = [(); 2].map(|()| Database::of_every_backend());
    let mut lost = 0;
    for (n, one) in left.iter().enumerate() {
        for other in &right[n..] {
            let sides = [Side::new(one), Side::new(other)];
            fill(&mut rng, &sides);
            let expected = union(&sides);
            let name = format!("{} and {}", one.name(), other.name());
            let mut pair = Pair::new(sides, 0.02, rng.u64(..));
            lost += pair.reconcile();
            for side in &pair.sides {
                let found: BTreeSet<_> = dump(side.store()).into_iter().collect();
                assert!(found == expected, "{name}: a side is not the union");
            }
            // Nothing is left to say.
            let session = pair.session();
            assert_eq!((session.have, session.need), (0, 0), "{name}");
            for side in pair.sides {
                side.empty();
            }
        }
    }
    assert!(lost > 0, "no session was lost, so none was repeated");
}

#[test]
fn tombstones_and_writers_on_both_sides_make_no_session_repeat() {
    const REJECTED: u64 = 1_000;
    let left = Database::of_every_backend();
    let right = Database::of_every_backend();
    for (one, other) in left.iter().zip(&right) {
        let sides = [Side::new(one), Side::new(other)];
        let reject = |page: Page, n| {
            page.delete(Delete::new(operation(n).id, TombstoneReason::Operator).reject())
        };
        let common = 2_000..3_000;
        let rejects = (0..REJECTED).fold(Page::new(), reject);
        apply(
            sides[0].store(),
            rejects.upserts(common.clone().map(operation)),
        );
        let all = (0..REJECTED).chain(common).chain(4_000..4_200);
        apply(sides[1].store(), Page::new().upserts(all.map(operation)));

        let name = one.name();
        let mut pair = Pair::new(sides, 0.0, 3);
        let mut n = 100_000;
        let outcome = pair.session_while(|sides| {
            for side in sides {
                let delete = Delete::new(operation(n - 98_000).id, TombstoneReason::Removed);
                apply(
                    side.store(),
                    Page::new().upsert(operation(n)).delete(delete),
                );
                n += 1;
            }
        });
        assert!(n > 100_004, "{name}: nothing was written meanwhile");
        assert_eq!(outcome, (CHECKED, false), "{name}: (outcome, repeated)");
        let totals = pair.sides[0].sessions.totals();
        assert_eq!((totals.started, totals.mismatches), (1, 0), "{name}");
        // What was rejected differs, and is not asked for.
        let wanted: BTreeSet<_> = pair.sides[0].wanted().into_iter().collect();
        let is_wanted = |n: u64| wanted.contains(&operation(n).id);
        assert!((4_000..4_200).all(is_wanted), "{name}");
        assert!(!(0..REJECTED).any(is_wanted), "{name}");
        assert!(pair.sides[0].need.len() >= 1_200, "{name}");
        for side in pair.sides {
            side.empty();
        }
    }
}
