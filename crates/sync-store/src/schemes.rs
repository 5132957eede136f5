//! From a URL to a backend. A new backend joins with a row of [`SCHEMES`], a line in [`connect`], a
//! line in [`migrate`], and a module that reads its options.

#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "mongo")]
mod mongo;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(any(
    feature = "memory",
    feature = "mongo",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
use sync_core::Backend;
use sync_core::{Error, Migrated, Result};

use crate::AnyBackend;
use crate::url::{StoreUrl, error};

/// Connects to the database that `url` names.
///
/// - Never migrates; see [`Backend::connect`](sync_core::Backend::connect) for what it refuses.
/// - [`Config`](sync_core::ErrorKind::Config) where the URL is not understood, has an option that
///   its backend does not know, or names a backend that this build does not have. The message
///   says what would be accepted, and never repeats what may be a secret.
///
/// The crate's documentation lists the URLs and their options.
pub async fn connect(url: &str) -> Result<AnyBackend> {
    let url = StoreUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "memory")]
        "memory" => open::<sync_memory::MemoryBackend>(memory::config(url)?).await,
        #[cfg(feature = "mongo")]
        "mongodb" | "mongodb+srv" => open::<sync_mongo::MongoBackend>(mongo::config(url)?).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            open::<sync_postgres::PostgresBackend>(postgres::config(url)?).await
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" => {
            open::<sync_redis::RedisBackend>(redis::config(url)?).await
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => open::<sync_sqlite::SqliteBackend>(sqlite::config(url)?).await,
        _ => Err(not_here(&url)),
    }
}

/// Brings the database that `url` names to the schema this version reads and writes, creating it
/// where there is none.
///
/// - Forward only, under a lock, and nothing at all for a newer schema: see
///   [`Backend::migrate`](sync_core::Backend::migrate).
/// - Errors about the URL are those of [`connect`].
pub async fn migrate(url: &str) -> Result<Migrated> {
    let url = StoreUrl::parse(url)?;
    match url.scheme() {
        #[cfg(feature = "memory")]
        "memory" => sync_memory::MemoryBackend::migrate(&memory::config(url)?).await,
        #[cfg(feature = "mongo")]
        "mongodb" | "mongodb+srv" => sync_mongo::MongoBackend::migrate(&mongo::config(url)?).await,
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            sync_postgres::PostgresBackend::migrate(&postgres::config(url)?).await
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" => {
            sync_redis::RedisBackend::migrate(&redis::config(url)?).await
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => sync_sqlite::SqliteBackend::migrate(&sqlite::config(url)?).await,
        _ => Err(not_here(&url)),
    }
}

/// The configuration that a `sqlite:` URL names, for what only `sync-sqlite` offers. Errors about the URL
/// are those of [`connect`].
#[cfg(feature = "sqlite")]
pub fn sqlite_config(url: &str) -> Result<sync_sqlite::SqliteConfig> {
    let url = StoreUrl::parse(url)?;
    match url.scheme() {
        "sqlite" => sqlite::config(url),
        _ => Err(error("a sqlite: URL is needed here")),
    }
}

/// The configuration that a `postgres:` URL names, for what only `sync-postgres` offers. Errors about the URL
/// are those of [`connect`].
#[cfg(feature = "postgres")]
pub fn postgres_config(url: &str) -> Result<sync_postgres::PostgresConfig> {
    let url = StoreUrl::parse(url)?;
    match url.scheme() {
        "postgres" | "postgresql" => postgres::config(url),
        _ => Err(error("a postgres: URL is needed here")),
    }
}

#[cfg(any(
    feature = "memory",
    feature = "mongo",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
async fn open<B: Backend>(config: B::Config) -> Result<AnyBackend> {
    Ok(AnyBackend::new(B::connect(config).await?))
}

/// A scheme, the feature of this crate that brings it, and whether this build has that.
type Scheme = (&'static str, &'static str, bool);

/// Every scheme a URL may have.
const SCHEMES: [Scheme; 10] = [
    ("memory", "memory", cfg!(feature = "memory")),
    ("sqlite", "sqlite", cfg!(feature = "sqlite")),
    ("postgres", "postgres", cfg!(feature = "postgres")),
    ("postgresql", "postgres", cfg!(feature = "postgres")),
    ("redis", "redis", cfg!(feature = "redis")),
    ("rediss", "redis", cfg!(feature = "redis")),
    ("valkey", "redis", cfg!(feature = "redis")),
    ("valkeys", "redis", cfg!(feature = "redis")),
    ("mongodb", "mongo", cfg!(feature = "mongo")),
    ("mongodb+srv", "mongo", cfg!(feature = "mongo")),
];

fn not_here(url: &StoreUrl) -> Error {
    let known = SCHEMES.iter().find(|(scheme, ..)| *scheme == url.scheme());
    error(match known {
        Some((scheme, feature, _)) => format!(
            "{scheme}: this program was built without it; build sync-store with the feature \
             {feature}"
        ),
        None => match url.shown_scheme() {
            Some(scheme) => format!("{scheme}: is not the scheme of a store; {}", usable()),
            None => format!(
                "the URL does not begin with the scheme of a store; {}",
                usable()
            ),
        },
    })
}

/// What could be used instead, in this build and in another.
fn usable() -> String {
    let with = |wanted: bool| {
        let schemes = SCHEMES.iter().filter(|(.., built)| *built == wanted);
        let named = schemes.map(|(scheme, ..)| format!("{scheme}:"));
        named.collect::<Vec<_>>().join(", ")
    };
    match (with(true), with(false)) {
        (built, others) if others.is_empty() => format!("there are {built}"),
        (built, others) if built.is_empty() => {
            format!("this build has none, its features could bring {others}")
        }
        (built, others) => format!("this build has {built}, its features could bring {others}"),
    }
}

#[cfg(test)]
mod tests;
