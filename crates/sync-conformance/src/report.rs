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
    // This crate's own unit tests run cases that are meant to fail; they are no backend's.
    let Some(directory) = env::var_os(TABLE).filter(|_| !cfg!(test)) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Power;

    #[test]
    fn a_line_has_five_fields_and_a_second_one_comes_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let case = Case::find("31b").unwrap();
        for (outcome, took) in [
            (Outcome::Passed, 7),
            (Outcome::Failed("a\ttab and\na line".to_owned()), 8),
            (Outcome::Unsupported(Power::SetHead), 0),
        ] {
            let took = Duration::from_millis(took);
            append_to(directory.path(), "column", case, &outcome, took).unwrap();
        }
        let written = fs::read_to_string(directory.path().join("column.tsv")).unwrap();
        let name = case.name;
        let expected = format!(
            "column\t31b\t{name}\tpassed\t7\ncolumn\t31b\t{name}\tfailed\t8\n\
             column\t31b\t{name}\tunsupported:set-head\t0\n"
        );
        assert_eq!(written, expected);
    }
}
