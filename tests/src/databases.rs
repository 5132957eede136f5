//! A database of every backend, for tests that compare them.
#![expect(
    clippy::expect_used,
    reason = "a test that has no database ends in a panic"
)]

use std::env;

use pollster::block_on;
use sync_store::{AnyBackend, Error, SpaceName};
use tempfile::TempDir;

/// What the tests call the schema, the prefix or the database that is theirs on a server.
const OURS: &str = "sync_tests";

/// A space of its own, in a database of one of the backends. It goes with the value.
#[derive(Debug)]
pub struct Database {
    name: &'static str,
    url: String,
    space: SpaceName,
    /// Held for the file in it.
    directory: Option<TempDir>,
}

impl Database {
    /// One of every backend, with spaces of one name.
    ///
    /// # Panics
    ///
    /// Where no server is named for a backend that needs one.
    #[must_use]
    pub fn of_every_backend() -> Vec<Self> {
        let mut databases = Self::of_every_process();
        let space = databases
            .first()
            .map_or_else(space, |database| database.space.clone());
        let memory = Self {
            name: "memory",
            url: "memory:".to_owned(),
            space,
            directory: None,
        };
        databases.insert(0, memory);
        databases
    }

    /// One of every backend that several processes can open.
    ///
    /// # Panics
    ///
    /// Where no server is named for a backend that needs one.
    #[must_use]
    pub fn of_every_process() -> Vec<Self> {
        let space = space();
        let directory = TempDir::new().expect("a directory for SQLite's file");
        let sqlite = format!("sqlite:{}", directory.path().join("sync.db").display());
        let server = |name, url| Self {
            name,
            url,
            space: space.clone(),
            directory: None,
        };
        let mut databases = vec![
            server("sqlite", sqlite),
            server(
                "postgres",
                with_option(&named("SYNC_TEST_POSTGRES_URL"), "schema", OURS),
            ),
            server(
                "redis",
                with_option(&named("SYNC_TEST_REDIS_URL"), "prefix", OURS),
            ),
            server("mongo", with_database(&named("SYNC_TEST_MONGO_URL"))),
        ];
        for database in &mut databases {
            block_on(sync_store::migrate(&database.url)).expect(database.name);
        }
        if let Some(sqlite) = databases.first_mut() {
            sqlite.directory = Some(directory);
        }
        databases
    }

    /// The backend's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The database's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> &SpaceName {
        &self.space
    }

    /// A connection.
    ///
    /// # Panics
    ///
    /// Where the database does not answer.
    #[must_use]
    pub fn connect(&self) -> AnyBackend {
        block_on(sync_store::connect(&self.url)).expect(self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A test that fails says more than a database that does not answer any more.
        let _: Result<(), Error> = block_on(async {
            let backend = sync_store::connect(&self.url).await?;
            backend.drop_space(&self.space).await?;
            while backend.sweep(100_000).await?.more {}
            Ok(())
        });
    }
}

fn space() -> SpaceName {
    let number = fastrand::u64(..);
    SpaceName::new(&format!("test-{number:016x}")).expect("letters and digits")
}

pub(crate) fn named(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} names no server: `cargo xtask test` starts one, or \
             `eval \"$(cargo xtask services env)\"` after `cargo xtask services up`"
        )
    })
}

pub(crate) fn with_option(url: &str, option: &str, value: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{option}={value}")
}

/// The same server, with a database of ours.
fn with_database(url: &str) -> String {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").expect("mongodb://…");
    let servers = rest.split('/').next().unwrap_or_default();
    format!("{scheme}://{servers}/{OURS}?{options}")
}
