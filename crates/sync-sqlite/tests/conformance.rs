//! The suite on `sync-sqlite`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sync_conformance::{BoundaryHook, Database, Harness, Power, Work, WorkSink};
use sync_core::{Backend, Error, ErrorKind, Migrated, Result, Seq, SpaceName};
use sync_sqlite::rusqlite::{self, Connection};
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig};
use tempfile::TempDir;

#[derive(Default)]
struct SqliteHarness;

/// A database file, and the folder it goes with where this process has made it.
struct SqliteFile {
    path: PathBuf,
    _folder: Option<TempDir>,
}

impl SqliteFile {
    /// A file in a folder of its own, which does not exist yet.
    fn absent() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
        Ok(Self {
            path: folder.path().join("sync.db"),
            _folder: Some(folder),
        })
    }

    /// Most cases are about what a page leaves, not about a crash of the machine: without waiting
    /// for the disk they take a tenth of the time.
    fn config(&self) -> SqliteConfig {
        SqliteConfig::new(&self.path).durability(Durability::Process)
    }

    fn raw(&self) -> Result<Connection> {
        Connection::open(&self.path).map_err(|error| failed(&error))
    }

    /// The file and its log, under both names.
    fn parts(&self) -> [(PathBuf, PathBuf); 2] {
        ["", "-wal"].map(|suffix| {
            let path = self.path.display();
            (
                format!("{path}{suffix}").into(),
                format!("{path}.aside{suffix}").into(),
            )
        })
    }
}

impl Harness for SqliteHarness {
    type Backend = SqliteBackend;
    type Database = SqliteFile;

    fn powers(&self) -> &[Power] {
        &Power::ALL
    }

    fn fresh(&self) -> Result<SqliteFile> {
        let file = SqliteFile::absent()?;
        self.block_on(file.migrate())?;
        Ok(file)
    }

    fn attach(&self, locator: &str) -> Result<SqliteFile> {
        Ok(SqliteFile {
            path: locator.into(),
            _folder: None,
        })
    }

    fn empty(&self) -> Result<SqliteFile> {
        let file = SqliteFile::absent()?;
        fs::write(&file.path, []).map_err(|error| failed(&error))?;
        Ok(file)
    }

    fn from_the_future(&self) -> Result<SqliteFile> {
        let file = self.fresh()?;
        file.raw()?
            .pragma_update(None, "user_version", 1_000)
            .map_err(|error| failed(&error))?;
        Ok(file)
    }
}

impl Database for SqliteFile {
    type Backend = SqliteBackend;

    async fn connect(&self) -> Result<SqliteBackend> {
        SqliteBackend::connect(self.config()).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        SqliteBackend::migrate(&self.config()).await
    }

    fn locator(&self) -> Option<String> {
        self.path.to_str().map(str::to_owned)
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        let set = "UPDATE space SET head = ?2 WHERE name = ?1";
        let changed = self
            .raw()?
            .execute(set, rusqlite::params![space.as_str(), head.as_i64()]);
        assert_eq!(changed.unwrap(), 1, "the space exists");
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        self.parts()
            .iter()
            .try_for_each(|(from, to)| replace(from, to))
    }

    fn put_back(&self) -> Result<()> {
        self.parts()
            .iter()
            .try_for_each(|(to, from)| replace(from, to))
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<SqliteBackend> {
        SqliteBackend::connect(self.config().on_boundary(hook)).await
    }

    async fn connect_counting(&self, sink: WorkSink) -> Result<SqliteBackend> {
        // SQLite counts visited and written rows alike, as steps.
        let hook = move |statement: &str, steps| {
            sink(Work {
                statement: statement.to_owned(),
                read: steps,
                written: steps,
            });
        };
        SqliteBackend::connect(self.config().on_statement(Arc::new(hook))).await
    }

    /// A reader that keeps its snapshot, and with it the log from there on.
    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        let connection = self.raw()?;
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
            .map_err(|error| failed(&error))?;
        Ok(Box::new(connection))
    }
}

/// Copies a file over another one; an absent file is copied by removing the other.
fn replace(from: &Path, to: &Path) -> Result<()> {
    if from.exists() {
        fs::copy(from, to).map(drop).map_err(|error| failed(&error))
    } else if to.exists() {
        fs::remove_file(to).map_err(|error| failed(&error))
    } else {
        Ok(())
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    Error::new(ErrorKind::Failed).with_message(error.to_string())
}

sync_conformance::suite!(SqliteHarness);
