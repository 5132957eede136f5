use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Instant;

use bytes::Bytes;
use sync_core::TimeRange;
use sync_reconcile::View;

use crate::session::{Initiating, Responding, Times};
use crate::{
    CloseReason, Effect, Failure, Message, Open, Outcome, Role, SessionConfig, SessionId,
    Statement, Statistics, Totals,
};

/// The sessions of one space with all its peers, at most one with each.
///
/// Calls never wait. The index that a call takes is the space's as it is at that moment,
/// [`IndexKeeper::snapshot`](crate::IndexKeeper::snapshot); a session that begins in the call keeps it.
///
/// - A session that we [open](Self::open) learns what differs in both directions, so the peer need not
///   open one as well. Where both did at once, the one of the higher [`SessionId`] goes on.
/// - At the end the peer states the count and the fingerprint of its set. If those are not the ones of our
///   set without the ids that the peer lacks and with the ids that we lack, the session is repeated once
///   without a frame limit. Writes of either side during the session do not matter: both sides use the
///   keys they began with.
/// - A message of a session that is over is answered with [`CloseReason::Unknown`] or ignored.
#[derive(Debug)]
pub struct Sessions<P> {
    config: SessionConfig,
    generation: u64,
    opened: u64,
    initiating: HashMap<P, Initiating>,
    responding: HashMap<P, Responding>,
    totals: Totals,
}

/// Why no session was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is a session with this peer, which this side opened.
    AlreadyOpen(Role),
    /// There are as many sessions as [the configuration](SessionConfig::max_sessions) allows.
    TooMany,
    /// The first frame alone exceeds the bounds of a session.
    Bounds(sync_reconcile::Error),
}

impl<P: Clone + Eq + Hash> Sessions<P> {
    /// No sessions. `generation` is a random number, another one for each run of the program.
    pub fn new(config: SessionConfig, generation: u64) -> Self {
        Self {
            config,
            generation,
            opened: 0,
            initiating: HashMap::new(),
            responding: HashMap::new(),
            totals: Totals::default(),
        }
    }

    /// Opens a session with a peer about the keys of `index` in `window`.
    pub fn open(
        &mut self,
        peer: P,
        window: TimeRange,
        index: &View,
        now: Instant,
    ) -> Result<Vec<Effect<P>>, OpenError> {
        if self.initiating.contains_key(&peer) {
            return Err(OpenError::AlreadyOpen(Role::Initiator));
        }
        if self.responding.contains_key(&peer) {
            return Err(OpenError::AlreadyOpen(Role::Responder));
        }
        if self.initiating.len() >= self.config.sessions {
            return Err(OpenError::TooMany);
        }
        let (options, limit) = (self.config.options, self.config.frame_limit);
        let opened = Initiating::open(self.next_id(), window, index, options, limit, now);
        let (session, message) = opened.map_err(OpenError::Bounds)?;
        self.initiating.insert(peer.clone(), session);
        self.totals.started += 1;
        Ok(vec![Effect::Send { peer, message }])
    }

