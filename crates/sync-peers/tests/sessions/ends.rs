//! How sessions end that do not come to their end.

use std::time::Duration;

use bytes::Bytes;
use sync_peers::{CloseReason, Failure, Message, Open, Outcome, Role, SessionConfig, SessionId};
use sync_reconcile::{ErrorKind, Limit, Options};

use crate::kit::Network;

fn network(config: SessionConfig) -> Network {
    Network::of(
        &config.frame_limit(Some(4_096)),
        &[&[0..3_000], &[2_000..5_000]],
    )
}

fn closed(reason: CloseReason) -> Outcome {
    Outcome::Failed(Failure::Closed(reason))
}

#[test]
fn a_cancelled_session_ends_on_both_sides() {
    for (canceller, other) in [(0, 1), (1, 0)] {
        let mut network = network(SessionConfig::new());
        network.open(0, 1);
        network.step();
        network.step();
        let effects = network.peers[canceller].sessions.cancel(&other);
        network.act(canceller, effects);
        network.run();
        let ends = [network.outcomes(0), network.outcomes(1)];
        assert_eq!(ends[canceller][0].2, Outcome::Cancelled);
        let told = if canceller == 0 {
            Outcome::Cancelled
        } else {
            closed(CloseReason::Cancelled)
        };
        assert_eq!(ends[other][0].2, told);
        assert!(network.is_quiet());
        // And the next one is none the worse.
        network.open(0, 1);
        network.run();
        assert_eq!(network.peers[0].need, network.lacking(1, 0));
        assert!(network.is_quiet());
    }
}

#[test]
fn a_peer_whose_connection_is_gone_is_not_told() {
    let mut network = network(SessionConfig::new());
    network.open(0, 1);
    network.on_the_way.clear();
    let effects = network.peers[0].sessions.disconnect(&1);
    network.act(0, effects);
    assert!(network.on_the_way.is_empty() && network.is_quiet());
    assert_eq!(
        network.outcomes(0),
        [(1, Role::Initiator, Outcome::Cancelled)]
    );
}

#[test]
fn silence_and_length_end_a_session() {
    let seconds = Duration::from_secs;
    let config = SessionConfig::new().idle(seconds(10)).total(seconds(25));
    let mut silent = network(config.clone());
    silent.open(0, 1);
    silent.step();
    let lost = silent.on_the_way.pop_front();
    assert!(matches!(lost, Some((1, 0, Message::Frame { .. }))));
    assert_eq!(
        silent.peers[0].sessions.next_deadline(),
        Some(silent.now + seconds(10))
    );
    silent.pass(seconds(9));
    assert!(!silent.peers[0].sessions.is_empty() && !silent.peers[1].sessions.is_empty());
    silent.pass(seconds(1));
    silent.run();
    for (side, role) in [(0, Role::Initiator), (1, Role::Responder)] {
        let late = Outcome::Failed(Failure::TimedOut);
        assert_eq!(silent.outcomes(side), [(1 - side, role, late)]);
    }
    assert!(silent.is_quiet());

    let mut long = network(config);
    long.open(0, 1);
    for _ in 0..5 {
        long.step();
        long.pass(seconds(5));
    }
    assert_eq!(long.outcomes(0)[0].2, Outcome::Failed(Failure::TimedOut));
    long.run();
    assert!(long.is_quiet());
}

#[test]
fn messages_of_other_sessions_change_nothing() {
    let mut network = network(SessionConfig::new());
    network.open(0, 1);
    network.step();
    let Some((1, 0, Message::Frame { session, frame })) = network.on_the_way.front().cloned()
    else {
        panic!("{:?}", network.on_the_way);
    };
    let before = SessionId {
        number: session.number + 1,
        ..session
    };
    let restarted = SessionId {
        generation: session.generation + 100,
        ..session
    };
    for other in [before, restarted] {
        let frame = frame.clone();
        network.deliver(
            1,
            0,
            Message::Frame {
                session: other,
                frame,
            },
        );
        network.deliver(1, 0, Message::Finish { session: other });
        network.deliver(0, 1, Message::Finish { session: other });
        let reason = CloseReason::Cancelled;
        network.deliver(
            0,
            1,
            Message::Close {
                session: other,
                reason,
            },
        );
        let unknown = Message::Close {
            session: other,
            reason: CloseReason::Unknown,
        };
        for _ in 0..3 {
            let (_, _, answer) = network.on_the_way.pop_back().unwrap();
            assert_eq!(answer, unknown);
        }
    }
    network.run();
    assert_eq!(network.peers[0].need, network.lacking(1, 0));
    assert_eq!(
        network.outcomes(0)[0].2,
        Outcome::Complete { checked: true }
    );
    assert!(network.is_quiet());
}

