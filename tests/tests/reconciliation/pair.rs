//! Two sides, and the pipe between them.

use std::collections::VecDeque;
use std::time::Instant;

use fastrand::Rng;
use pollster::block_on;
use sync_core::{OpId, Operation, Page, SyncStore, TimeRange};
use sync_peers::{Effect, Message, Outcome, Role, Statistics};

use crate::side::Side;

/// What goes through the pipe.
enum Said {
    Session(Message),
    Ask(Vec<OpId>),
    Give(Vec<Operation>),
}

pub(crate) struct Pair {
    pub(crate) sides: [Side; 2],
    pipe: VecDeque<(usize, Said)>,
    rng: Rng,
    /// The share of messages that is lost.
    loss: f64,
    now: Instant,
    ended: Option<(Outcome, Statistics)>,
}

impl Pair {
    pub(crate) fn new(sides: [Side; 2], loss: f64, seed: u64) -> Self {
        Self {
            sides,
            pipe: VecDeque::new(),
            rng: Rng::with_seed(seed),
            loss,
            now: Instant::now(),
            ended: None,
        }
    }

    /// Sessions and transfers until both sides are equal; how many sessions did not complete.
    pub(crate) fn reconcile(&mut self) -> u64 {
        let mut lost = 0;
        for _ in 0..200 {
            match self.run(&mut |_| {}) {
                (Outcome::Complete { checked: true }, statistics) => {
                    if statistics.have + statistics.need == 0 {
                        return lost;
                    }
                }
                (Outcome::Failed(_), _) => lost += 1,
                (other, _) => panic!("{other:?}"),
            }
            self.transfer();
        }
        panic!("no end after 200 sessions");
    }

    /// One more session, which has to complete, over a pipe that loses nothing.
    pub(crate) fn session(&mut self) -> Statistics {
        self.loss = 0.0;
        let (outcome, statistics) = self.run(&mut |_| {});
        assert_eq!(outcome, Outcome::Complete { checked: true });
        statistics
    }

    /// One session, with something done before every message: how it ended, and whether it was
    /// repeated.
    pub(crate) fn session_while(&mut self, mut act: impl FnMut(&[Side; 2])) -> (Outcome, bool) {
        let (outcome, statistics) = self.run(&mut act);
        (outcome, statistics.repeated)
    }

    fn run(&mut self, act: &mut dyn FnMut(&[Side; 2])) -> (Outcome, Statistics) {
        let first = &mut self.sides[0];
        block_on(first.keeper.catch_up()).unwrap();
        let index = first.keeper.snapshot();
        first.have.clear();
        first.need.clear();
        let opened = first.sessions.open((), TimeRange::ALL, &index, self.now);
        self.take(0, opened.unwrap());
        loop {
            while let Some((to, said)) = self.pipe.pop_front() {
                act(&self.sides);
                self.deliver(to, said);
            }
            if let Some(ended) = self.ended.take() {
                return ended;
            }
            // Something was lost: time goes on until somebody gives up.
            let deadlines = self.sides.iter().map(|side| side.sessions.next_deadline());
            self.now = deadlines.flatten().min().unwrap();
            for at in [0, 1] {
                let effects = self.sides[at].sessions.tick(self.now);
                self.take(at, effects);
            }
        }
    }

    /// What differs goes through the same pipe, in both directions.
    fn transfer(&mut self) {
        let wanted = self.sides[0].wanted();
        let given = self.sides[0].get(&self.sides[0].have);
        for part in wanted.chunks(100) {
            self.say(1, Said::Ask(part.to_vec()));
        }
        for part in given.chunks(100) {
            self.say(1, Said::Give(part.to_vec()));
        }
        while let Some((to, said)) = self.pipe.pop_front() {
            self.deliver(to, said);
        }
    }

    fn say(&mut self, to: usize, said: Said) {
        if self.rng.f64() >= self.loss {
            self.pipe.push_back((to, said));
        }
    }

    fn deliver(&mut self, to: usize, said: Said) {
        let side = &mut self.sides[to];
        match said {
            Said::Session(message) => {
                block_on(side.keeper.catch_up()).unwrap();
                let index = side.keeper.snapshot();
                let effects = side.sessions.receive(&(), message, &index, self.now);
                self.take(to, effects);
            }
            Said::Ask(ids) => {
                let operations = side.get(&ids);
                self.say(1 - to, Said::Give(operations));
            }
            Said::Give(operations) => {
                let page = Page::new().upserts(operations);
                let _ = block_on(side.store().apply(page)).unwrap();
            }
        }
    }

    fn take(&mut self, at: usize, effects: Vec<Effect<()>>) {
        for effect in effects {
            match effect {
                Effect::Send { message, .. } => self.say(1 - at, Said::Session(message)),
                Effect::Differ { difference, .. } => {
                    self.sides[at].have.extend(difference.have);
                    self.sides[at].need.extend(difference.need);
                }
                Effect::End {
                    role: Role::Initiator,
                    outcome,
                    statistics,
                    ..
                } => self.ended = Some((outcome, statistics)),
                Effect::End { .. } => {}
            }
        }
    }
}
