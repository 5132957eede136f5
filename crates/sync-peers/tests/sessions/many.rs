//! Many peers, and both sides at once.

use sync_peers::{CloseReason, Failure, OpenError, Outcome, Role, SessionConfig};

use crate::kit::Network;

const CHECKED: Outcome = Outcome::Complete { checked: true };

#[test]
fn one_peer_has_sessions_with_many_at_once() {
    let config = SessionConfig::new().frame_limit(Some(4_096));
    let sets: Vec<Vec<_>> = (0..30_u64)
        .map(|n| vec![0..1_000, n * 500..n * 600])
        .collect();
    let sets: Vec<_> = sets.iter().map(Vec::as_slice).collect();
    let mut network = Network::of(&config, &sets);
    for other in 1..15 {
        network.open(0, other);
    }
    for other in 15..30 {
        network.open(other, 0);
    }
    assert_eq!(network.peers[0].sessions.len(), 14);
    network.run();
    let found: std::collections::BTreeSet<_> = (1..15)
        .flat_map(|other| network.lacking(other, 0))
        .collect();
    assert_eq!(network.peers[0].need, found);
    for other in 15..30 {
        assert_eq!(network.peers[other].need, network.lacking(0, other));
        assert_eq!(network.peers[other].have, network.lacking(other, 0));
        assert_eq!(network.outcomes(other), [(0, Role::Initiator, CHECKED)]);
    }
    let totals = network.peers[0].sessions.totals();
    assert_eq!(
        (totals.started, totals.completed, totals.answered),
        (14, 14, 15)
    );
    assert_eq!(totals.failed, 0);
    assert!(network.is_quiet());
}

#[test]
fn of_two_sessions_that_cross_one_goes_on() {
    let config = SessionConfig::new();
    // Both messages on the way at once, or the one before the other, in either order.
    for early in [None, Some(0), Some(1)] {
        let mut network = Network::of(&config, &[&[0..500], &[300..900]]);
        for side in early.into_iter().chain([0, 1]) {
            if network.peers[side].sessions.is_empty() {
                network.open(side, 1 - side);
            }
        }
        network.run();
        let [low, high] = [network.outcomes(0), network.outcomes(1)];
        assert_eq!(high, [(0, Role::Initiator, CHECKED)]);
        assert_eq!(
            low,
            [
                (1, Role::Initiator, Outcome::Yielded),
                (1, Role::Responder, Outcome::Answered)
            ]
        );
        assert_eq!(network.peers[1].have, network.lacking(1, 0));
        assert_eq!(network.peers[1].need, network.lacking(0, 1));
        assert!(network.is_quiet());
    }
}

#[test]
fn there_is_one_session_with_a_peer_and_no_more_than_allowed() {
    let config = SessionConfig::new().max_sessions(2);
    let sets: Vec<&[_]> = vec![&[0..40]; 5];
    let mut network = Network::of(&config, &sets);
    network.open(0, 1);
    let again = network.try_open(0, 1);
    assert_eq!(again, Err(OpenError::AlreadyOpen(Role::Initiator)));
    network.open(0, 2);
    assert_eq!(network.try_open(0, 3), Err(OpenError::TooMany));
    network.step();
    let back = network.try_open(1, 0);
    assert_eq!(back, Err(OpenError::AlreadyOpen(Role::Responder)));
    network.run();

    for other in 1..4 {
        network.open(other, 0);
    }
    network.run();
    let busy = Outcome::Failed(Failure::Closed(CloseReason::Busy));
    assert_eq!(network.outcomes(3), [(0, Role::Initiator, busy)]);
    assert_eq!(network.outcomes(1).last().unwrap().2, CHECKED);
    assert!(network.is_quiet());
}
