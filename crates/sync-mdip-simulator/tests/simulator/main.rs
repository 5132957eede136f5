//! The logs and the Gatekeeper that others are tested against.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod captured;
#[path = "../../../sync-mdip/tests/mdip/capture/files.rs"]
mod files;
mod gatekeeper;
mod generated;
mod requests;
mod respelt;

use sync_mdip_simulator::{Change, Row};

/// The operations of a log's rows, with their positions.
fn operations(rows: &[Row]) -> Vec<(u64, String)> {
    rows.iter()
        .filter_map(|row| match &row.change {
            Change::Accepted { event, .. } => Some((row.seq, event.operation().to_owned())),
            _ => None,
        })
        .collect()
}

/// Past the harness, which hides what a passing test prints.
fn say(line: &str) {
    use std::io::Write as _;
    let line = format!("{line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
