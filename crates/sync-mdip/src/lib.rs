#![doc = include_str!("../README.md")]

pub mod canonical;
#[cfg(feature = "source")]
mod capture;
#[cfg(feature = "source")]
mod export;
#[cfg(feature = "gatekeeper")]
pub mod gatekeeper;
mod invalid;
pub mod key;
pub mod local;
pub mod object;
mod operation;
mod verify;

pub use canonical::{JsonError, canonicalize};
#[cfg(feature = "source")]
pub use capture::CaptureSource;
#[cfg(feature = "gatekeeper")]
pub use gatekeeper::GatekeeperSource;
pub use invalid::Invalid;
pub use operation::{Kind, Record, to_operation, to_operation_of};
pub use verify::{PublicKey, Verified};
