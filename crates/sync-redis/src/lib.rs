#![doc = include_str!("../README.md")]

mod apply;
mod check;
mod command;
mod config;
mod connect;
mod connection;
mod engine;
mod error;
mod feed;
mod layout;
mod migrate;
mod names;
mod read;
mod reply;
mod scan;
mod scripts;
mod server;
mod servers;
mod slots;
mod space;
mod state;
mod stream;
mod watcher;

pub use config::RedisConfig;
pub use engine::{Redis, RedisBackend, RedisStore};
pub use redis;
pub use sync_core::{self, Durability};
#[cfg(feature = "fault-injection")]
pub use sync_kit::fault;

/// The backend's name in errors and tables.
const NAME: &str = "redis";
