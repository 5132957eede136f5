//! The final check, with a peer that loses items while its frames are limited.

use sync_core::TimeKey;
use sync_peers::{CloseReason, Message, Open, Outcome, Role, SessionConfig, SessionId, Statement};
use sync_reconcile::{Index, Options, Responder, View};

use crate::kit::{Network, key};

/// A peer that answers for a part of its set wherever frames are limited, and states the whole.
struct Forgetful {
    whole: View,
    part: View,
    session: Option<(SessionId, Responder)>,
    /// It forgets without a limit too.
    always: bool,
}

impl Forgetful {
    fn new(numbers: std::ops::Range<u64>, always: bool) -> Self {
        let of = |keys: &mut dyn Iterator<Item = TimeKey>| {
            let mut index = Index::new();
            for key in keys {
                index.insert(key);
            }
            index.snapshot()
        };
        Self {
            whole: of(&mut numbers.clone().map(key)),
            part: of(&mut numbers.filter(|n| n % 100 != 0).map(key)),
            session: None,
            always,
        }
    }

    fn receive(&mut self, message: Message) -> Option<Message> {
        match message {
            Message::Open(Open {
                session,
                frame_limit,
                frame,
                ..
            }) => {
                let forgets = self.always || frame_limit.is_some();
                let view = if forgets { &self.part } else { &self.whole };
                let responder = Responder::start(view.clone(), Options::new()).unwrap();
                self.session = Some((session, responder));
                self.receive(Message::Frame { session, frame })
            }
            Message::Frame { session, frame } => {
                let (_, responder) = self.session.as_mut().filter(|it| it.0 == session)?;
                let frame = responder.receive(&frame).unwrap().into();
                Some(Message::Frame { session, frame })
            }
            Message::Finish { session } => Some(Message::Statement {
                session,
                statement: Statement::from(self.whole.aggregate()),
            }),
            Message::Close { reason, .. } => {
                assert_eq!(reason, CloseReason::Done);
                None
            }
            Message::Statement { .. } => panic!("a responder is not told"),
        }
    }
}

/// A session of a peer with one that forgets.
fn session(config: &SessionConfig, always: bool) -> Network {
    let mut network = Network::of(config, &[&[0..3_000]]);
    let mut other = Forgetful::new(1_000..5_000, always);
    network.open(0, 9);
    while let Some((0, 9, message)) = network.on_the_way.pop_front() {
        if let Some(answer) = other.receive(message) {
            network.deliver(9, 0, answer);
        }
    }
    assert!(network.is_quiet());
    network
}

/// How many ids the session found of 1,000 and 2,000.
fn found(network: &Network) -> (usize, usize) {
    let peer = &network.peers[0];
    let of = |range: std::ops::Range<u64>, ids: &std::collections::BTreeSet<_>| {
        range.filter(|n| ids.contains(&key(*n).id)).count()
    };
    (of(0..1_000, &peer.have), of(3_000..5_000, &peer.need))
}

#[test]
fn a_loss_is_noticed_and_repaired_by_one_repeat_without_a_frame_limit() {
    let network = session(&SessionConfig::new(), false);
    let complete = Outcome::Complete { checked: true };
    assert_eq!(network.outcomes(0), [(9, Role::Initiator, complete)]);
    assert_eq!(found(&network), (1_000, 2_000));
    assert!(network.peers[0].ended[0].3.repeated);
    let totals = network.peers[0].sessions.totals();
    assert_eq!(
        (totals.started, totals.completed, totals.mismatches),
        (1, 1, 1)
    );
}

#[test]
fn without_the_check_the_same_loss_goes_unnoticed() {
    let network = session(&SessionConfig::new().without_final_check(), false);
    let complete = Outcome::Complete { checked: false };
    assert_eq!(network.outcomes(0), [(9, Role::Initiator, complete)]);
    assert_eq!(found(&network), (1_000, 2_000 - 20));
    assert_eq!(network.peers[0].sessions.totals().mismatches, 0);
}

#[test]
fn a_loss_that_stays_is_reported() {
    let network = session(&SessionConfig::new(), true);
    let ends = network.outcomes(0);
    let [(9, Role::Initiator, Outcome::Mismatch { expected, stated })] = &ends[..] else {
        panic!("{ends:?}");
    };
    assert_eq!((expected.count, stated.count), (4_000 - 40, 4_000));
    let totals = network.peers[0].sessions.totals();
    assert_eq!(
        (totals.failed, totals.completed, totals.mismatches),
        (1, 0, 2)
    );
}
