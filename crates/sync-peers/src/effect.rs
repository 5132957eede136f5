use std::fmt;

use sync_core::OpId;

use crate::{CloseReason, Message, SessionId, Statement, Statistics};

/// What the caller has to do after a call, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Effect<P> {
    /// Send a message.
    Send {
        /// The recipient.
        peer: P,
        /// The message.
        message: Message,
    },
    /// Transfer operations. A session reports each id once in `have` and once in `need`, as soon as
    /// it is known; a [repeated](Outcome::Complete) one reports again what still differs.
    Differ {
        /// The peer.
        peer: P,
        /// The session.
        session: SessionId,
        /// The difference.
        difference: Difference,
    },
    /// A session is over. Nothing of it is left here.
    End {
        /// The peer.
        peer: P,
        /// The session.
        session: SessionId,
        /// The side of this node.
        role: Role,
        /// How it ended.
        outcome: Outcome,
        /// What it cost.
        statistics: Statistics,
    },
}

/// Ids that one side has and the other lacks.
///
/// An id that the two sides hold under different times is in both lists. It is a variant, and is not
/// transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Ids that we have and the peer lacks.
    pub have: Vec<OpId>,
    /// Ids that the peer has and we lack.
    pub need: Vec<OpId>,
}

/// The side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We opened the session, and learn what differs.
    Initiator,
    /// The peer opened it.
    Responder,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that differed when the session began was reported.
    Complete {
        /// Whether the final check was made, and held.
        checked: bool,
    },
    /// The peer that opened it has what it asked for.
    Answered,
    /// The final check failed twice, the second time without a frame limit. The reported ids do differ, and
    /// others do too. The next session may find them.
    Mismatch {
        /// The peer's statement if the reported ids were all.
        expected: Statement,
        /// The peer's statement.
        stated: Statement,
    },
    /// Both sides opened a session at once, and the peer's continues.
    Yielded,
    /// It was cancelled here, or the peer is gone.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// Why a session failed. The ids that it reported before do differ.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The peer sent nothing for too long, or the session took too long.
    TimedOut,
    /// The peer closed it.
    Closed(CloseReason),
    /// The peer's frame was malformed, or a bound of the session was reached.
    Protocol(sync_reconcile::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Closed(reason) => write!(f, "closed by the peer: {reason}"),
            Self::Protocol(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Unknown => "no such session",
            Self::Busy => "too many sessions",
            Self::Yield => "another session goes on",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::Refused => "a frame was refused",
        })
    }
}
