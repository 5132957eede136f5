#![doc = include_str!("../README.md")]

pub mod canonical;
mod invalid;
pub mod key;
pub mod local;
pub mod object;
mod operation;
mod verify;

pub use canonical::{JsonError, canonicalize};
pub use invalid::Invalid;
pub use operation::{Kind, Record, to_operation};
pub use verify::{PublicKey, Verified};
