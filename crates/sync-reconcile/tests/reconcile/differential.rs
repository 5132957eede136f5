//! Random pairs of sets, against the `negentropy` crate and the difference that a sort finds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fastrand::Rng;

use crate::peers::{Kind, session};
use crate::sets::Pair;

const FRAMES: [usize; 3] = [4_096, 60_000, 500_000];
const MOST: usize = 20_000;

/// Each pair is the one of its number, whatever runs before it: the number in a failure repeats it.
#[test]
fn random_pairs_end_as_the_reference_says_and_send_the_same_bytes_without_a_limit() {
    let pairs = std::env::var("SYNC_RECONCILE_PAIRS").map_or(300, |count| count.parse().unwrap());
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= pairs {
                        return;
                    }
                    check(n);
                }
            });
        }
    });
}

fn check(n: u64) {
    let mut rng = Rng::with_seed(n);
    let pair = Pair::random(&mut rng, MOST);
    let difference = pair.difference();

    let theirs = session([Kind::Crate; 2], &pair, [None; 2]);
    let ours = session([Kind::Ours; 2], &pair, [None; 2]);
    assert!(theirs.sent == ours.sent, "pair {n}: other bytes");
    assert!(ours.have == theirs.have, "pair {n}: have in another order");
    assert!(ours.sorted() == difference, "pair {n}");

    for frame in FRAMES {
        for kinds in [
            [Kind::Ours, Kind::Ours],
            [Kind::Ours, Kind::Crate],
            [Kind::Crate, Kind::Ours],
        ] {
            let what = format!("pair {n}, {frame} bytes, {kinds:?}");
            let outcome = session(kinds, &pair, [Some(frame); 2]);
            // The crate may report an id in two rounds. We do not.
            let found = if kinds[0] == Kind::Ours {
                outcome.sorted()
            } else {
                outcome.distinct()
            };
            assert!(found == difference, "{what}");
            let longest = outcome.longest();
            assert!(
                longest.iter().all(|bytes| *bytes <= frame),
                "{what}: {longest:?}"
            );
        }
    }
}
