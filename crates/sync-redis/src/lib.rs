#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod check;
mod command;
mod config;
mod connection;
mod error;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod feed;
mod layout;
mod migrate;
mod reply;
mod runtime;
mod scan;
mod scripts;
mod server;
mod servers;
mod signal;
mod slots;
mod space;
mod state;
mod store;
mod stream;
mod sweep;

pub use backend::RedisBackend;
pub use config::RedisConfig;
pub use redis;
pub use store::RedisStore;
pub use sync_core::{self, Durability};

/// The backend's name in errors and tables.
const NAME: &str = "redis";
