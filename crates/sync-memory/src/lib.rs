#![doc = include_str!("../README.md")]

mod apply;
mod backend;
mod batch;
mod boundary;
mod check;
mod config;
mod feed;
mod slot;
mod space;
mod state;
mod store;

pub use backend::MemoryBackend;
pub use config::MemoryConfig;
pub use store::MemoryStore;
