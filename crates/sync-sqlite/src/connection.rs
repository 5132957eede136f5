use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sync_core::schema::Contents;
use sync_core::{Durability, Error, ErrorKind};

use crate::config::SqliteConfig;

/// `SYNC` in the file's header: this file is ours.
pub(crate) const APPLICATION_ID: i64 = 0x5359_4e43;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
    Migrator,
}

/// Opens a connection to the configured file. Only a migrator creates it.
pub(crate) fn open(config: &SqliteConfig, role: Role) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= if config.read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE
    };
    if role == Role::Migrator {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    // Absolute, because SQLite takes some relative names for something else: `:memory:`, ``.
    let path = std::path::absolute(&config.path).unwrap_or_else(|_| config.path.clone());
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(backoff(config.busy_timeout)))?;
    connection.set_prepared_statement_cache_capacity(64);
    if role != Role::Migrator {
        let synchronous = match config.durability {
            Durability::Machine => "FULL",
            Durability::Process | Durability::Memory => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        // Rare, large checkpoints: a page of the file is then written once for many transactions.
        connection.pragma_update(None, "wal_autocheckpoint", 10_000)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let part = if role == Role::Writer { 1 } else { 4 };
        let cache_kib = i64::try_from(config.cache_kib.div_ceil(part)).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -cache_kib)?;
    }
    if role == Role::Reader {
        connection.pragma_update(None, "query_only", true)?;
    }
    #[cfg(feature = "fault-injection")]
    if let Some(work) = &config.work {
        crate::fault::count(work, &mut connection)?;
    }
    Ok(connection)
}

/// Waits for a lock in short random pauses up to `timeout`. SQLite does not queue for the lock: equal
/// pauses would let some processes starve.
fn backoff(timeout: Duration) -> impl FnMut(i32) -> bool {
    let mut since = Instant::now();
    move |attempt| {
        if attempt == 0 {
            since = Instant::now();
        }
        let left = timeout.saturating_sub(since.elapsed());
        if left.is_zero() {
            return false;
        }
        let most = 1_000_u64 << attempt.clamp(0, 4);
        let pause = Duration::from_micros(fastrand::u64(100..=most));
        std::thread::sleep(pause.min(left));
        true
    }
}

/// What the file holds, from its header and its list of tables. Writes nothing.
pub(crate) fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    // The tables first: a migration that commits between two of these looks has set the header
    // together with them, and must not pass for another program's file.
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(if application == APPLICATION_ID {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Contents::Ours { version }
    } else if application == 0 && objects == 0 {
        Contents::Empty
    } else {
        Contents::Foreign
    })
}

/// Says what a file is that is not ours.
pub(crate) fn name_foreign(error: Error) -> Error {
    if *error.kind() != ErrorKind::Foreign {
        return error;
    }
    error.with_message("the file is another program's SQLite database")
}

/// Whether this user may read the file, and write to its directory.
///
/// Asked without opening it: closing a file gives up every POSIX lock that the process holds on it,
/// those of its other connections to the database among them.
#[cfg(unix)]
fn access(path: &Path) -> (bool, bool) {
    use rustix::fs::{Access, access};

    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(&path);
    (
        access(&path, Access::READ_OK).is_ok(),
        access(directory, Access::WRITE_OK).is_ok(),
    )
}

#[cfg(not(unix))]
fn access(path: &Path) -> (bool, bool) {
    (fs::File::open(path).is_ok(), false)
}

/// Says more of an error where SQLite said no more than that it could not open a file.
pub(crate) fn explain(config: &SqliteConfig, error: Error) -> Error {
    if *error.kind() != ErrorKind::NotFound {
        return error;
    }
    let path = config.path();
    let Ok(found) = fs::metadata(path) else {
        return error.with_message(path.display().to_string());
    };
    let (readable, directory_writable) = access(path);
    let (kind, message) = if found.is_dir() {
        (ErrorKind::Foreign, "is a directory")
    } else if !readable {
        (ErrorKind::Denied, "may not be read by this user")
    } else if !directory_writable {
        // The log needs two files beside the database, also for reading.
        (
            ErrorKind::ReadOnly,
            "cannot be opened, because its directory cannot be written to",
        )
    } else {
        (
            ErrorKind::Unavailable,
            "cannot be opened, nor the files of its log; the process may have too many files open",
        )
    };
    Error::new(kind)
        .with_message(format!("{} {message}", path.display()))
        .with_source(error)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use pollster::block_on;
    use sync_core::Backend;

    use super::*;
    use crate::SqliteBackend;

    /// The locks that processes hold on the file.
    fn locks(config: &SqliteConfig) -> usize {
        let inode = format!(":{} ", fs::metadata(config.path()).unwrap().ino());
        let all = fs::read_to_string("/proc/locks").unwrap();
        all.lines().filter(|line| line.contains(&inode)).count()
    }

    #[test]
    fn explaining_an_error_leaves_the_locks_of_the_other_connections_alone() {
        let dir = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(dir.path().join("a.db"));
        let _ = block_on(SqliteBackend::migrate(&config)).unwrap();
        let connection = open(&config, Role::Reader).unwrap();
        contents(&connection).unwrap();
        assert!(locks(&config) > 0, "an open connection holds a lock");

        let error = explain(&config, Error::new(ErrorKind::NotFound));
        assert!(locks(&config) > 0, "{error}");
    }
}
