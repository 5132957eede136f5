#![doc = include_str!("../README.md")]

mod any;
#[cfg_attr(
    not(feature = "sqlite"),
    allow(dead_code, reason = "not every backend has options of every kind")
)]
mod options;
mod schemes;
#[cfg_attr(
    not(any(feature = "memory", feature = "sqlite")),
    allow(dead_code, reason = "without a backend nothing but the scheme is read")
)]
mod url;

pub use any::AnyBackend;
#[cfg(feature = "sqlite")]
pub use schemes::sqlite_config;
pub use schemes::{connect, migrate};
#[doc(no_inline)]
pub use sync_core::*;

/// The `memory:` backend, as `sync-memory` has it.
#[cfg(feature = "memory")]
pub use sync_memory as memory;
/// The `sqlite:` backend, as `sync-sqlite` has it.
#[cfg(feature = "sqlite")]
pub use sync_sqlite as sqlite;
