#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod check;
mod columns;
mod config;
mod connection;
mod digests;
mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod feed;
mod migrate;
mod pool;
mod scan;
mod signal;
mod space;
mod state;
mod store;
mod sweep;

pub use backend::SqliteBackend;
pub use config::SqliteConfig;
pub use rusqlite;
pub use store::SqliteStore;
pub use sync_core::{self, Durability};

/// The backend's name in errors and tables.
const NAME: &str = "sqlite";
