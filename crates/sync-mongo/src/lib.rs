#![doc = include_str!("../README.md")]

mod alter;
mod apply;
mod check;
mod config;
mod database;
mod documents;
mod engine;
mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod feed;
mod migrate;
mod orphans;
mod read;
mod retry;
mod scan;
mod schema;
mod snapshot;
mod space;
mod state;
mod sweep;
mod transaction;
mod watch;

pub use config::MongoConfig;
pub use engine::{Mongo, MongoBackend, MongoStore};
pub use mongodb;
pub use sync_core;

/// The backend's name in errors and tables.
const NAME: &str = "mongo";
