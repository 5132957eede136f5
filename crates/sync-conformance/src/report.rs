//! The table of cases and backends, one file per backend.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::case::{Case, Outcome};

/// The directory the table's files go to, where it is wanted.
pub(crate) const TABLE: &str = "SYNC_CONFORMANCE_TABLE";

/// Appends the outcome of one case to `<dir>/<column>.tsv`, where a table is wanted.
pub(crate) fn append(
    column: &str,
    case: &Case,
    outcome: &Outcome,
    took: Duration,
) -> io::Result<()> {
    let Some(directory) = env::var_os(TABLE) else {
        return Ok(());
    };
    append_to(Path::new(&directory), column, case, outcome, took)
}

fn append_to(
    directory: &Path,
    column: &str,
    case: &Case,
    outcome: &Outcome,
    took: Duration,
) -> io::Result<()> {
    let verdict = match outcome {
        Outcome::Passed => "passed".to_owned(),
        Outcome::Failed(_) => "failed".to_owned(),
        Outcome::Unsupported(power) => format!("unsupported:{power}"),
    };
    let line = format!(
        "{column}\t{}\t{}\t{verdict}\t{}\n",
        case.id,
        case.name,
        took.as_millis()
    );
    fs::create_dir_all(directory)?;
    // One write to a file opened for appending: lines of tests that run at once do not mix.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join(format!("{column}.tsv")))?
        .write_all(line.as_bytes())
}
