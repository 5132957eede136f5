//! Whole records: parsed, verified, and decided about.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod capture;
#[cfg(feature = "gatekeeper")]
mod gatekeeper;
mod generate;
mod local;
mod log;
mod operation;
mod respell;
#[cfg(feature = "source")]
mod source;
mod verify;

/// Says `line` past the harness, which hides what a passing test prints.
fn say(line: &str) {
    use std::io::Write as _;
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
