#![doc = include_str!("../README.md")]

mod apply;
mod check;
mod columns;
mod config;
mod connection;
mod engine;
mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod feed;
mod migrate;
mod pool;
mod read;
mod scan;
mod space;
mod state;
mod sweep;
mod watcher;

pub use config::SqliteConfig;
pub use engine::{Sqlite, SqliteBackend, SqliteStore};
pub use rusqlite;
pub use sync_core::{self, Durability};

/// The backend's name in errors and tables.
const NAME: &str = "sqlite";
