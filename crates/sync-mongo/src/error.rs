use std::error::Error as StdError;
use std::fmt;

use mongodb::error::{
    Error as DriverError, ErrorKind as DriverKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure,
};
use sync_core::{Error, ErrorKind, Retry};

use crate::NAME;

/// The server's codes for a document, or a key, that another transaction has just written.
const WRITE_CONFLICT: i32 = 112;
pub(crate) const DUPLICATE_KEY: i32 = 11_000;
/// What is there already, to a command that creates it.
pub(crate) const NAMESPACE_EXISTS: i32 = 48;
/// A snapshot that a server cannot give now, or no longer.
const SNAPSHOT_UNAVAILABLE: i32 = 246;
const SNAPSHOT_TOO_OLD: i32 = 239;
/// A transaction that the server's cache cannot hold.
pub(crate) const TOO_LARGE: i32 = 388;

/// The one place where an error of the driver becomes one of ours.
pub(crate) fn classify(error: &DriverError) -> (ErrorKind, Option<Retry>) {
    let kind = match &*error.kind {
        DriverKind::Authentication { .. } => ErrorKind::Denied,
        DriverKind::Io(io) if io.kind() == std::io::ErrorKind::TimedOut => ErrorKind::Timeout,
        DriverKind::Io(_)
        | DriverKind::ServerSelection { .. }
        | DriverKind::DnsResolve { .. }
        | DriverKind::ConnectionPoolCleared { .. } => ErrorKind::Unavailable,
        DriverKind::InvalidArgument { .. } | DriverKind::InvalidTlsConfig { .. } => {
            ErrorKind::Config
        }
        DriverKind::IncompatibleServer { .. } | DriverKind::SessionsNotSupported => {
            ErrorKind::Unsupported
        }
        DriverKind::InvalidResponse { .. } | DriverKind::Bson(_) => ErrorKind::Corrupt,
        DriverKind::Shutdown => ErrorKind::Closed,
        DriverKind::Command(command) => return of_code(command.code),
        DriverKind::Write(WriteFailure::WriteConcernError(error)) => return of_code(error.code),
        DriverKind::Write(WriteFailure::WriteError(error)) => return of_code(error.code),
        _ => ErrorKind::Failed,
    };
    (kind, None)
}

/// What a code of the server means for whoever asks, and whether a retry helps where the kind alone
/// does not tell.
fn of_code(code: i32) -> (ErrorKind, Option<Retry>) {
    let kind = match code {
        // Unauthorized, AuthenticationFailed.
        13 | 18 => ErrorKind::Denied,
        // LockTimeout, WriteConflict, NoSuchTransaction: the server gave it up for another.
        24 | WRITE_CONFLICT | DUPLICATE_KEY | 251 => ErrorKind::Busy,
        // ExceededTimeLimit, MaxTimeMSExpired, WriteConcernTimeout, NetworkTimeout,
        // TransactionExceededLifetimeLimitSeconds.
        50 | 64 | 89 | 202 | 262 | 290 => ErrorKind::Timeout,
        // The primary goes, has gone, or is not one yet; a snapshot is not to be had for now; there
        // are fewer members than a majority (100, UnsatisfiableWriteConcern).
        6 | 7 | 91 | 100 | 133 | 134 | 189 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435
        | 13436 | SNAPSHOT_TOO_OLD | SNAPSHOT_UNAVAILABLE => ErrorKind::Unavailable,
        // Interrupted by somebody who ends operations or sessions.
        11601 | 46841 => return (ErrorKind::Failed, Some(Retry::Later)),
        // OutOfDiskSpace.
        14031 => ErrorKind::Full,
        // IllegalOperation (transactions on a standalone), ReadConcernMajorityNotEnabled.
        20 | 148 | 115 => ErrorKind::Unsupported,
        // TransactionTooLargeForCache.
        TOO_LARGE => return (ErrorKind::Full, Some(Retry::Never)),
        // NamespaceNotFound: a collection that was there at connect.
        26 => ErrorKind::Corrupt,
        // InvalidNamespace: the database's name.
        73 => ErrorKind::Config,
        _ => ErrorKind::Failed,
    };
    (kind, None)
}

/// An error of the driver during `operation`.
pub(crate) fn failed(operation: &'static str) -> impl Fn(DriverError) -> Error {
    move |source| {
        let (kind, retry) = classify(&source);
        let error = Error::new(kind)
            .with_source(source)
            .of_backend(NAME)
            .during(operation);
        match retry {
            Some(retry) => error.with_retry(retry),
            None => error,
        }
    }
}

/// An error of our own during `operation`.
pub(crate) fn named(operation: &'static str) -> impl Fn(Error) -> Error {
    move |error| error.of_backend(NAME).during(operation)
}

/// A document that no version of this crate writes.
pub(crate) fn corrupt(source: Error) -> Error {
    Error::new(ErrorKind::Corrupt)
        .with_source(source)
        .of_backend(NAME)
}

