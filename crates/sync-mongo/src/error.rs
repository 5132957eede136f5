use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use mongodb::bson::Document;
use mongodb::error::{
    Error as DriverError, ErrorKind as DriverKind, Result as DriverResult,
    TRANSIENT_TRANSACTION_ERROR, WriteFailure,
};
use sync_core::{Error, ErrorKind, Result, Retry};
use tokio::time::timeout;

/// The server's codes for a document, or a key, that another transaction has just written.
const WRITE_CONFLICT: i32 = 112;
pub(crate) const DUPLICATE_KEY: i32 = 11_000;
/// A command that creates a collection that exists.
pub(crate) const NAMESPACE_EXISTS: i32 = 48;
/// A command on a collection that does not exist.
pub(crate) const NAMESPACE_NOT_FOUND: i32 = 26;
/// A snapshot that the server cannot give now, and one that it cannot give any more.
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

/// What a code of the server means for the caller, and whether a retry helps where the kind alone
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
        // The primary goes, has gone, or is not one yet; the snapshot is not available for now; there
        // are fewer members than a majority (100, UnsatisfiableWriteConcern).
        6 | 7 | 91 | 100 | 133 | 134 | 189 | 9001 | 10058 | 10107 | 11600 | 11602 | 13435
        | 13436 | SNAPSHOT_TOO_OLD | SNAPSHOT_UNAVAILABLE => ErrorKind::Unavailable,
        // An administrator ended the operation or the session.
        11601 | 46841 => return (ErrorKind::Failed, Some(Retry::Later)),
        // OutOfDiskSpace.
        14031 => ErrorKind::Full,
        // IllegalOperation (transactions on a standalone), ReadConcernMajorityNotEnabled.
        20 | 148 | 115 => ErrorKind::Unsupported,
        // TransactionTooLargeForCache.
        TOO_LARGE => return (ErrorKind::Full, Some(Retry::Never)),
        // A collection that was there at connect.
        NAMESPACE_NOT_FOUND => ErrorKind::Corrupt,
        // InvalidNamespace: the database's name.
        73 => ErrorKind::Config,
        _ => ErrorKind::Failed,
    };
    (kind, None)
}

/// An error of the driver.
pub(crate) fn failed(source: DriverError) -> Error {
    let (kind, retry) = classify(&source);
    with_retry(Error::new(kind).with_source(source), retry)
}

fn with_retry(error: Error, retry: Option<Retry>) -> Error {
    match retry {
        Some(retry) => error.with_retry(retry),
        None => error,
    }
}

/// A document that no version of this crate writes.
pub(crate) fn corrupt(source: Error) -> Error {
    Error::new(ErrorKind::Corrupt).with_source(source)
}

/// The driver's answer to a command, for which the caller waits at most `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    command: impl IntoFuture<Output = DriverResult<T>>,
) -> Result<T> {
    match timeout(limit, command).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(Error::new(ErrorKind::Timeout)),
    }
}

/// The driver's answer to a command that is run to its end, also where the caller gives up.
///
/// The driver wakes one waiting request for each event of its connection pool. A request that was
/// dropped uses up its turn and wakes no other, so that the ones behind it wait for the pool's
/// maintenance, one every half second.
pub(crate) async fn to_its_end<T: Send + 'static>(
    limit: Duration,
    command: impl Future<Output = DriverResult<T>> + Send + 'static,
) -> Result<T> {
    match timeout(limit, tokio::spawn(command)).await {
        Ok(Ok(answer)) => answer.map_err(failed),
        // It has panicked, or the runtime ends.
        Ok(Err(error)) => Err(Error::new(ErrorKind::Failed).with_source(error)),
        Err(_) => Err(Error::new(ErrorKind::Timeout)),
    }
}

/// The first write that a command's answer says was refused.
pub(crate) fn refusals(answer: &Document) -> Result<()> {
    let code = |refusal: &Document| refusal.get_i32("code").unwrap_or_default();
    if let Ok(errors) = answer.get_array("writeErrors") {
        let first = errors.first().and_then(|first| first.as_document());
        return Err(WriteRefused::error(first.map(code).unwrap_or_default()));
    }
    if let Ok(error) = answer.get_document("writeConcernError") {
        return Err(WriteRefused::error(code(error)));
    }
    Ok(())
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
        with_retry(Error::new(kind).with_source(Self { code }), retry)
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
        || is_conflict(error)
}

/// Whether another transaction holds, or has just written, what this one was to write.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(code(error), Some(WRITE_CONFLICT | DUPLICATE_KEY))
}

/// Whether a read may be tried again at once: its connection was lost or led to a server that is no
/// longer the primary, or its snapshot was not available.
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
            assert_eq!(*failed(source).kind(), kind);
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
