//! Reconciliation of a space with peers: an index that follows its store, and sessions over it.
//!
//! - An [`IndexKeeper`] holds the keys of a space in memory and follows its feed.
//! - [`Sessions`] compare them with those of peers, by negentropy version 1 and a final check. They do
//!   no I/O: messages and the time go in, [`Effect`]s come out.
//!
//! What is missing on either side is for the caller to transfer. A session changes nothing.

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
