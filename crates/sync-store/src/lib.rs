#![doc = include_str!("../README.md")]

mod any;
#[cfg_attr(
    not(all(
        feature = "mongo",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite"
    )),
    allow(dead_code, reason = "not every backend has options of every kind")
)]
mod options;
mod schemes;
#[cfg_attr(
    not(any(
        feature = "memory",
        feature = "mongo",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite"
    )),
    allow(dead_code, reason = "without a backend nothing but the scheme is read")
)]
mod url;

pub use any::AnyBackend;
#[cfg(feature = "postgres")]
pub use schemes::postgres_config;
#[cfg(feature = "sqlite")]
pub use schemes::sqlite_config;
pub use schemes::{connect, migrate};
#[doc(no_inline)]
pub use sync_core::*;

/// The `memory:` backend, as `sync-memory` has it.
#[cfg(feature = "memory")]
pub use sync_memory as memory;
/// The `mongodb:` backend, as `sync-mongo` has it.
#[cfg(feature = "mongo")]
pub use sync_mongo as mongo;
/// The `postgres:` backend, as `sync-postgres` has it.
#[cfg(feature = "postgres")]
pub use sync_postgres as postgres;
/// The `redis:` backend, as `sync-redis` has it.
#[cfg(feature = "redis")]
pub use sync_redis as redis;
/// The `sqlite:` backend, as `sync-sqlite` has it.
#[cfg(feature = "sqlite")]
pub use sync_sqlite as sqlite;
