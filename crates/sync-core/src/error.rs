use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;

use crate::{Epoch, Seq, StateKey};

/// A result with the one error of every store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store could not do what it was asked: a [kind](ErrorKind), whether a
/// [retry](Retry) helps, and where it happened.
///
/// `Display` says this layer only; the driver's own error is reachable through
/// [`source`](StdError::source). No message and no `Debug` holds a secret.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    message: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A page's preconditions do not hold: every key that mismatches, once. Nothing was written.
    Conflict(Vec<Mismatch>),
    /// A limit of [`limits`](crate::limits) is exceeded. Nothing was written.
    TooLarge(TooLarge),
    /// The cursor belongs to another history of the space.
    WrongEpoch {
        /// The space's epoch; `None` where the space does not exist.
        current: Option<Epoch>,
    },
    /// The cursor is past the newest entry: the store has lost what the reader saw.
    AheadOfLog {
        /// The newest seq.
        head: Seq,
    },
    /// Tombstones that the reader has not seen were pruned; it has to begin again.
    Pruned {
        /// The seq up to which tombstones may be gone.
        floor: Seq,
    },
    /// Seqs, or another number of the store, have reached 2^53 - 1. Nothing was written.
    Exhausted,
    /// The database has another schema than this program. Nothing was written.
    SchemaMismatch {
        /// The version found; 0 where there is no schema at all.
        found: u32,
        /// The version this program reads and writes.
        supported: u32,
    },
    /// Whether the page was applied cannot be known: the connection died after the commit was
    /// sent. See [`Page::is_retry_safe`](crate::Page::is_retry_safe).
    UnknownOutcome,
    /// A value from outside is malformed.
    InvalidInput {
        /// What kind of value.
        what: &'static str,
    },
    /// A URL or an option of the configuration is not understood.
    Config,
    /// The backend does not offer this, and its capabilities say so.
    Unsupported,
    /// The database, or the file, does not exist.
    NotFound,
    /// The database belongs to something else. Nothing was written.
    Foreign,
    /// The database holds what no version of this program writes, or its file is damaged.
    Corrupt,
    /// The database does not allow writing.
    ReadOnly,
    /// The credentials do not suffice.
    Denied,
    /// No space is left for the write. Nothing was written.
    Full,
    /// Another writer held the lock for longer than the configured time. Nothing was written.
    Busy,
    /// The server did not answer in the configured time. Nothing was written.
    Timeout,
    /// The server cannot be reached. Nothing was written.
    Unavailable,
    /// The handle was closed.
    Closed,
    /// Anything else, described by the message and the source.
    Failed,
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: something has to change first.
    Never,
    /// Yes, after a pause.
    Later,
    /// Only where repeating is harmless: see [`Page::is_retry_safe`](crate::Page::is_retry_safe).
    IfSafe,
}

/// A state key that did not hold what the page expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The key.
    pub key: StateKey,
    /// What it holds, or `None` where it is absent.
    pub found: Option<Bytes>,
}

/// Where a page exceeds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The list of the page.
    pub list: List,
    /// The index of the first entry past the limit.
    pub index: usize,
    /// The limit, in bytes or in entries.
    pub limit: usize,
}

/// A list of a [`Page`](crate::Page).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `preconditions`
    Preconditions,
    /// `lifts`
    Lifts,
    /// `deletes`
    Deletes,
    /// `upserts`
    Upserts,
    /// `backfills`
    Backfills,
    /// `state`
    State,
}

impl Error {
    /// An error of this kind. The retryability follows from the kind.
    pub fn new(kind: ErrorKind) -> Self {
        let retry = kind.retry();
        Self(Box::new(Inner {
            kind,
            retry,
            backend: None,
            operation: None,
            message: None,
            source: None,
        }))
    }

    /// A value from outside that is malformed: what kind of value, and what is wrong with it.
    pub fn invalid(what: &'static str, message: String) -> Self {
        Self::new(ErrorKind::InvalidInput { what }).with_message(message)
    }

    /// A page past a limit.
    pub fn too_large(at: TooLarge) -> Self {
        Self::new(ErrorKind::TooLarge(at))
    }

    /// Preconditions that do not hold.
    pub fn conflict(mismatches: Vec<Mismatch>) -> Self {
        Self::new(ErrorKind::Conflict(mismatches))
    }

    pub(crate) fn no_randomness(source: getrandom::Error) -> Self {
        Self::new(ErrorKind::Failed)
            .with_message("the operating system gave no random numbers")
            .with_source(source)
    }

    /// Adds what a person should know beyond the kind. Never a secret.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether a retry helps, where the kind alone does not tell.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Names the backend, unless an inner layer has.
    #[must_use]
    pub fn of_backend(mut self, backend: &'static str) -> Self {
        self.0.backend.get_or_insert(backend);
        self
    }

    /// Names the operation that failed, unless an inner layer has.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The backend it happened in, where it was one.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The operation that failed, by the name of its method.
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }
}

