#![doc = include_str!("../README.md")]

pub mod backoff;
mod connection;
pub mod digests;
#[cfg(feature = "runtime")]
pub mod driver;
pub mod engine;
pub mod fault;
pub mod spaces;
mod store;
pub mod streak;
#[cfg(feature = "runtime")]
pub mod watch;

pub use connection::Connection;
pub use engine::{Altered, Answer, Change, Engine, LeavesGarbage, Query, Written};
pub use spaces::{Space, Spaces};
pub use store::Store;
