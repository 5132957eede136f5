#![doc = include_str!("../README.md")]

mod capture;
mod gatekeeper;
mod generate;
mod log;
mod operation;
mod respell;
mod row;

pub use capture::{Capture, write_capture, write_snapshot};
pub use gatekeeper::{Gatekeeper, Reply};
pub use generate::{Config, Generated, Shares, generate};
pub use log::{CapturedError, Log, Refusal, Request, Unordered};
pub use operation::{Signed, Signer};
pub use respell::respell;
pub use row::{Change, Event, Row};
