//! Logs and Gatekeepers to test against.
//!
//! Nothing here is a Gatekeeper: it accepts no operation from a client, keeps nothing, and
//! believes whatever its caller puts into a [`Log`]. What it answers has the form and the rules of
//! the deployed index export, so that what reads a Gatekeeper can be tried against logs of any
//! size and against faults that a real one shows seldom.
//!
//! - [`generate()`] makes a valid change log as a stream, with real keys and signatures: agents,
//!   assets, updates, key rotations, deactivations, removals, operations accepted again,
//!   reorganisations, blocks and confirmations.
//! - [`Log`] holds a log and answers the index export from it.
//! - [`Gatekeeper`] serves a [`Log`] over HTTP, with faults to switch on.
//! - [`write_capture`] writes a log as the lines of a capture file.
//! - [`respell`] spells an operation otherwise, and means the same.

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
