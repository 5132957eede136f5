//! What sessions find.

use std::slice;
use std::time::Duration;

use sync_core::{TimeRange, Ts};
use sync_peers::{Outcome, Role, SessionConfig};

use crate::kit::{Network, key};

const CHECKED: Outcome = Outcome::Complete { checked: true };

#[test]
fn a_session_finds_everything_in_both_directions_and_checks_it() {
    for limit in [None, Some(4_096), Some(60_000)] {
        let config = SessionConfig::new().frame_limit(limit);
        for (ours, theirs) in [
            (0..0, 0..0),
            (0..5_000, 0..5_000),
            (0..5_000, 0..0),
            (0..0, 0..5_000),
            (0..5_000, 10..5_010),
            (0..3_000, 2_000..9_000),
        ] {
            let mut network =
                Network::of(&config, &[slice::from_ref(&ours), slice::from_ref(&theirs)]);
            network.open(0, 1);
            network.run();
            let case = format!("{ours:?} and {theirs:?} with {limit:?}");
            assert_eq!(network.peers[0].have, network.lacking(0, 1), "{case}");
            assert_eq!(network.peers[0].need, network.lacking(1, 0), "{case}");
            let [(1, Role::Initiator, CHECKED, statistics)] = &network.peers[0].ended[..] else {
                panic!("{case}: {:?}", network.outcomes(0));
            };
            let [(0, Role::Responder, Outcome::Answered, theirs)] = &network.peers[1].ended[..]
            else {
                panic!("{case}: {:?}", network.outcomes(1));
            };
            assert_eq!(statistics.have, network.peers[0].have.len() as u64);
            assert_eq!(statistics.need, network.peers[0].need.len() as u64);
            assert_eq!(statistics.bytes_sent, theirs.bytes_received);
            assert_eq!(statistics.bytes_received, theirs.bytes_sent);
            assert!(!statistics.repeated);
            assert!(limit.is_none_or(|limit| network.longest <= limit), "{case}");
            assert!(network.is_quiet(), "{case}");
        }
    }
}

#[test]
fn a_window_hides_what_is_outside() {
    let config = SessionConfig::new();
    let mut network = Network::of(&config, &[&[0..4_000], &[2_000..6_000]]);
    let window = TimeRange {
        from: Ts::new(100).unwrap(),
        to: Ts::new(199).unwrap(),
    };
    let index = network.peers[0].index.snapshot();
    let opened = network.peers[0]
        .sessions
        .open(1, window, &index, network.now);
    network.act(0, opened.unwrap());
    network.run();
    let inside = |n: &u64| (100..200).contains(&(n % 1_000));
    let have = (0..2_000).filter(inside).map(|n| key(n).id).collect();
    let need = (4_000..6_000).filter(inside).map(|n| key(n).id).collect();
    assert_eq!(network.peers[0].have, have);
    assert_eq!(network.peers[0].need, need);
    assert_eq!(network.outcomes(0), [(1, Role::Initiator, CHECKED)]);
}

#[test]
fn what_is_written_during_a_session_is_left_to_the_next_one() {
    let config = SessionConfig::new().frame_limit(Some(4_096));
    let mut network = Network::of(&config, &[&[0..9_000], &[3_000..12_000]]);
    let (have, need) = (network.lacking(0, 1), network.lacking(1, 0));
    network.open(0, 1);
    let mut n = 20_000;
    while network.step() {
        for peer in &mut network.peers {
            peer.index.insert(key(n));
            peer.index.remove(&key(n - 17_000));
            n += 1;
        }
    }
    assert_eq!(
        (&network.peers[0].have, &network.peers[0].need),
        (&have, &need)
    );
    // One session, and no repeat.
    assert_eq!(network.outcomes(0), [(1, Role::Initiator, CHECKED)]);
    assert_eq!(network.peers[0].sessions.totals().mismatches, 0);
    assert_eq!(network.peers[0].sessions.totals().started, 1);
}

#[test]
fn sessions_that_lose_messages_are_opened_until_one_completes() {
    let mut rng = fastrand::Rng::with_seed(7);
    let config = SessionConfig::new()
        .frame_limit(Some(4_096))
        .idle(Duration::from_secs(5));
    let mut lost = 0;
    for _ in 0..20 {
        let mut network = Network::of(&config, &[&[0..2_000], &[1_500..3_000]]);
        for attempt in 0.. {
            network.open(0, 1);
            network.run_losing(&mut rng, 0.05);
            if let Some((1, Role::Initiator, CHECKED)) = network.outcomes(0).last() {
                lost += attempt;
                break;
            }
        }
        assert_eq!(network.peers[0].have, network.lacking(0, 1));
        assert_eq!(network.peers[0].need, network.lacking(1, 0));
        assert!(network.is_quiet());
    }
    assert!(lost > 0, "nothing was lost, so nothing is shown");
}
