#![doc = include_str!("../README.md")]

mod config;
mod effect;
mod keeper;
mod message;
mod session;
mod sessions;
mod statistics;

pub use config::SessionConfig;
pub use effect::{Difference, Effect, Failure, Outcome, Role};
pub use keeper::{IndexCheck, IndexKeeper};
pub use message::{CloseReason, Message, Open, SessionId, Statement};
pub use sessions::{OpenError, Sessions};
pub use statistics::{Statistics, Totals};