impl ErrorKind {
    fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Timeout | Self::Unavailable | Self::Full => Retry::Later,
            Self::UnknownOutcome => Retry::IfSafe,
            Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::WrongEpoch { .. }
            | Self::AheadOfLog { .. }
            | Self::Pruned { .. }
            | Self::Exhausted
            | Self::SchemaMismatch { .. }
            | Self::InvalidInput { .. }
            | Self::Config
            | Self::Unsupported
            | Self::NotFound
            | Self::Foreign
            | Self::Corrupt
            | Self::ReadOnly
            | Self::Denied
            | Self::Closed
            | Self::Failed => Retry::Never,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(mismatches) => {
                f.write_str("conflict: ")?;
                for (n, mismatch) in mismatches.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}state {:?} ", mismatch.key.as_str())?;
                    match &mismatch.found {
                        Some(found) => write!(f, "holds {}", Cut(found))?,
                        None => f.write_str("is absent")?,
                    }
                }
                Ok(())
            }
            Self::TooLarge(TooLarge { list, index, limit }) => {
                write!(f, "too large: {list}[{index}] is past the limit of {limit}")
            }
            Self::WrongEpoch {
                current: Some(epoch),
            } => {
                write!(f, "wrong epoch: the space is at {epoch}")
            }
            Self::WrongEpoch { current: None } => {
                f.write_str("wrong epoch: the space does not exist")
            }
            Self::AheadOfLog { head } => write!(f, "cursor ahead of the log, whose head is {head}"),
            Self::Pruned { floor } => write!(f, "pruned up to {floor}: begin again"),
            Self::Exhausted => f.write_str("positions are exhausted at 2^53 - 1"),
            Self::SchemaMismatch {
                found: 0,
                supported,
            } => {
                write!(f, "no schema, version {supported} is needed: migrate first")
            }
            Self::SchemaMismatch { found, supported } if found < supported => {
                write!(
                    f,
                    "schema version {found} is older than {supported}: migrate first"
                )
            }
            Self::SchemaMismatch { found, supported } => {
                write!(
                    f,
                    "schema version {found} is newer than {supported}: use a newer program"
                )
            }
            Self::UnknownOutcome => f.write_str("unknown outcome: the page may have been applied"),
            Self::InvalidInput { what } => write!(f, "invalid {what}"),
            Self::Config => f.write_str("configuration"),
            Self::Unsupported => f.write_str("not supported"),
            Self::NotFound => f.write_str("not found"),
            Self::Foreign => f.write_str("not a database of this program"),
            Self::Corrupt => f.write_str("corrupt"),
            Self::ReadOnly => f.write_str("read-only"),
            Self::Denied => f.write_str("access denied"),
            Self::Full => f.write_str("no space left"),
            Self::Busy => f.write_str("busy: another writer holds the lock"),
            Self::Timeout => f.write_str("timed out"),
            Self::Unavailable => f.write_str("unavailable"),
            Self::Closed => f.write_str("closed"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preconditions => "preconditions",
            Self::Lifts => "lifts",
            Self::Deletes => "deletes",
            Self::Upserts => "upserts",
            Self::Backfills => "backfills",
            Self::State => "state",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.backend, self.0.operation) {
            (Some(backend), Some(operation)) => write!(f, "{backend} {operation}: ")?,
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}: ")?,
            (None, None) => {}
        }
        write!(f, "{}", self.0.kind)?;
        match &self.0.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("backend", &self.0.backend)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// A state value inside a message: escaped and cut.
struct Cut<'a>(&'a [u8]);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let (shown, rest) = self.0.split_at(self.0.len().min(SHOWN));
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if rest.is_empty() {
            Ok(())
        } else {
            write!(f, "… ({} bytes)", self.0.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide_and_can_cross_threads() {
        fn sendable<T: Send + Sync + 'static>() {}
        sendable::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn a_message_says_this_layer_only_and_the_cause_is_reachable() {
        let error = Error::new(ErrorKind::Busy)
            .with_source("database is locked")
            .of_backend("sqlite")
            .during("apply")
            .during("ignored");
        assert_eq!(
            error.to_string(),
            "sqlite apply: busy: another writer holds the lock"
        );
        assert_eq!(error.source().unwrap().to_string(), "database is locked");
        assert_eq!(error.retry(), Retry::Later);
    }

    #[test]
    fn a_conflict_names_every_key_and_cuts_long_values() {
        let mismatch = |key: &str, found: Option<&[u8]>| Mismatch {
            key: StateKey::new(key).unwrap(),
            found: found.map(Bytes::copy_from_slice),
        };
        let error = Error::conflict(vec![
            mismatch("a", None),
            mismatch("b", Some(b"\xff1")),
            mismatch("c", Some(&[b'x'; 5000])),
        ]);
        let expected = format!(
            "conflict: state \"a\" is absent, state \"b\" holds \"\\xff1\", \
             state \"c\" holds \"{}\"… (5000 bytes)",
            "x".repeat(64)
        );
        assert_eq!(error.to_string(), expected);
    }
}
