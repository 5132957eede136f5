#![doc = include_str!("../README.md")]

mod alter;
mod apply;
mod check;
mod client;
mod columns;
mod config;
mod connection;
mod engine;
mod error;
mod migrate;
mod pool;
mod read;
mod session;
mod space;
mod statements;
mod sweep;
mod tls;
mod watch;

pub use config::{Pooler, PostgresConfig, Tls};
pub use deadpool_postgres;
pub use engine::{Postgres, PostgresBackend, PostgresStore};
pub use error::failed;
pub use sync_core;
#[cfg(feature = "fault-injection")]
pub use sync_kit::fault;
pub use tokio_postgres;

/// The backend's name in errors and tables.
const NAME: &str = "postgres";
