use std::fmt;
use std::time::Duration;

use mongodb::Client;
use sync_core::{Error, ErrorKind, Result};
use sync_kit::fault::Faults;

/// How to reach a database of a MongoDB replica set.
///
/// ```
/// use std::time::Duration;
/// use sync_mongo::MongoConfig;
///
/// let config = MongoConfig::new("mongodb://127.0.0.1:27017/sync?replicaSet=rs0")
///     .collection_prefix("did_")
///     .busy_timeout(Duration::from_secs(10));
/// ```
#[derive(Clone)]
#[must_use]
pub struct MongoConfig {
    pub(crate) source: Source,
    pub(crate) collection_prefix: String,
    pub(crate) busy_timeout: Duration,
    pub(crate) commit_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) faults: Faults,
}

/// Where the connections come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// A connection string that names a database; it may hold a password.
    Url(String),
    /// A client of the program's own, and the database.
    Client(Client, String),
}

impl MongoConfig {
    /// The database that `url` names, with the defaults of the methods below.
    ///
    /// `url` is a connection string of the driver's. Its read and write concerns, read preference and
    /// retries are not used: the contract decides them. Without
    /// `serverSelectionTimeoutMS` a server that does not answer is given up after 5 seconds, instead
    /// of the driver's 30.
    pub fn new(url: impl Into<String>) -> Self {
        Self::of(Source::Url(url.into()))
    }

    /// A database of a client that the program has already, with the defaults of the methods below.
    ///
    /// The client's own runtime must live as long as the backend.
    pub fn with_client(client: Client, database: impl Into<String>) -> Self {
        Self::of(Source::Client(client, database.into()))
    }

    /// The connection string, where there is one. It may hold a password.
    pub fn url(&self) -> Option<&str> {
        match &self.source {
            Source::Url(url) => Some(url),
            Source::Client(..) => None,
        }
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            collection_prefix: String::new(),
            busy_timeout: Duration::from_secs(30),
            commit_timeout: Duration::from_secs(15),
            timeout: Duration::from_secs(30),
            faults: Faults::default(),
        }
    }

    /// A prefix of the names of the collections, so that several installations, or another program,
    /// can share a database. At most 64 bytes of `A-Z a-z 0-9 _ -`. Default: nothing.
    pub fn collection_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.collection_prefix = prefix.into();
        self
    }

    /// How long a page is tried again that meets another writer of its space, or whose transaction
    /// the server gave up, before it fails with [`Busy`](sync_core::ErrorKind::Busy) or the server's
    /// own error. Default: 30 seconds.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How long a commit that was not answered is sent again before the page fails with
    /// [`UnknownOutcome`](sync_core::ErrorKind::UnknownOutcome). Default: 15 seconds.
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = timeout;
        self
    }

    /// How long one command may take before the call fails with
    /// [`Timeout`](sync_core::ErrorKind::Timeout). Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls `hook` at every boundary of a page, where an error of it is the fault: before each
    /// command, before the commit (`commit`), and after the commit and before the answer
    /// (`committed`).
    #[cfg(feature = "fault-injection")]
    pub fn on_boundary(mut self, hook: crate::fault::Hook) -> Self {
        self.faults = Faults::at_boundaries(hook);
        self
    }

    /// Refuses a prefix that the name of a collection cannot have.
    pub(crate) fn check(&self) -> Result<()> {
        let prefix = &self.collection_prefix;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if prefix.len() > 64 || !prefix.bytes().all(allowed) {
            return Err(Error::new(ErrorKind::Config)
                .with_message("a collection prefix is at most 64 bytes of A-Z a-z 0-9 _ -"));
        }
        Ok(())
    }
}

/// Shows neither the URL nor the client: both may hold a password.
impl fmt::Debug for MongoConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoConfig")
            .field("collection_prefix", &self.collection_prefix)
            .field("busy_timeout", &self.busy_timeout)
            .field("commit_timeout", &self.commit_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
