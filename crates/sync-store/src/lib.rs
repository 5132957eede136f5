#![doc = include_str!("../README.md")]

mod any;
mod options;
mod target;
mod url;

pub use any::AnyBackend;
#[doc(no_inline)]
pub use sync_core::*;
pub use target::{connect, migrate};

/// The `memory:` backend, as `sync-memory` has it.
#[cfg(feature = "memory")]
pub use sync_memory as memory;
/// The `sqlite:` backend, as `sync-sqlite` has it.
#[cfg(feature = "sqlite")]
pub use sync_sqlite as sqlite;
