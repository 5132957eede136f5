use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::Pool;
use sync_core::{Error, ErrorKind, Result};
use sync_kit::fault::Faults;
use tokio_postgres::config::{Host, SslMode};

/// How to reach a database, and which schema of it is ours.
///
/// ```
/// use sync_postgres::{PostgresConfig, Tls, tokio_postgres};
///
/// let mut server = tokio_postgres::Config::new();
/// server.host("db.example").user("sync").password("…").dbname("sync");
/// let config = PostgresConfig::new(server).tls(Tls::VerifyFull).pool_size(16);
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresConfig {
    pub(crate) server: Server,
    pub(crate) schema: String,
    pub(crate) pool_size: usize,
    pub(crate) pooler: Pooler,
    pub(crate) tls: Tls,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) pool_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) retry_timeout: Duration,
    pub(crate) faults: Faults,
}

/// Where connections come from.
#[derive(Clone)]
pub(crate) enum Server {
    /// A pool that the backend makes.
    Own(Box<tokio_postgres::Config>),
    /// A pool that the program has already.
    Adopted(Pool),
}

/// The pooler between this program and the server, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooler {
    /// None, or one that keeps a session of the server for each connection.
    Session,
    /// A pooler that may give every transaction another session, such as `PgBouncer` with
    /// `pool_mode = transaction`. Statements are not prepared, settings last for one transaction,
    /// and [`changed`](sync_core::SyncStore::changed) polls.
    Transaction,
}

/// Whether connections are encrypted, and what the server has to prove. The words are libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server offers it; its certificate is not checked. Protects against
    /// eavesdropping, and not against an attacker who can change the traffic.
    Prefer,
    /// Encrypted, or no connection; the certificate is not checked.
    Require,
    /// Encrypted, and the certificate is valid, trusted, and for the host's name.
    VerifyFull,
}

impl PostgresConfig {
    /// The server and database that `server` names, with the defaults of the methods below.
    ///
    /// Of `server`, the mode of TLS and the timeout for connecting are replaced by this
    /// configuration's own.
    pub fn new(server: tokio_postgres::Config) -> Self {
        Self::of(Server::Own(Box::new(server)))
    }

    /// Connections of a pool that the program has already.
    ///
    /// Settings are then made for each transaction, and [`changed`](sync_core::SyncStore::changed)
    /// polls, because a pool's connection cannot listen. What this configuration says about the
    /// pool's size, TLS and the time for connecting has no effect. A connection that the pool opens
    /// while the backend asks for one ends with the backend.
    pub fn from_pool(pool: Pool) -> Self {
        Self::of(Server::Adopted(pool))
    }

    fn of(server: Server) -> Self {
        Self {
            server,
            schema: "sync".to_owned(),
            pool_size: 8,
            pooler: Pooler::Session,
            tls: Tls::Prefer,
            root_certificates: None,
            connect_timeout: Duration::from_secs(5),
            pool_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_mins(1),
            lock_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(5),
            faults: Faults::default(),
        }
    }

    /// The schema that holds the tables: one for each installation. Default: `sync`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// The name of the schema that holds the tables.
    pub fn schema_name(&self) -> &str {
        &self.schema
    }

    /// The most connections. Half of them, at least one, are never taken by pages. Default: 8;
    /// 0 means 1.
    pub fn pool_size(mut self, pool_size: usize) -> Self {
        self.pool_size = pool_size.max(1);
        self
    }

    /// The pooler between this program and the server. Default: [`Pooler::Session`].
    pub fn pooler(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// Whether connections are encrypted. Default: [`Tls::Prefer`].
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The file with the certificates, in PEM, of the authorities that [`Tls::VerifyFull`] trusts.
    /// Default: those that Mozilla trusts.
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(file.into());
        self
    }

    /// How long making a connection may take. Default: 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a call waits for a connection of the pool before it fails with
    /// [`Timeout`](sync_core::ErrorKind::Timeout). Default: 30 seconds.
    pub fn pool_timeout(mut self, timeout: Duration) -> Self {
        self.pool_timeout = timeout;
        self
    }

    /// How long the server may work on one statement before the call fails with
    /// [`Timeout`](sync_core::ErrorKind::Timeout). Default: one minute; zero means no limit.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long a page waits for a writer of another process before it fails with
    /// [`Busy`](sync_core::ErrorKind::Busy). Default: 30 seconds; zero means no limit.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// How long a call is tried again after a failure that passes, such as a restart of the server.
    /// Default: 5 seconds; zero means that it is tried once.
    pub fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// What tests ask for. The boundaries of a page are before each statement that looks up or
    /// writes, before the commit (`commit`), and between the commit and the answer (`committed`).
    /// The units of counted work are entries of indexes and rows of tables that were read, and rows
    /// that were written. Ways to write are `blind`, without a look-up, and `planned`.
    #[cfg(feature = "fault-injection")]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The server's configuration as the driver takes it; `None` for an adopted pool.
    pub(crate) fn driver(&self) -> Option<tokio_postgres::Config> {
        let Server::Own(server) = &self.server else {
            return None;
        };
        let mut server = (**server).clone();
        server.ssl_mode(match self.tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyFull => SslMode::Require,
        });
        server.connect_timeout(self.connect_timeout);
        // Without a timeout the driver would wait for ever for a server whose machine has gone.
        if server.get_tcp_user_timeout().is_none() {
            server.tcp_user_timeout(Duration::from_secs(30));
        }
        server.keepalives_idle(Duration::from_secs(30).min(server.get_keepalives_idle()));
        if server.get_application_name().is_none() {
            server.application_name("sync-store");
        }
        Some(server)
    }

    /// Refuses settings that contradict each other, and names that no server accepts.
    pub(crate) fn validate(&self) -> Result<()> {
        let refused = |message: &str| Err(Error::new(ErrorKind::Config).with_message(message));
        // A longer name would be cut by the server, and two installations could become one.
        if self.schema.is_empty() || self.schema.len() > 63 || self.schema.contains('\0') {
            return refused("the name of a schema is 1..=63 bytes without NUL");
        }
        if self.schema.starts_with("pg_") {
            return refused("schemas that begin with pg_ are the server's own");
        }
        if self.root_certificates.is_some() && self.tls != Tls::VerifyFull {
            return refused("root certificates are only used with verify-full");
        }
        Ok(())
    }

    /// Whether a session is ours for longer than a transaction, with the settings we made for it.
    pub(crate) fn has_sessions(&self) -> bool {
        matches!(self.server, Server::Own(_)) && self.pooler == Pooler::Session
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PostgresConfig");
        match &self.server {
            Server::Own(server) => {
                let hosts: Vec<_> = server.get_hosts().iter().map(host).collect();
                shown
                    .field("hosts", &hosts)
                    .field("ports", &server.get_ports())
                    .field("database", &server.get_dbname())
                    .field("user", &server.get_user());
            }
            Server::Adopted(pool) => {
                shown.field("adopted_pool", &pool.status());
            }
        }
        shown
            .field("schema", &self.schema)
            .field("pool_size", &self.pool_size)
            .field("pooler", &self.pooler)
            .field("tls", &self.tls)
            .field("root_certificates", &self.root_certificates)
            .field("connect_timeout", &self.connect_timeout)
            .field("pool_timeout", &self.pool_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("retry_timeout", &self.retry_timeout)
            .finish_non_exhaustive()
    }
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests;
