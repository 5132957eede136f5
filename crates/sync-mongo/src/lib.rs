#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod check;
mod config;
mod database;
mod documents;
mod error;
mod executor;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod feed;
mod migrate;
mod orphans;
mod patience;
mod scan;
mod schema;
mod signal;
mod snapshot;
mod space;
mod state;
mod store;
mod sweep;
mod transaction;

pub use backend::MongoBackend;
pub use config::MongoConfig;
pub use mongodb;
pub use store::MongoStore;
pub use sync_core;

/// The backend's name in errors and tables.
const NAME: &str = "mongo";
