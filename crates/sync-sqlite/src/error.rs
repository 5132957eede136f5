use rusqlite::ErrorCode;
use sync_core::{Error, ErrorKind};

/// The one place where an error of SQLite becomes one of ours.
pub(crate) fn classify(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        // The last is what SQLite says after it has lost the race for the log's locks for seconds.
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => ErrorKind::Busy,
        Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            ErrorKind::Denied
        }
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(ErrorCode::CannotOpen) => ErrorKind::NotFound,
        Some(ErrorCode::NotADatabase) => ErrorKind::Foreign,
        Some(ErrorCode::DatabaseCorrupt) => ErrorKind::Corrupt,
        _ => match error {
            // A column of another type than the schema's, or a value no position can have.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => ErrorKind::Corrupt,
            _ => ErrorKind::Failed,
        },
    }
}

/// An error of SQLite.
pub(crate) fn failed(source: rusqlite::Error) -> Error {
    Error::new(classify(&source)).with_source(source)
}

/// A row that no version of this crate writes.
pub(crate) fn corrupt(source: Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Null, Box::new(source))
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;
    use sync_core::Retry;

    use super::*;

    #[test]
    fn every_result_code_has_a_kind_and_a_retryability() {
        let table = [
            (ffi::SQLITE_BUSY, ErrorKind::Busy, Retry::Later),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Busy, Retry::Later),
            (ffi::SQLITE_LOCKED, ErrorKind::Busy, Retry::Later),
            (ffi::SQLITE_PROTOCOL, ErrorKind::Busy, Retry::Later),
            (ffi::SQLITE_READONLY, ErrorKind::ReadOnly, Retry::Never),
            (
                ffi::SQLITE_READONLY_DBMOVED,
                ErrorKind::ReadOnly,
                Retry::Never,
            ),
            (ffi::SQLITE_PERM, ErrorKind::Denied, Retry::Never),
            (ffi::SQLITE_AUTH, ErrorKind::Denied, Retry::Never),
            (ffi::SQLITE_FULL, ErrorKind::Full, Retry::Later),
            (ffi::SQLITE_CANTOPEN, ErrorKind::NotFound, Retry::Never),
            (ffi::SQLITE_NOTADB, ErrorKind::Foreign, Retry::Never),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt, Retry::Never),
            (ffi::SQLITE_IOERR_WRITE, ErrorKind::Failed, Retry::Never),
            (
                ffi::SQLITE_CONSTRAINT_UNIQUE,
                ErrorKind::Failed,
                Retry::Never,
            ),
        ];
        for (code, kind, retry) in table {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = failed(source);
            assert_eq!(
                (error.kind(), error.retry()),
                (&kind, retry),
                "result code {code}"
            );
        }
        let odd = corrupt(Error::invalid("seq", "-1".into()));
        assert_eq!(classify(&odd), ErrorKind::Corrupt);
    }
}