    /// Takes a message of a peer.
    pub fn receive(
        &mut self,
        peer: &P,
        message: Message,
        index: &View,
        now: Instant,
    ) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let session = message.session();
        if let Some(times) = self.times_of(peer, session) {
            times.heard = now;
        } else if !matches!(message, Message::Open(_)) {
            if !matches!(message, Message::Close { .. }) {
                close(peer, session, CloseReason::Unknown, &mut effects);
            }
            return effects;
        }
        match message {
            Message::Open(open) => self.answer(peer, &open, index, now, &mut effects),
            Message::Frame { frame, .. } if session.generation == self.generation => {
                self.ask(peer, &frame, &mut effects);
            }
            Message::Frame { frame, .. } => self.reply(peer, &frame, &mut effects),
            Message::Finish { .. } => self.state(peer, session, &mut effects),
            Message::Statement { statement, .. } => {
                self.check(peer, statement, index, now, &mut effects);
            }
            Message::Close { reason, .. } => self.closed(peer, session, reason, &mut effects),
        }
        effects
    }

    /// Ends the sessions with a peer, and tells the peer.
    pub fn cancel(&mut self, peer: &P) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let told = Some(CloseReason::Cancelled);
        self.end_all(peer, &Outcome::Cancelled, told, &mut effects);
        effects
    }

    /// Ends the sessions with a peer whose connection is gone.
    pub fn disconnect(&mut self, peer: &P) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        self.end_all(peer, &Outcome::Cancelled, None, &mut effects);
        effects
    }

    /// Ends the sessions whose time is over. To be called at [`next_deadline`](Self::next_deadline).
    pub fn tick(&mut self, now: Instant) -> Vec<Effect<P>> {
        let mut effects = Vec::new();
        let late = |times: &Times| self.deadline(times) <= now;
        let initiating = self.initiating.iter().filter(|(_, it)| late(&it.times));
        let responding = self.responding.iter().filter(|(_, it)| late(&it.times));
        let initiating: Vec<P> = initiating.map(|(peer, _)| peer.clone()).collect();
        let responding: Vec<P> = responding.map(|(peer, _)| peer.clone()).collect();
        let late = Outcome::Failed(Failure::TimedOut);
        for peer in &initiating {
            self.end_initiating(
                peer,
                late.clone(),
                Some(CloseReason::TimedOut),
                &mut effects,
            );
        }
        for peer in &responding {
            self.end_responding(
                peer,
                late.clone(),
                Some(CloseReason::TimedOut),
                &mut effects,
            );
        }
        effects
    }

    /// When the next session's time is over, if nothing is heard of it.
    pub fn next_deadline(&self) -> Option<Instant> {
        let initiating = self.initiating.values().map(|it| &it.times);
        let responding = self.responding.values().map(|it| &it.times);
        let all = initiating.chain(responding);
        all.map(|times| self.deadline(times)).min()
    }

    /// The sessions that there are.
    pub fn len(&self) -> usize {
        self.initiating.len() + self.responding.len()
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sessions that ended so far, and how many began.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    fn next_id(&mut self) -> SessionId {
        self.opened += 1;
        SessionId {
            generation: self.generation,
            number: self.opened,
        }
    }

    fn deadline(&self, times: &Times) -> Instant {
        let (idle, total) = (self.config.idle, self.config.total);
        (times.heard + idle).min(times.began + total)
    }

    /// The times of this very session with this very peer.
    fn times_of(&mut self, peer: &P, session: SessionId) -> Option<&mut Times> {
        let ours = session.generation == self.generation;
        let initiating = self.initiating.get_mut(peer).filter(|_| ours);
        let initiating = initiating.map(|it| (it.id, &mut it.times));
        let responding = self.responding.get_mut(peer).filter(|_| !ours);
        let responding = responding.map(|it| (it.id, &mut it.times));
        let found = initiating.or(responding);
        found.and_then(|(id, times)| (id == session).then_some(times))
    }

    /// A peer opens a session.
    fn answer(
        &mut self,
        peer: &P,
        open: &Open,
        index: &View,
        now: Instant,
        effects: &mut Vec<Effect<P>>,
    ) {
        let id = open.session;
        if id.generation == self.generation {
            // Our own message, or a peer with our generation.
            close(peer, id, CloseReason::Refused, effects);
            return;
        }
        if let Some(ours) = self.initiating.get(peer) {
            if ours.id > id {
                close(peer, id, CloseReason::Yield, effects);
                return;
            }
            self.end_initiating(peer, Outcome::Yielded, None, effects);
        }
        // A peer that opens another session has given up the one before.
        self.end_responding(peer, Outcome::Cancelled, None, effects);
        if self.responding.len() >= self.config.sessions {
            close(peer, id, CloseReason::Busy, effects);
            return;
        }
        self.totals.answered += 1;
        match Responding::answer(open, index, self.config.options, now) {
            Ok((session, frame)) => {
                self.responding.insert(peer.clone(), session);
                send_frame(peer, id, frame, effects);
            }
            Err(error) => {
                close(peer, id, CloseReason::Refused, effects);
                let outcome = Outcome::Failed(Failure::Protocol(error));
                let nothing = Statistics::default();
                self.ended(peer, id, Role::Responder, outcome, nothing, effects);
            }
        }
    }

    /// A frame for a session that we opened.
    fn ask(&mut self, peer: &P, frame: &[u8], effects: &mut Vec<Effect<P>>) {
        let Some(session) = self.initiating.get_mut(peer) else {
            return;
        };
        let id = session.id;
        let round = match session.receive(frame) {
            Ok(round) => round,
            Err(error) => {
                let outcome = Outcome::Failed(Failure::Protocol(error));
                self.end_initiating(peer, outcome, Some(CloseReason::Refused), effects);
                return;
            }
        };
        if !round.difference.have.is_empty() || !round.difference.need.is_empty() {
            effects.push(Effect::Differ {
                peer: peer.clone(),
                session: id,
                difference: round.difference,
            });
        }
        if let Some(frame) = round.frame {
            send_frame(peer, id, frame, effects);
        } else if self.config.checks {
            effects.push(Effect::Send {
                peer: peer.clone(),
                message: Message::Finish { session: id },
            });
        } else {
            let outcome = Outcome::Complete { checked: false };
            self.end_initiating(peer, outcome, Some(CloseReason::Done), effects);
        }
    }

    /// A frame for a session that the peer opened.
    fn reply(&mut self, peer: &P, frame: &[u8], effects: &mut Vec<Effect<P>>) {
        let Some(session) = self.responding.get_mut(peer) else {
            return;
        };
        let id = session.id;
        match session.receive(frame) {
            Ok(frame) => send_frame(peer, id, frame, effects),
            Err(error) => {
                let outcome = Outcome::Failed(Failure::Protocol(error));
                self.end_responding(peer, outcome, Some(CloseReason::Refused), effects);
            }
        }
    }

    /// The peer has no further questions.
    fn state(&mut self, peer: &P, id: SessionId, effects: &mut Vec<Effect<P>>) {
        // Only the side that opened a session may finish it.
        let Some(session) = self.responding.get(peer).filter(|it| it.id == id) else {
            return;
        };
        effects.push(Effect::Send {
            peer: peer.clone(),
            message: Message::Statement {
                session: id,
                statement: session.statement(),
            },
        });
        self.end_responding(peer, Outcome::Answered, None, effects);
    }

    /// The final check.
    fn check(
        &mut self,
        peer: &P,
        stated: Statement,
        index: &View,
        now: Instant,
        effects: &mut Vec<Effect<P>>,
    ) {
        // A statement that was not asked for is ignored.
        let expected = match self.initiating.get(peer) {
            Some(session) if session.is_finishing() => session.expected(),
            _ => return,
        };
        if expected == stated {
            let outcome = Outcome::Complete { checked: true };
            self.end_initiating(peer, outcome, None, effects);
            return;
        }
        self.totals.mismatches += 1;
        let (id, options) = (self.next_id(), self.config.options);
        let session = self.initiating.get(peer);
        match session.and_then(|session| session.again(id, index, options, now)) {
            Some(Ok((session, message))) => {
                self.initiating.insert(peer.clone(), session);
                let peer = peer.clone();
                effects.push(Effect::Send { peer, message });
            }
            Some(Err(error)) => {
                let outcome = Outcome::Failed(Failure::Protocol(error));
                self.end_initiating(peer, outcome, None, effects);
            }
            None => {
                let outcome = Outcome::Mismatch { expected, stated };
                self.end_initiating(peer, outcome, None, effects);
            }
        }
    }

    /// The peer says that a session is over.
    fn closed(
        &mut self,
        peer: &P,
        id: SessionId,
        reason: CloseReason,
        effects: &mut Vec<Effect<P>>,
    ) {
        let failed = Outcome::Failed(Failure::Closed(reason));
        if id.generation == self.generation {
            let outcome = match reason {
                CloseReason::Yield => Outcome::Yielded,
                _ => failed,
            };
            self.end_initiating(peer, outcome, None, effects);
        } else {
            let outcome = match reason {
                CloseReason::Done => Outcome::Answered,
                CloseReason::Cancelled | CloseReason::Yield => Outcome::Cancelled,
                _ => failed,
            };
            self.end_responding(peer, outcome, None, effects);
        }
    }

    fn end_all(
        &mut self,
        peer: &P,
        outcome: &Outcome,
        told: Option<CloseReason>,
        effects: &mut Vec<Effect<P>>,
    ) {
        self.end_initiating(peer, outcome.clone(), told, effects);
        self.end_responding(peer, outcome.clone(), told, effects);
    }

    fn end_initiating(
        &mut self,
        peer: &P,
        outcome: Outcome,
        told: Option<CloseReason>,
        effects: &mut Vec<Effect<P>>,
    ) {
        if let Some(session) = self.initiating.remove(peer) {
            if let Some(reason) = told {
                close(peer, session.id, reason, effects);
            }
            let (id, statistics) = (session.id, session.statistics());
            self.ended(peer, id, Role::Initiator, outcome, statistics, effects);
        }
    }

    fn end_responding(
        &mut self,
        peer: &P,
        outcome: Outcome,
        told: Option<CloseReason>,
        effects: &mut Vec<Effect<P>>,
    ) {
        if let Some(session) = self.responding.remove(peer) {
            if let Some(reason) = told {
                close(peer, session.id, reason, effects);
            }
            let (id, statistics) = (session.id, session.statistics());
            self.ended(peer, id, Role::Responder, outcome, statistics, effects);
        }
    }

    fn ended(
        &mut self,
        peer: &P,
        session: SessionId,
        role: Role,
        outcome: Outcome,
        statistics: Statistics,
        effects: &mut Vec<Effect<P>>,
    ) {
        self.totals.add(&statistics);
        match outcome {
            Outcome::Complete { .. } => self.totals.completed += 1,
            Outcome::Mismatch { .. } | Outcome::Failed(_) => self.totals.failed += 1,
            Outcome::Answered | Outcome::Yielded | Outcome::Cancelled => {}
        }
        effects.push(Effect::End {
            peer: peer.clone(),
            session,
            role,
            outcome,
            statistics,
        });
    }
}

fn send_frame<P: Clone>(peer: &P, session: SessionId, frame: Bytes, effects: &mut Vec<Effect<P>>) {
    effects.push(Effect::Send {
        peer: peer.clone(),
        message: Message::Frame { session, frame },
    });
}

fn close<P: Clone>(
    peer: &P,
    session: SessionId,
    reason: CloseReason,
    effects: &mut Vec<Effect<P>>,
) {
    effects.push(Effect::Send {
        peer: peer.clone(),
        message: Message::Close { session, reason },
    });
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyOpen(Role::Initiator) => f.write_str("there is a session with this peer"),
            Self::AlreadyOpen(Role::Responder) => {
                f.write_str("this peer has opened a session itself")
            }
            Self::TooMany => f.write_str("there are too many sessions"),
            Self::Bounds(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}
