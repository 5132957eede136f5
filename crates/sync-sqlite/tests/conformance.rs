//! The conformance suite, once for each durability.
#![cfg(feature = "fault-injection")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use sync_conformance::{BoundaryHook, Database, Harness, Power, Work, WorkMeter};
use sync_core::{Backend, Error, ErrorKind, Migrated, Result, Seq, SpaceName};
use sync_sqlite::rusqlite::{self, Connection, params};
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig, fault};
use tempfile::TempDir;

/// A file, in a directory of its own unless another process owns it.
struct File {
    path: PathBuf,
    durability: Durability,
    _directory: Option<TempDir>,
}

impl File {
    fn new(durability: Durability) -> Result<Self> {
        let directory = TempDir::new().map_err(by_test)?;
        Ok(Self {
            path: directory.path().join("sync.db"),
            durability,
            _directory: Some(directory),
        })
    }

    fn config(&self) -> SqliteConfig {
        // The suite has more writers at once than a program would, on a machine that is busy.
        SqliteConfig::new(&self.path)
            .durability(self.durability)
            .busy_timeout(std::time::Duration::from_mins(1))
    }

    fn open(&self) -> Result<Connection> {
        Connection::open(&self.path).map_err(by_test)
    }

    /// Names the file and what SQLite keeps beside it.
    fn parts(path: &Path) -> [PathBuf; 2] {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        [path.to_owned(), log.into()]
    }

    fn aside(&self) -> PathBuf {
        self.path.with_extension("aside")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for (from, to) in File::parts(from).into_iter().zip(File::parts(to)) {
        let _ = fs::remove_file(&to);
        match fs::copy(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(by_test(error)),
            _ => {}
        }
    }
    Ok(())
}

fn by_test(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed)
        .with_message("in the test's own access to the file")
        .with_source(error)
}

impl Database for File {
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
        let changed = self.open()?.execute(
            "UPDATE space SET head = ?1 WHERE name = ?2",
            params![head.as_i64(), space.as_str()],
        );
        assert_eq!(changed.map_err(by_test)?, 1, "the space exists");
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        copy(&self.path, &self.aside())
    }

    fn put_back(&self) -> Result<()> {
        copy(&self.aside(), &self.path)
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<SqliteBackend> {
        SqliteBackend::connect(self.config().on_boundary(hook)).await
    }

    async fn connect_counting(&self) -> Result<(SqliteBackend, WorkMeter)> {
        let work = fault::Work::default();
        let backend = SqliteBackend::connect(self.config().count_work(work.clone())).await?;
        let meter: WorkMeter = Arc::new(move || {
            let costs = work.take().into_iter();
            costs
                .map(|(statement, cost)| Work {
                    statement,
                    rows: cost.units,
                })
                .collect()
        });
        Ok((backend, meter))
    }

    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        let connection = self.open()?;
        // A read transaction begins with its first read, and pins the log from there.
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
            .map_err(by_test)?;
        Ok(Box::new(connection))
    }
}

/// A version no release has.
fn raise_version(file: &File) -> rusqlite::Result<()> {
    let connection = Connection::open(&file.path)?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    connection.pragma_update(None, "user_version", version + 1)?;
    connection.execute_batch("CREATE TABLE of_the_future (wonder TEXT) STRICT")
}

const POWERS: [Power; 8] = Power::ALL;

macro_rules! harness {
    ($name:ident, $column:literal, $durability:expr) => {
        #[derive(Default)]
        struct $name;

        impl Harness for $name {
            type Backend = SqliteBackend;
            type Database = File;

            fn name(&self) -> &str {
                $column
            }

            fn powers(&self) -> &[Power] {
                &POWERS
            }

            fn fresh(&self) -> Result<File> {
                let file = self.empty()?;
                self.block_on(file.migrate())?;
                Ok(file)
            }

            fn attach(&self, locator: &str) -> Result<File> {
                Ok(File {
                    path: locator.into(),
                    durability: $durability,
                    _directory: None,
                })
            }

            fn empty(&self) -> Result<File> {
                let file = File::new($durability)?;
                // A file that exists and has nothing in it, as a new database has.
                file.open()?;
                Ok(file)
            }

            fn newer(&self) -> Result<File> {
                let file = self.fresh()?;
                raise_version(&file).map_err(by_test)?;
                Ok(file)
            }
        }
    };
}

harness!(Full, "sqlite", Durability::Machine);
harness!(Normal, "sqlite-normal", Durability::Process);

sync_conformance::suite! { full: Full, normal: Normal }
