#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod check;
mod client;
mod columns;
mod config;
mod connection;
mod driver;
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
mod statements;
mod store;
mod sweep;
mod tls;

pub use backend::PostgresBackend;
pub use config::{Pooler, PostgresConfig, Tls};
pub use deadpool_postgres;
pub use error::failed;
pub use store::PostgresStore;
pub use sync_core;
pub use tokio_postgres;

/// The backend's name in errors and tables.
const NAME: &str = "postgres";
