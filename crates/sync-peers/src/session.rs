//! The two sides of one session.

use std::time::Instant;

use bytes::Bytes;
use sync_core::TimeRange;
use sync_reconcile::{Initiator, Options, Responder, Result, View};

use crate::{Difference, Message, Open, SessionId, Statement, Statistics};

/// When a session began and when its peer last sent a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) began: Instant,
    pub(crate) heard: Instant,
}

/// A session that we opened.
#[derive(Debug)]
pub(crate) struct Initiating {
    pub(crate) id: SessionId,
    pub(crate) times: Times,
    window: TimeRange,
    negentropy: Initiator,
    /// The peer was asked for its statement.
    finishing: bool,
    repeated: bool,
    /// The cost of the attempt before this one.
    spent: Statistics,
}

/// A session that a peer opened.
#[derive(Debug)]
pub(crate) struct Responding {
    pub(crate) id: SessionId,
    pub(crate) times: Times,
    negentropy: Responder,
}

/// What the initiator learned from a frame.
pub(crate) struct Round {
    pub(crate) difference: Difference,
    /// The next frame; `None` once everything is known.
    pub(crate) frame: Option<Bytes>,
}

impl Times {
    pub(crate) const fn at(now: Instant) -> Self {
        Self {
            began: now,
            heard: now,
        }
    }
}

impl Initiating {
    /// Begins, with the message that opens it.
    pub(crate) fn open(
        id: SessionId,
        window: TimeRange,
        index: &View,
        options: Options,
        frame_limit: Option<usize>,
        now: Instant,
    ) -> Result<(Self, Message)> {
        let limited = limited(options, frame_limit);
        let (negentropy, frame) = Initiator::start(index.times(window), limited)?;
        let session = Self {
            id,
            times: Times::at(now),
            window,
            negentropy,
            finishing: false,
            repeated: false,
            spent: Statistics::default(),
        };
        let message = Message::Open(Open {
            session: id,
            window,
            frame_limit: frame_limit.map(|bytes| bytes as u64),
            frame: frame.into(),
        });
        Ok((session, message))
    }

    /// A second attempt, with the keys as they are now and without a frame limit. `None` if this is the
    /// second one.
    pub(crate) fn again(
        &self,
        id: SessionId,
        index: &View,
        options: Options,
        now: Instant,
    ) -> Option<Result<(Self, Message)>> {
        if self.repeated {
            return None;
        }
        let opened = Self::open(id, self.window, index, options, None, now);
        Some(opened.map(|(session, message)| {
            let session = Self {
                times: Times {
                    began: self.times.began,
                    heard: now,
                },
                repeated: true,
                spent: self.statistics(),
                ..session
            };
            (session, message)
        }))
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) -> Result<Round> {
        let round = self.negentropy.receive(frame)?;
        let difference = Difference {
            have: round.have.to_vec(),
            need: round.need.to_vec(),
        };
        let frame = round.message.map(Bytes::from);
        self.finishing = frame.is_none();
        Ok(Round { difference, frame })
    }

    /// Whether it waits for a statement.
    pub(crate) const fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// The statement of the peer if nothing was lost.
    pub(crate) fn expected(&self) -> Statement {
        self.negentropy.expected().into()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let mut statistics = self.spent.with(self.negentropy.usage());
        statistics.have += self.negentropy.have().len() as u64;
        statistics.need += self.negentropy.need().len() as u64;
        statistics.repeated = self.repeated;
        statistics
    }
}

impl Responding {
    /// Begins, with the answer to the first frame.
    pub(crate) fn answer(
        open: &Open,
        index: &View,
        options: Options,
        now: Instant,
    ) -> Result<(Self, Bytes)> {
        let limit = open
            .frame_limit
            .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let options = limited(options, limit);
        let mut negentropy = Responder::start(index.times(open.window), options)?;
        let answer = negentropy.receive(&open.frame)?;
        let session = Self {
            id: open.session,
            times: Times::at(now),
            negentropy,
        };
        Ok((session, answer.into()))
    }

    pub(crate) fn receive(&mut self, frame: &[u8]) -> Result<Bytes> {
        self.negentropy.receive(frame).map(Bytes::from)
    }

    /// Count and fingerprint of the keys that the session is about.
    pub(crate) fn statement(&self) -> Statement {
        self.negentropy.view().aggregate().into()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        Statistics::default().with(self.negentropy.usage())
    }
}

/// The options with a frame limit, which is none where `None`.
fn limited(options: Options, frame_limit: Option<usize>) -> Options {
    match frame_limit {
        Some(bytes) => options.frame_limit(bytes),
        None => options.no_frame_limit(),
    }
}
