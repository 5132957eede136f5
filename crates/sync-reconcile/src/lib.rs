#![doc = include_str!("../README.md")]

mod aggregate;
mod builder;
mod cursor;
mod difference;
mod error;
mod index;
mod initiator;
mod message;
mod node;
mod options;
mod responder;
mod view;
pub mod wire;

pub use aggregate::{Aggregate, Fingerprint};
pub use builder::IndexBuilder;
pub use error::{Error, ErrorKind, Limit, Result};
pub use index::Index;
pub use initiator::{Initiator, Round};
pub use options::{Options, Usage};
pub use responder::Responder;
pub use view::{Iter, View};
