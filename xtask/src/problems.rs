//! How a check ends that collects everything that is wrong.

use anyhow::{Result, ensure};

/// Prints what is wrong and fails, or says nothing.
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