#[test]
fn a_session_that_calls_itself_ours_is_refused() {
    let mut network = network(SessionConfig::new());
    network.open(0, 1);
    let Some((0, 1, echo)) = network.on_the_way.front().cloned() else {
        panic!("{:?}", network.on_the_way);
    };
    network.deliver(1, 0, echo.clone());
    let refused = Message::Close {
        session: echo.session(),
        reason: CloseReason::Refused,
    };
    assert_eq!(network.on_the_way.pop_back(), Some((0, 1, refused)));
    network.run();
    let complete = Outcome::Complete { checked: true };
    assert_eq!(network.outcomes(0), [(1, Role::Initiator, complete)]);
    assert!(network.is_quiet());
}

#[test]
fn a_peer_that_begins_again_replaces_its_session() {
    let mut network = network(SessionConfig::new());
    network.open(0, 1);
    network.step();
    network.on_the_way.clear();
    // The same peer after a restart.
    let config = SessionConfig::new().frame_limit(Some(4_096));
    network.peers[0].sessions = sync_peers::Sessions::new(config, 99);
    network.open(0, 1);
    network.run();
    let ends = network.outcomes(1);
    assert_eq!(ends[0], (0, Role::Responder, Outcome::Cancelled));
    assert_eq!(ends[1], (0, Role::Responder, Outcome::Answered));
    assert!(network.is_quiet());
}

#[test]
fn frames_that_cannot_be_read_and_costs_above_the_bounds_end_a_session() {
    let mut garbage = network(SessionConfig::new());
    garbage.open(0, 1);
    garbage.step();
    let Some((1, 0, Message::Frame { session, .. })) = garbage.on_the_way.pop_front() else {
        panic!("no frame");
    };
    let frame = Bytes::from_static(b"\x61\xff\xff");
    garbage.deliver(1, 0, Message::Frame { session, frame });
    let ends = garbage.outcomes(0);
    assert!(
        matches!(ends[..], [(1, _, Outcome::Failed(Failure::Protocol(_)))]),
        "{ends:?}"
    );
    garbage.run();
    assert_eq!(garbage.outcomes(1)[0].2, closed(CloseReason::Refused));
    assert!(garbage.is_quiet());

    let session = SessionId {
        generation: 77,
        number: 1,
    };
    let open = |frame: &'static [u8], frame_limit| {
        Message::Open(Open {
            session,
            window: sync_core::TimeRange::ALL,
            frame_limit,
            frame: Bytes::from_static(frame),
        })
    };
    // Nonsense, and a frame limit that no frame could keep.
    for message in [open(b"\xffnonsense", None), open(b"\x61", Some(40))] {
        garbage.deliver(0, 1, message);
        let reason = CloseReason::Refused;
        let refused = Message::Close { session, reason };
        assert_eq!(garbage.on_the_way.pop_back(), Some((1, 0, refused)));
        assert!(garbage.is_quiet());
    }

    let few = Options::new().max_rounds(2);
    let mut long = network(SessionConfig::new().options(few));
    long.open(0, 1);
    long.run();
    let failures: Vec<_> = [0, 1]
        .into_iter()
        .flat_map(|side| long.outcomes(side))
        .collect();
    let limit = ErrorKind::LimitReached(Limit::Rounds);
    assert!(
        failures.iter().any(|(_, _, outcome)| matches!(outcome,
            Outcome::Failed(Failure::Protocol(error)) if error.kind() == limit)),
        "{failures:?}"
    );
    assert!(long.is_quiet());
}
