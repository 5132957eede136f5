use std::error::Error as StdError;
use std::fmt;

/// Why a source gave no answer, or a wrong one.
///
/// `Display` says this layer only; the cause is reachable through [`source`](StdError::source).
/// No message holds a secret.
#[derive(Debug)]
pub struct SourceError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: SourceErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// It cannot be reached, or answers that it is unavailable. A retry may help.
    Unavailable,
    /// It did not answer in the configured time. A retry may help.
    Timeout,
    /// It refused the request.
    Refused,
    /// Its answer violates the protocol, or is truncated.
    Protocol,
    /// It lacks what was asked for: a capture without a snapshot, a log that begins later.
    Missing,
    /// A file cannot be read.
    Io,
}

impl SourceError {
    /// An error of `kind`; `message` says what and where.
    pub fn new(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
        }))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> SourceErrorKind {
        self.0.kind
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            SourceErrorKind::Unavailable | SourceErrorKind::Timeout
        )
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