/// A command that took longer than the configuration allows.
pub(crate) fn timed_out(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout)
        .of_backend(NAME)
        .during(operation)
}

/// A write that the server refused within a command that went well. The server's message is left
/// out: it repeats what was to be written.
#[derive(Debug)]
pub(crate) struct WriteRefused {
    code: i32,
}

impl WriteRefused {
    pub(crate) fn error(code: i32) -> Error {
        let (kind, retry) = of_code(code);
        let error = Error::new(kind).with_source(Self { code }).of_backend(NAME);
        match retry {
            Some(retry) => error.with_retry(retry),
            None => error,
        }
    }
}

impl fmt::Display for WriteRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused a write with code {}", self.code)
    }
}

impl StdError for WriteRefused {}

/// Whether the transaction of this error was given up by the server, or lost with its connection, and
/// may be tried again whole.
pub(crate) fn is_transient(error: &Error) -> bool {
    driver(error).is_some_and(|error| error.contains_label(TRANSIENT_TRANSACTION_ERROR))
        || matches!(code(error), Some(WRITE_CONFLICT | DUPLICATE_KEY))
}

/// Whether another transaction holds, or has just written, what this one was to write.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(code(error), Some(WRITE_CONFLICT | DUPLICATE_KEY))
}

/// Whether a read may be tried again at once: its connection was lost or led to a server that is no
/// longer the primary, or its snapshot was not to be had.
pub(crate) fn is_retryable_read(error: &Error) -> bool {
    let Some(driver) = driver(error) else {
        return false;
    };
    match &*driver.kind {
        DriverKind::Io(_) | DriverKind::ConnectionPoolCleared { .. } => true,
        DriverKind::Command(command) => {
            // CursorNotFound: the server that had it was started anew.
            command.code == 43 || of_code(command.code).0 == ErrorKind::Unavailable
        }
        _ => false,
    }
}

/// The code of the server, where the error is one of its own.
pub(crate) fn code(error: &Error) -> Option<i32> {
    if let Some(refused) = error.source()?.downcast_ref::<WriteRefused>() {
        return Some(refused.code);
    }
    match &*driver(error)?.kind {
        DriverKind::Command(command) => Some(command.code),
        _ => None,
    }
}

fn driver(error: &Error) -> Option<&DriverError> {
    error.source()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_server_has_a_kind_and_a_retryability() {
        let table = [
            (13, ErrorKind::Denied, Retry::Never),
            (18, ErrorKind::Denied, Retry::Never),
            (WRITE_CONFLICT, ErrorKind::Busy, Retry::Later),
            (DUPLICATE_KEY, ErrorKind::Busy, Retry::Later),
            (251, ErrorKind::Busy, Retry::Later),
            (50, ErrorKind::Timeout, Retry::Later),
            (64, ErrorKind::Timeout, Retry::Later),
            (290, ErrorKind::Timeout, Retry::Later),
            (91, ErrorKind::Unavailable, Retry::Later),
            (189, ErrorKind::Unavailable, Retry::Later),
            (10107, ErrorKind::Unavailable, Retry::Later),
            (SNAPSHOT_UNAVAILABLE, ErrorKind::Unavailable, Retry::Later),
            (11601, ErrorKind::Failed, Retry::Later),
            (14031, ErrorKind::Full, Retry::Later),
            (TOO_LARGE, ErrorKind::Full, Retry::Never),
            (20, ErrorKind::Unsupported, Retry::Never),
            (26, ErrorKind::Corrupt, Retry::Never),
            (10334, ErrorKind::Failed, Retry::Never),
        ];
        for (number, kind, retry) in table {
            let error = WriteRefused::error(number);
            assert_eq!(
                (error.kind(), error.retry(), code(&error)),
                (&kind, retry, Some(number)),
                "code {number}"
            );
            assert_eq!(error.backend(), Some("mongo"));
        }
    }

    #[test]
    fn errors_of_the_driver_have_a_kind() {
        let io = |kind: std::io::ErrorKind| DriverError::from(std::io::Error::from(kind));
        let table = [
            (io(std::io::ErrorKind::TimedOut), ErrorKind::Timeout),
            (
                io(std::io::ErrorKind::ConnectionReset),
                ErrorKind::Unavailable,
            ),
            (DriverError::custom("of a test"), ErrorKind::Failed),
        ];
        for (source, kind) in table {
            let error = failed("apply")(source);
            assert_eq!(*error.kind(), kind);
            assert_eq!(
                (error.backend(), error.operation()),
                (Some("mongo"), Some("apply"))
            );
        }
    }

    #[test]
    fn conflicts_are_tried_again_and_other_refusals_are_not() {
        assert!(is_transient(&WriteRefused::error(DUPLICATE_KEY)));
        assert!(is_conflict(&WriteRefused::error(WRITE_CONFLICT)));
        assert!(!is_transient(&WriteRefused::error(10334)));
        assert!(!is_transient(&Error::new(ErrorKind::Busy)));
    }
}
