//! How a check ends that collects everything that is wrong.

use anyhow::{Result, ensure};

/// Prints the problems and fails; without any it succeeds and prints nothing.
pub(crate) fn conclude(problems: &[String]) -> Result<()> {
    for problem in problems {
        eprintln!("problem: {problem}");
    }
    ensure!(
        problems.is_empty(),
        "{} problem(s), listed above",
        problems.len()
    );
    Ok(())
}
