//! The server that the tests may fill, and what they do to it behind the backend's back.

use std::env;

use sync_core::{Error, ErrorKind, Result};
use sync_postgres::tokio_postgres::{Client, Config, NoTls, Row};
use sync_postgres::{Pooler, PostgresConfig, Tls};
use tokio::runtime::{Builder, Runtime};

const URL: &str = "SYNC_TEST_POSTGRES_URL";

/// The server that the environment names, as a configuration of the driver and the pooler before
/// it.
pub(crate) fn server() -> (Config, Pooler) {
    let Ok(url) = env::var(URL) else {
        panic!(
            "{URL} is not set: `cargo xtask services up postgres` starts a server and \
             `eval \"$(cargo xtask services env)\"` sets it"
        );
    };
    let (address, pooler) = match url.split_once('?') {
        Some((address, "pooler=transaction")) => (address, Pooler::Transaction),
        Some((_, options)) => panic!("{URL} may have the option pooler=transaction, not {options}"),
        None => (&*url, Pooler::Session),
    };
    let Ok(config) = address.parse() else {
        panic!("{URL} is not the URL of a PostgreSQL server");
    };
    (config, pooler)
}

/// A configuration for `schema` on that server.
pub(crate) fn config(schema: &str) -> PostgresConfig {
    let (server, pooler) = server();
    PostgresConfig::new(server)
        .pooler(pooler)
        .tls(Tls::Disable)
        .schema(schema)
}

/// A name that no other test has.
pub(crate) fn unique() -> String {
    format!("test_{:016x}", fastrand::u64(..))
}

/// A connection of the test's own, outside the backend.
pub(crate) struct Direct {
    runtime: Runtime,
    client: Client,
}

impl Direct {
    pub(crate) fn open() -> Result<Self> {
        Self::open_on(&server().0)
    }

    pub(crate) fn open_on(server: &Config) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(by_test)?;
        let (client, connection) = runtime.block_on(server.connect(NoTls)).map_err(by_test)?;
        runtime.spawn(connection);
        Ok(Self { runtime, client })
    }

    pub(crate) fn run(&self, text: &str) -> Result<()> {
        let ran = self.runtime.block_on(self.client.batch_execute(text));
        ran.map_err(by_test)
    }

    pub(crate) fn rows(&self, text: &str) -> Result<Vec<Row>> {
        let rows = self.runtime.block_on(self.client.query_typed(text, &[]));
        rows.map_err(by_test)
    }
}

pub(crate) fn by_test(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed)
        .with_message("in the test's own access to the database")
        .with_source(error)
}
