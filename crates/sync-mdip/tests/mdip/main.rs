//! Whole records: parsed, verified, and decided about.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod capture;
mod generate;
mod local;
mod log;
mod operation;
mod respell;
mod verify;
