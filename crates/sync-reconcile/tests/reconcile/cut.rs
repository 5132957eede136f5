//! Sets between which a frame that is cut in the wrong place loses items.

use sync_core::TimeKey;
use sync_reconcile::Aggregate;

use crate::peers::{Asks as _, Kind, Outcome, options, ours, session};
use crate::sets::{Pair, key};

/// Of the side that asks, and of the one that answers.
const FRAMES: [Option<usize>; 2] = [Some(4_096), Some(4_767)];

/// The recorded pair, where it is at hand, and one made like it: the first side alone has 180 items, in
/// two clusters and at the end, the second side alone 16 that are scattered.
fn pairs() -> Vec<Pair> {
    let mut pairs = vec![made()];
    match Pair::recorded("negentropy-cut") {
        Some(recorded) => pairs.push(recorded),
        None => println!("without the recorded pair: there is no shared/data/negentropy-cut"),
    }
    pairs
}

fn made() -> Pair {
    let numbered = |ts: u64, n: u16| {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_le_bytes());
        key(ts, id)
    };
    let common: Vec<_> = (1..=1_540)
        .map(|n| numbered(990 + 10 * u64::from(n), n))
        .collect();
    let both = |more: Vec<TimeKey>| {
        let mut keys = [common.clone(), more].concat();
        keys.sort_unstable();
        keys
    };
    let cluster =
        |ts: u64, from: u16| (from..from + 35).map(move |n| numbered(ts + u64::from(n % 8), n));
    let end = (1_611..=1_720).map(|n| numbered(50_000 + 10 * u64::from(n - 1_611), n));
    let scattered = (0..16).map(|n| numbered(1_005 + 1_000 * u64::from(n), 1_500 + n));
    Pair {
        ours: both(
            cluster(1_201, 1_541)
                .chain(cluster(2_331, 1_576))
                .chain(end)
                .collect(),
        ),
        theirs: both(
            scattered
                .map(|key| TimeKey {
                    ts: key.ts,
                    id: other(key.id),
                })
                .collect(),
        ),
    }
}

/// The same id with another last byte.
fn other(id: sync_core::OpId) -> sync_core::OpId {
    let mut bytes = *id.as_bytes();
    bytes[31] = 1;
    sync_core::OpId::new(bytes)
}

fn aggregate(keys: &[TimeKey]) -> Aggregate {
    keys.iter().map(|key| &key.id).collect()
}

/// What the side that answers has to have, by what the other one was told.
fn expected(pair: &Pair, outcome: &Outcome) -> Aggregate {
    let [have, need] = outcome.distinct();
    let [have, need] = [have, need].map(|ids| ids.iter().collect::<Aggregate>());
    aggregate(&pair.ours) - have + need
}

#[test]
fn nothing_is_lost_where_a_frame_is_cut() {
    for pair in pairs() {
        for (pair, sizes) in pair.both_ways().into_iter().zip([[180, 16], [16, 180]]) {
            for kinds in [
                [Kind::Ours, Kind::Ours],
                [Kind::Ours, Kind::Crate],
                [Kind::Crate, Kind::Ours],
            ] {
                let outcome = session(kinds, &pair, FRAMES);
                let found = outcome.distinct();
                assert_eq!(found.each_ref().map(Vec::len), sizes, "{kinds:?}");
                assert!(found == pair.difference());
                assert_eq!(expected(&pair, &outcome), aggregate(&pair.theirs));
                assert!(outcome.sent[0].len() > 1);
                for (longest, frame) in outcome.longest().into_iter().zip(FRAMES) {
                    assert!(Some(longest) <= frame, "{kinds:?}: {longest} bytes");
                }
            }
        }
    }
}

/// The crate at 0.4.4, the last release without the fix that the registry still has (0.5.0 to 0.5.2 are
/// withdrawn). A fixed responder does not help: the initiator cuts its own frames in the wrong place.
#[test]
fn what_unfixed_peers_lose_is_seen_by_the_sums_and_found_without_frames() {
    for pair in pairs() {
        for kinds in [[Kind::Unfixed, Kind::Unfixed], [Kind::Unfixed, Kind::Crate]] {
            let outcome = session(kinds, &pair, FRAMES);
            let found = outcome.distinct().map(|ids| ids.len());
            assert_eq!(found, [73, 16], "{kinds:?}");
            assert_ne!(expected(&pair, &outcome), aggregate(&pair.theirs));

            let again = session(kinds, &pair, [None; 2]);
            assert!(again.distinct() == pair.difference());
            assert_eq!(expected(&pair, &again), aggregate(&pair.theirs));
        }
    }
}

/// What makes an unfixed peer lose items is the fingerprint of an empty range, which we never send.
#[test]
fn an_unfixed_peer_loses_nothing_in_a_session_with_us() {
    for pair in pairs().into_iter().flat_map(Pair::both_ways) {
        for limit in (4_096..8_192).step_by(128) {
            check_with_unfixed(&pair, limit);
        }
    }
    let mut rng = fastrand::Rng::with_seed(31);
    for _ in 0..150 {
        let pair = Pair::random(&mut rng, 3_000);
        check_with_unfixed(&pair, rng.usize(4_096..8_192));
    }
}

fn check_with_unfixed(pair: &Pair, limit: usize) {
    for frames in [[Some(limit), None], [None, Some(limit)], [Some(limit); 2]] {
        for kinds in [[Kind::Unfixed, Kind::Ours], [Kind::Ours, Kind::Unfixed]] {
            let outcome = session(kinds, pair, frames);
            assert!(
                outcome.distinct() == pair.difference(),
                "{kinds:?}, {frames:?}"
            );
        }
    }
}

#[test]
fn a_message_of_the_initiator_that_opens_a_session_is_within_any_limit() {
    let keys: Vec<_> = (0_u16..40_000)
        .map(|n| {
            let mut id = [0xff; 32];
            id[30..].copy_from_slice(&n.to_be_bytes());
            key((1 << 53) - 1, id)
        })
        .collect();
    for len in [0, 1, 31, 32, 40_000] {
        let first = ours(&keys[..len], Some(4_096)).open();
        assert!(first.len() <= 1_050, "{} bytes", first.len());
        assert_eq!(first, ours(&keys[..len], None).open());
    }
    assert!(options(Some(4_096)) != options(None));
}
