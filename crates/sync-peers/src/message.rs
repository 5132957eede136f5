use bytes::Bytes;
use sync_core::TimeRange;
use sync_reconcile::{Aggregate, Fingerprint};

/// A message of one peer to another about a session.
///
/// The transport encodes messages. It delivers whole messages or none, in order; if one is lost, the
/// session times out and is opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender opens a session.
    Open(Open),
    /// A frame of either side.
    Frame {
        /// The session.
        session: SessionId,
        /// The frame, of negentropy version 1.
        frame: Bytes,
    },
    /// The side that opened the session has no further questions, and asks for the other side's
    /// [`Statement`](Self::Statement).
    Finish {
        /// The session.
        session: SessionId,
    },
    /// The answer to [`Finish`](Self::Finish), and the end of the session for its sender.
    Statement {
        /// The session.
        session: SessionId,
        /// What the sender held in the window when the session began.
        statement: Statement,
    },
    /// The session is over, or there is none.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
}

/// The first message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The session.
    pub session: SessionId,
    /// The times that it is about, both ends included.
    pub window: TimeRange,
    /// The longest frame of either side, in bytes; `None` for no limit.
    pub frame_limit: Option<u64>,
    /// The first frame, of negentropy version 1.
    pub frame: Bytes,
}

/// The identity of a session among all that two peers ever have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The run of the program that opened it: a random number.
    pub generation: u64,
    /// Counted by that run.
    pub number: u64,
}

/// Count and fingerprint of one side's set, for the final check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// How many keys there are.
    pub count: u64,
    /// Their fingerprint, as negentropy forms it.
    pub fingerprint: Fingerprint,
}

/// Why a session is over for the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Its opener knows the difference, and makes no final check.
    Done,
    /// There is no such session, or no longer.
    Unknown,
    /// There are too many sessions. Try again later.
    Busy,
    /// Both sides opened a session, and the other one goes on.
    Yield,
    /// It was cancelled.
    Cancelled,
    /// The peer sent nothing for too long, or the session took too long.
    TimedOut,
    /// A frame could not be understood, or a bound of the session was reached.
    Refused,
}

impl Message {
    /// The session that it is about.
    pub const fn session(&self) -> SessionId {
        match self {
            Self::Open(Open { session, .. })
            | Self::Frame { session, .. }
            | Self::Finish { session }
            | Self::Statement { session, .. }
            | Self::Close { session, .. } => *session,
        }
    }
}

impl From<Aggregate> for Statement {
    fn from(aggregate: Aggregate) -> Self {
        Self {
            count: aggregate.count() as u64,
            fingerprint: aggregate.fingerprint(),
        }
    }
}
