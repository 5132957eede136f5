//! Peers in one place, and the messages between them.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use fastrand::Rng;
use sync_core::{OpId, TimeKey, TimeRange, Ts};
use sync_peers::{
    Difference, Effect, Message, OpenError, Outcome, Role, SessionConfig, Sessions, Statistics,
};
use sync_reconcile::Index;

pub(crate) fn key(n: u64) -> TimeKey {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TimeKey {
        ts: Ts::new(n % 1_000).unwrap(),
        id: OpId::new(id),
    }
}

/// A peer, and what its sessions told it.
pub(crate) struct Peer {
    pub(crate) sessions: Sessions<usize>,
    pub(crate) index: Index,
    pub(crate) have: BTreeSet<OpId>,
    pub(crate) need: BTreeSet<OpId>,
    pub(crate) ended: Vec<(usize, Role, Outcome, Statistics)>,
}

/// Peers and what is on the way between them, in order.
pub(crate) struct Network {
    pub(crate) peers: Vec<Peer>,
    pub(crate) now: Instant,
    pub(crate) on_the_way: VecDeque<(usize, usize, Message)>,
    /// The longest frame so far.
    pub(crate) longest: usize,
}

impl Network {
    /// Peers with the keys of these numbers.
    pub(crate) fn of(config: &SessionConfig, sets: &[&[Range<u64>]]) -> Self {
        let peers = (1..).zip(sets).map(|(generation, numbers)| {
            let mut index = Index::new();
            for n in numbers.iter().cloned().flatten() {
                index.insert(key(n));
            }
            Peer {
                sessions: Sessions::new(config.clone(), generation),
                index,
                have: BTreeSet::new(),
                need: BTreeSet::new(),
                ended: Vec::new(),
            }
        });
        Self {
            peers: peers.collect(),
            now: Instant::now(),
            on_the_way: VecDeque::new(),
            longest: 0,
        }
    }

    pub(crate) fn try_open(&mut self, from: usize, to: usize) -> Result<(), OpenError> {
        let peer = &mut self.peers[from];
        let index = peer.index.snapshot();
        let effects = peer.sessions.open(to, TimeRange::ALL, &index, self.now)?;
        self.act(from, effects);
        Ok(())
    }

    pub(crate) fn open(&mut self, from: usize, to: usize) {
        self.try_open(from, to).unwrap();
    }

    /// Delivers one message.
    pub(crate) fn step(&mut self) -> bool {
        let Some((from, to, message)) = self.on_the_way.pop_front() else {
            return false;
        };
        self.deliver(from, to, message);
        true
    }

    pub(crate) fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let peer = &mut self.peers[to];
        let index = peer.index.snapshot();
        let effects = peer.sessions.receive(&from, message, &index, self.now);
        self.act(to, effects);
    }

    /// Delivers everything, until nobody says anything more.
    pub(crate) fn run(&mut self) {
        while self.step() {}
    }

    /// The same over a network that loses messages, with the time going on where nothing is left.
    pub(crate) fn run_losing(&mut self, rng: &mut Rng, share: f64) {
        loop {
            while let Some((from, to, message)) = self.on_the_way.pop_front() {
                if rng.f64() >= share {
                    self.deliver(from, to, message);
                }
            }
            let deadlines = self.peers.iter().map(|peer| peer.sessions.next_deadline());
            let Some(next) = deadlines.flatten().min() else {
                return;
            };
            self.now = self.now.max(next);
            for at in 0..self.peers.len() {
                let effects = self.peers[at].sessions.tick(self.now);
                self.act(at, effects);
            }
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        for at in 0..self.peers.len() {
            let effects = self.peers[at].sessions.tick(self.now);
            self.act(at, effects);
        }
    }

    pub(crate) fn act(&mut self, at: usize, effects: Vec<Effect<usize>>) {
        for effect in effects {
            match effect {
                Effect::Send { peer, message } => {
                    let frame = match &message {
                        Message::Open(open) => open.frame.len(),
                        Message::Frame { frame, .. } => frame.len(),
                        _ => 0,
                    };
                    self.longest = self.longest.max(frame);
                    self.on_the_way.push_back((at, peer, message));
                }
                Effect::Differ { difference, .. } => {
                    let Difference { have, need } = difference;
                    self.peers[at].have.extend(have);
                    self.peers[at].need.extend(need);
                }
                Effect::End {
                    peer,
                    role,
                    outcome,
                    statistics,
                    ..
                } => self.peers[at].ended.push((peer, role, outcome, statistics)),
            }
        }
    }

    /// How the sessions of a peer ended, in order.
    pub(crate) fn outcomes(&self, at: usize) -> Vec<(usize, Role, Outcome)> {
        let ended = self.peers[at].ended.iter();
        ended
            .map(|(peer, role, outcome, _)| (*peer, *role, outcome.clone()))
            .collect()
    }

    /// Ids of `one` that `other` lacks.
    pub(crate) fn lacking(&self, one: usize, other: usize) -> BTreeSet<OpId> {
        let [one, other] = [one, other].map(|at| {
            let keys = self.peers[at].index.snapshot();
            keys.iter().map(|key| key.id).collect::<BTreeSet<_>>()
        });
        &one - &other
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.peers
            .iter()
            .all(|peer| peer.sessions.is_empty() && peer.sessions.next_deadline().is_none())
    }
}
