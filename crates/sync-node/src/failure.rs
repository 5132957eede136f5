use std::error::Error as StdError;
use std::fmt;

use serde::Serialize;
use sync_hydrate::SourceErrorKind;
use sync_store::{Error, ErrorKind, Retry};

/// The kind of a failure because of a space that changed. Scripts depend on it.
const MOVED: &str = "moved";

/// The exit codes. Scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Retryable = 3,
    Difference = 4,
}

/// The failure of a command: one error, its exit code, and its JSON.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    quiet: bool,
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            kind,
            message: message.into(),
            causes: Vec::new(),
            quiet: false,
        }
    }

    /// The command line, the environment or the configuration file is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The input is not in the form that the command reads.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "input", message)
    }

    /// The store is not in the state the command needs.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "refused", message)
    }

    /// What the command names does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "notFound", message)
    }

    /// The space changed under the command, which may succeed when it is run again.
    pub(crate) fn moved(message: impl Into<String>) -> Self {
        Self::new(Exit::Retryable, MOVED, message)
    }

    /// A file or a standard stream failed. A reader that closed the pipe needs no more: the command
    /// ends without a message.
    pub(crate) fn io(what: impl fmt::Display, error: std::io::Error) -> Self {
        Self {
            quiet: error.kind() == std::io::ErrorKind::BrokenPipe,
            causes: causes(Some(&error)),
            ..Self::new(Exit::Failed, "io", what.to_string())
        }
    }

    /// The same failure, with more to say to a person.
    pub(crate) fn and(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{}; {what}", self.message);
        self
    }

    /// Whether the space changed under the command.
    pub(crate) fn is_moved(&self) -> bool {
        self.kind == MOVED
    }

    /// Whether nothing is printed for it.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The failure as the one JSON document of a command that failed.
    pub(crate) fn to_json(&self) -> String {
        let document = Document {
            error: Body {
                kind: self.kind,
                retry: match self.exit {
                    Exit::Retryable => "later",
                    _ => "never",
                },
                message: &self.message,
                causes: &self.causes,
            },
        };
        serde_json::to_string(&document).unwrap_or_else(|error| error.to_string())
    }

    /// The failure on one line, for a person.
    pub(crate) fn to_line(&self) -> String {
        let parts: Vec<_> = std::iter::once(&self.message).chain(&self.causes).collect();
        let parts: Vec<_> = parts.into_iter().map(String::as_str).collect();
        parts.join(": ")
    }

    /// The failure for a person, without a newline at the end.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("error: {}", self.message);
        for cause in &self.causes {
            text.push_str("\n  caused by: ");
            text.push_str(cause);
        }
        text
    }
}

#[derive(Serialize)]
struct Document<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: &'a str,
    retry: &'a str,
    message: &'a str,
    causes: &'a [String],
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match (error.kind(), error.retry()) {
            (ErrorKind::Config, _) => Exit::Usage,
            // Every command is safe to run again: a repetition does not change what it wrote.
            (_, Retry::Later | Retry::IfSafe) => Exit::Retryable,
            (_, Retry::Never) => Exit::Failed,
        };
        Self {
            causes: causes(error.source()),
            ..Self::new(exit, kind(error.kind()), error.to_string())
        }
    }
}

impl From<sync_hydrate::Error> for Failure {
    fn from(error: sync_hydrate::Error) -> Self {
        use sync_hydrate::ErrorKind as Kind;

        let exit = if error.is_retryable() {
            Exit::Retryable
        } else {
            Exit::Failed
        };
        let name = match (error.store_error(), error.source_error(), error.kind()) {
            (Some(error), _, _) => kind(error.kind()),
            (_, Some(error), _) => source_kind(error.kind()),
            (_, _, Kind::SourceShrank { .. }) => "sourceShrank",
            (_, _, Kind::OtherSource { .. }) => "otherSource",
            (_, _, Kind::NotAdvancing) => "sourceProtocol",
            (_, _, Kind::State { .. }) => "refused",
            _ => "failed",
        };
        let failure = Self {
            causes: causes(error.source()),
            ..Self::new(exit, name, error.to_string())
        };
        match error.kind() {
            Kind::SourceShrank { .. } => failure.and(
                "nothing was changed here; --accept-shrunk-source begins anew with the operations that are left",
            ),
            Kind::OtherSource { .. } => failure.and(
                "a space has one source: fill another --space, or name this one with --source-name \
                 where it is the same",
            ),
            _ => failure,
        }
    }
}

/// The name in JSON of a source's error. Scripts depend on them.
fn source_kind(kind: SourceErrorKind) -> &'static str {
    match kind {
        SourceErrorKind::Unavailable => "unavailable",
        SourceErrorKind::Timeout => "timeout",
        SourceErrorKind::Refused => "sourceRefused",
        SourceErrorKind::Protocol => "sourceProtocol",
        SourceErrorKind::Missing => "sourceMissing",
        SourceErrorKind::Io => "io",
        _ => "failed",
    }
}

fn causes(first: Option<&(dyn StdError + 'static)>) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = first;
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

/// A kind's name in JSON. Scripts depend on them.
fn kind(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Conflict(_) => "conflict",
        ErrorKind::TooLarge(_) => "tooLarge",
        ErrorKind::WrongEpoch { .. } => "wrongEpoch",
        ErrorKind::AheadOfLog { .. } => "aheadOfLog",
        ErrorKind::Pruned { .. } => "pruned",
        ErrorKind::Exhausted => "exhausted",
        ErrorKind::SchemaMismatch { .. } => "schemaMismatch",
        ErrorKind::UnknownOutcome => "unknownOutcome",
        ErrorKind::InvalidInput { .. } => "invalidInput",
        ErrorKind::Config => "config",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::NotFound => "notFound",
        ErrorKind::Foreign => "foreign",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::ReadOnly => "readOnly",
        ErrorKind::Denied => "denied",
        ErrorKind::Full => "full",
        ErrorKind::Busy => "busy",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Closed => "closed",
        _ => "failed",
    }
}
