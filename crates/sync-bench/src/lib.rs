#![doc = include_str!("../README.md")]
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a benchmark that fails may panic"
)]

mod input;
mod pair;
mod store;
mod table;

pub use input::Input;
pub use pair::interleave;
pub use store::{Read, apply, backfill, millis, reads, replay};
pub use table::{Ratios, median};
