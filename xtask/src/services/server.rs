//! The servers that backends need, and their differences.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::backend::BackendName;

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Server {
    Postgres,
    Redis,
    Mongo,
}

impl Server {
    pub(crate) const ALL: [Self; 3] = [Self::Postgres, Self::Redis, Self::Mongo];

    /// The server that a backend talks to; none for those that live in the process.
    pub(crate) fn of(backend: BackendName) -> Option<Self> {
        match backend {
            BackendName::Memory | BackendName::Sqlite => None,
            BackendName::Postgres => Some(Self::Postgres),
            BackendName::Redis => Some(Self::Redis),
            BackendName::Mongo => Some(Self::Mongo),
        }
    }

    /// The backend's name, which is also that of the service in `docker-compose.yml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Mongo => "mongo",
        }
    }

    /// The environment variable that tells tests where the server is.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "SYNC_TEST_POSTGRES_URL",
            Self::Redis => "SYNC_TEST_REDIS_URL",
            Self::Mongo => "SYNC_TEST_MONGO_URL",
        }
    }

    /// The environment variable that tells tests where the server's programs are.
    pub(super) fn programs_variable(self) -> &'static str {
        match self {
            Self::Postgres => "SYNC_TEST_POSTGRES_BIN",
            Self::Redis => "SYNC_TEST_REDIS_BIN",
            Self::Mongo => "SYNC_TEST_MONGO_BIN",
        }
    }

    /// The port the server has unless told otherwise, inside containers and in URLs without one.
    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Redis => 6379,
            Self::Mongo => 27017,
        }
    }

    /// The programs that are such a server, the preferred first.
    pub(super) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgres"],
            Self::Redis => &["valkey-server", "redis-server"],
            Self::Mongo => &["mongod"],
        }
    }

    /// The programs that tests need beside the server to make a server of their own.
    pub(super) fn companions(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["initdb", "pg_ctl", "pg_basebackup"],
            Self::Redis | Self::Mongo => &[],
        }
    }

    /// The oldest version that the backend promises to work with.
    pub(super) fn oldest(self) -> (u32, u32) {
        match self {
            Self::Postgres => (14, 0),
            Self::Redis => (6, 2),
            Self::Mongo => (5, 0),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a program says of itself when asked for its version: `PostgreSQL 18.4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    product: &'static str,
    number: String,
}

impl Version {
    /// Reads the first line of `--version`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let products = [
            ("PostgreSQL", "PostgreSQL"),
            ("Valkey", "Valkey"),
            ("Redis", "Redis"),
            ("db version", "MongoDB"),
        ];
        let (_, product) = products.into_iter().find(|(word, _)| line.contains(word))?;
        let number = line.split_whitespace().find_map(|word| {
            let word = word.strip_prefix('v').unwrap_or(word);
            let word = word.strip_prefix('=').unwrap_or(word);
            word.starts_with(|c: char| c.is_ascii_digit())
                .then(|| word.to_owned())
        })?;
        Some(Self { product, number })
    }

    /// Whether this is a version of a release: of `postgres-15`, `redis-7.0`.
    pub(super) fn is_of(&self, release: &str) -> bool {
        let product = match self.product {
            "PostgreSQL" => "postgres",
            "Valkey" => "valkey",
            "Redis" => "redis",
            _ => "mongodb",
        };
        let own = format!("{product}-{}", self.number);
        own.strip_prefix(release)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Major and minor number; a missing one counts as 0.
    pub(super) fn release(&self) -> (u32, u32) {
        let mut numbers = self
            .number
            .split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.number)
    }
}
