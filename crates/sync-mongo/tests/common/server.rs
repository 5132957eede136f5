//! The server that tests use, and databases of their own on it.

#![allow(dead_code, reason = "every test target uses a part of it")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::env;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use sync_core::{Error, ErrorKind, Result};
use sync_mongo::{MongoConfig, mongodb};
use tokio::runtime::Runtime;

const VARIABLE: &str = "SYNC_TEST_MONGO_URL";

/// The tests' own access to the server.
pub(crate) struct Server {
    url: String,
    runtime: Runtime,
    client: Client,
}

impl Server {
    /// The server that `SYNC_TEST_MONGO_URL` names.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let url = env::var(VARIABLE).unwrap_or_else(|_| {
                panic!(
                    "{VARIABLE} names no server. `cargo xtask services up mongo` starts one, and \
                     `eval \"$(cargo xtask services env)\"` says where it is; `cargo xtask \
                     conformance mongo` does both"
                )
            });
            Self::new(url)
        })
    }

    pub(crate) fn new(url: String) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let client = runtime
            .block_on(Client::with_uri_str(&url))
            .expect("the URL of the server");
        Self {
            url,
            runtime,
            client,
        }
    }

    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a command of an administrator.
    pub(crate) fn admin(&self, command: Document) -> Result<Document> {
        let admin = self.client.database("admin");
        self.wait(async { admin.run_command(command).await })
            .map_err(by_test)
    }

    /// The URL of a database, with more options.
    pub(crate) fn url(&self, database: &str, options: &str) -> String {
        let (base, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let base = base.trim_end_matches('/');
        format!("{base}/{database}?{query}{options}")
    }
}

/// A database, which goes with the value unless another process owns it.
pub(crate) struct TestDatabase {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
    owned: bool,
}

impl TestDatabase {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        Self {
            server: Server::shared(),
            name: format!(
                "sync_test_{}_{count}_{:08x}",
                std::process::id(),
                fastrand::u32(..)
            ),
            owned: true,
        }
    }

    pub(crate) fn attach(name: &str) -> Self {
        Self {
            server: Server::shared(),
            name: name.to_owned(),
            owned: false,
        }
    }

    pub(crate) fn config(&self) -> MongoConfig {
        // The suite has more writers at once than a program would, on a machine that is busy.
        MongoConfig::new(self.server.url(&self.name, ""))
            .busy_timeout(std::time::Duration::from_mins(2))
            .timeout(std::time::Duration::from_mins(2))
    }

    pub(crate) fn driver(&self) -> Database {
        self.server.client.database(&self.name)
    }

    pub(crate) fn run(&self, command: Document) -> Result<Document> {
        let database = self.driver();
        self.server
            .wait(async { database.run_command(command).await })
            .map_err(by_test)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.owned {
            // A test that fails because of the server has said so.
            let _ = self.run(doc! { "dropDatabase": 1 });
        }
    }
}

pub(crate) fn by_test(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed)
        .with_message("in the test's own access to the server")
        .with_source(error)
}
