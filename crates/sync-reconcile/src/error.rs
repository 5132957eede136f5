use std::fmt;

/// A result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why keys, a message or a session were refused.
///
/// A function of [`Index`](crate::Index) that fails changes nothing. A session that failed is over: the
/// ids that it has reported do differ, and others may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The keys do not ascend strictly.
    Unsorted {
        /// The first key, counted from 0, that is not above the one before it.
        index: usize,
    },
    /// A frame limit below the least that always holds a step forward.
    FrameLimitTooSmall {
        /// The least, in bytes.
        least: usize,
    },
    /// The message has no version byte of negentropy, or none at all.
    NotNegentropy,
    /// The peer does not speak version 1.
    UnsupportedVersion {
        /// The version byte of the highest version it speaks: 0x60 and the version.
        theirs: u8,
    },
    /// The message ends within a range.
    Truncated,
    /// A number has leading zeros or more than 64 bits.
    InvalidNumber,
    /// A bound has a prefix of more than 32 bytes, or a timestamp of more than 64 bits.
    InvalidBound,
    /// A bound is below the one before it.
    UnorderedBounds,
    /// A range has a mode that is not of version 1.
    UnknownMode {
        /// The mode.
        mode: u64,
    },
    /// A range whose bounds are equal is said to hold keys.
    KeysInEmptyRange,
    /// The session has reached a limit of its [`Options`](crate::Options).
    LimitReached(Limit),
    /// A message for a session that is over: it was done, or has failed before.
    Closed,
}

/// Which bound of a session was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Messages of the peer.
    Rounds,
    /// Ranges, of both sides.
    Ranges,
    /// Bytes of messages, of both sides.
    Bytes,
    /// Ids in the lists of both sides.
    Ids,
}

impl Error {
    pub(crate) const fn new(kind: ErrorKind) -> Self {
        Self { kind }
    }

    /// What is wrong.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsorted { index } => {
                write!(
                    f,
                    "keys out of order: key {index} is not above the one before it"
                )
            }
            Self::FrameLimitTooSmall { least } => {
                write!(f, "frame limit too small: {least} bytes are the least")
            }
            Self::NotNegentropy => f.write_str("not a negentropy message"),
            Self::UnsupportedVersion { theirs } => {
                write!(f, "unsupported protocol version {theirs:#04x}, not 0x61")
            }
            Self::Truncated => f.write_str("message ends within a range"),
            Self::InvalidNumber => f.write_str("number with leading zeros or above 64 bits"),
            Self::InvalidBound => f.write_str("bound out of range"),
            Self::UnorderedBounds => f.write_str("bound below the one before it"),
            Self::UnknownMode { mode } => write!(f, "unknown mode {mode}"),
            Self::KeysInEmptyRange => f.write_str("keys in a range that is empty"),
            Self::LimitReached(limit) => write!(f, "limit of {limit} reached"),
            Self::Closed => f.write_str("the session is over"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rounds => "rounds",
            Self::Ranges => "ranges",
            Self::Bytes => "bytes",
            Self::Ids => "ids",
        })
    }
}
