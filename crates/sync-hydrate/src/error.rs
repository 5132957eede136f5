use std::error::Error as StdError;
use std::fmt;

use sync_core::Retry;

use crate::SourceError;

/// A result with an error of hydration.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why hydration could not go on.
///
/// `Display` says this layer only; what the store or the source said is reachable through
/// [`source`](StdError::source). No message holds a secret.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    source: Option<Cause>,
}

#[derive(Debug)]
enum Cause {
    Store(sync_core::Error),
    Source(SourceError),
    Other(Box<dyn StdError + Send + Sync>),
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store failed.
    Store,
    /// The source failed.
    Source,
    /// The source began another history, and holds less than half of what it held. Nothing was written.
    /// An operator decides whether that is right:
    /// [`accept_shrunk_source`](crate::HydrateConfig::accept_shrunk_source).
    SourceShrank {
        /// Operations it held.
        held: u64,
        /// Operations it holds.
        holds: u64,
    },
    /// The space is filled from another source, and has at most one. Nothing was written.
    OtherSource {
        /// The source the space remembers.
        stored: String,
    },
    /// The source says that there is more, but its cursor does not advance.
    NotAdvancing,
    /// The space's state under `key` has a form that this version of the crate does not write.
    State {
        /// The key.
        key: String,
    },
}

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner { kind, source: None }))
    }

    pub(crate) fn state(key: &str, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::State {
                key: key.to_owned(),
            },
            source: Some(Cause::Other(cause.into())),
        }))
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The store's error, where it was the store.
    pub fn store_error(&self) -> Option<&sync_core::Error> {
        match &self.0.source {
            Some(Cause::Store(error)) => Some(error),
            _ => None,
        }
    }

    /// The source's error, where it was the source.
    pub fn source_error(&self) -> Option<&SourceError> {
        match &self.0.source {
            Some(Cause::Source(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether the same call may succeed later. After an unknown outcome it may as well: the next call
    /// reads from the store whether the page was applied.
    pub fn is_retryable(&self) -> bool {
        match &self.0.source {
            Some(Cause::Store(error)) => error.retry() != Retry::Never,
            Some(Cause::Source(error)) => error.is_retryable(),
            _ => false,
        }
    }
}

impl From<sync_core::Error> for Error {
    fn from(error: sync_core::Error) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Store,
            source: Some(Cause::Store(error)),
        }))
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self(Box::new(Inner {
            kind: ErrorKind::Source,
            source: Some(Cause::Source(error)),
        }))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            ErrorKind::Store => f.write_str("hydration: the store failed"),
            ErrorKind::Source => f.write_str("hydration: the source failed"),
            ErrorKind::SourceShrank { held, holds } => write!(
                f,
                "the source began a new history, and of {held} operations it holds {holds}"
            ),
            ErrorKind::OtherSource { stored } => {
                write!(f, "the space is filled from another source, {stored}")
            }
            ErrorKind::NotAdvancing => {
                f.write_str("the source says there is more, and its cursor does not advance")
            }
            ErrorKind::State { key } => write!(f, "the value of state {key} cannot be read"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|cause| match cause {
            Cause::Store(error) => error as _,
            Cause::Source(error) => error as _,
            Cause::Other(error) => error.as_ref() as _,
        })
    }
}
