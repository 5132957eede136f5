use std::error::Error as StdError;
use std::io;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use sync_core::{Error, ErrorKind, Retry};
use tokio_postgres::error::SqlState;

use crate::NAME;

/// The one place where an error of the driver becomes one of ours.
pub(crate) fn classify(error: &tokio_postgres::Error) -> (ErrorKind, Retry) {
    if let Some(code) = error.code() {
        return of_code(code);
    }
    if let Some(io) = cause(error) {
        return of_io(io);
    }
    if error.is_closed() {
        return (ErrorKind::Unavailable, Retry::Later);
    }
    // The driver tells the rest apart by its text alone.
    let kind = match error.to_string().as_str() {
        // The server offers none, and the configuration insists.
        "error performing TLS handshake" | "authentication error" => ErrorKind::Denied,
        "invalid configuration" | "invalid connection string" => ErrorKind::Config,
        "timeout waiting for server" => ErrorKind::Timeout,
        text if text.starts_with("error deserializing column") => ErrorKind::Corrupt,
        _ => ErrorKind::Failed,
    };
    with_retry(kind)
}

fn of_code(code: &SqlState) -> (ErrorKind, Retry) {
    let kind = match code.code() {
        "40001" | "40P01" | "55P03" => ErrorKind::Busy,
        "57014" | "25P03" => ErrorKind::Timeout,
        "25006" => ErrorKind::ReadOnly,
        "28000" | "28P01" | "42501" => ErrorKind::Denied,
        "3D000" | "57P04" => ErrorKind::NotFound,
        "2200H" => ErrorKind::Exhausted,
        "53100" => ErrorKind::Full,
        // No memory, no connection, or shutting down, crashed, starting.
        "53000" | "53200" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" => {
            ErrorKind::Unavailable
        }
        // Damage, or tables that were there when the backend connected and are not now, or not as
        // they were.
        "XX001" | "XX002" | "3F000" | "42P01" | "42703" => ErrorKind::Corrupt,
        other if other.starts_with("08") => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    };
    with_retry(kind)
}

fn with_retry(kind: ErrorKind) -> (ErrorKind, Retry) {
    let retry = Error::new(kind.clone()).retry();
    (kind, retry)
}

fn of_io(io: &io::Error) -> (ErrorKind, Retry) {
    if let Some(inner) = io.get_ref()
        && inner.is::<rustls::Error>()
    {
        return (ErrorKind::Denied, Retry::Never);
    }
    if io.kind() == io::ErrorKind::TimedOut {
        return (ErrorKind::Timeout, Retry::Later);
    }
    // What the standard library says of a name that the resolver does not know, or not now.
    let said = io.to_string();
    if io.raw_os_error().is_none()
        && said.starts_with("failed to lookup address")
        && !said.contains("Temporary failure")
    {
        return (ErrorKind::NotFound, Retry::Never);
    }
    (ErrorKind::Unavailable, Retry::Later)
}

fn cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref() {
            return Some(io);
        }
        next = cause.source();
    }
    None
}

/// An error of the driver, as every error of this crate: with its kind, and whether a retry helps.
pub fn failed(source: tokio_postgres::Error) -> Error {
    let (kind, retry) = classify(&source);
    let mut error = Error::new(kind).with_retry(retry).of_backend(NAME);
    // What the server itself says; the driver's own text is just "db error".
    if let Some(answer) = source.as_db_error() {
        error = error.with_message(answer.message());
    }
    error.with_source(source)
}

/// An error of the pool.
pub(crate) fn no_connection(error: PoolError) -> Error {
    let of = |kind: ErrorKind, message: &str| Error::new(kind).with_message(message);
    match error {
        PoolError::Backend(source) | PoolError::PostCreateHook(HookError::Backend(source)) => {
            failed(source)
        }
        PoolError::Timeout(TimeoutType::Wait) => of(
            ErrorKind::Timeout,
            "every connection of the pool was in use for the whole time",
        ),
        PoolError::Timeout(_) => of(ErrorKind::Timeout, "making a connection took too long"),
        PoolError::Closed => of(ErrorKind::Closed, "the pool was closed"),
        other => of(ErrorKind::Failed, "the pool gave no connection").with_source(other),
    }
}

/// The database holds what no version of this crate writes.
pub(crate) fn corrupt(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Corrupt).with_source(source)
}

/// The code with which the server itself answered, if that was the cause.
pub(crate) fn server_code(error: &Error) -> Option<&SqlState> {
    let source = error.source()?.downcast_ref::<tokio_postgres::Error>()?;
    source.code()
}

/// Whether nothing was written and the same may succeed in a moment.
pub(crate) fn passes(error: &Error) -> bool {
    error.retry() == Retry::Later
        && matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unavailable)
}

#[cfg(test)]
mod tests;
