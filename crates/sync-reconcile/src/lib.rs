#![doc = include_str!("../README.md")]

mod aggregate;
mod cursor;
mod error;
mod index;
mod node;
mod view;
mod wire;

pub use aggregate::{Aggregate, Fingerprint};
pub use error::{Error, ErrorKind, Result};
pub use index::Index;
pub use view::{Iter, View};
