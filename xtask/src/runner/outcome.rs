//! How tests ended, one by one and together.

use std::cmp::Reverse;
use std::time::Duration;

use super::tally::Tally;

/// How many of the slowest tests are named at the end.
const SLOWEST: usize = 10;

/// What a conformance case prints when the store declares that it cannot run it.
const NOT_APPLICABLE: &str = "unsupported: ";

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// It asserted that what it needs is absent, and says what.
    NotApplicable(String),
    Failed(String),
}

impl Verdict {
    /// The verdict on a test whose process succeeded.
    pub(super) fn of_log(log: &str) -> Self {
        let reason = log
            .lines()
            .find_map(|line| line.split_once(NOT_APPLICABLE))
            .map(|(_, reason)| reason.trim().trim_end_matches(')').to_owned());
        reason.map_or(Self::Passed, Self::NotApplicable)
    }
}

/// A task that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) label: String,
    pub(super) took: Duration,
    pub(super) verdict: Verdict,
    pub(super) tally: Tally,
    pub(super) log: String,
}

impl Finished {
    /// Prints one line, and for a failed test what it wrote.
    pub(super) fn print(&self) {
        let Self {
            label,
            took,
            verdict,
            log,
            ..
        } = self;
        let took = seconds(*took);
        match verdict {
            Verdict::Passed => println!("ok     {took}  {label}"),
            Verdict::NotApplicable(reason) => println!("n/a    {took}  {label} ({reason})"),
            Verdict::Failed(reason) => {
                println!("FAILED {took}  {label}: {reason}\n{log}\n(end of {label})");
            }
        }
    }
}

/// Everything that ran, for the closing lines.
pub(crate) struct Summary {
    tally: Tally,
    failed: Vec<String>,
    slowest: Vec<(Duration, String)>,
    took: Duration,
}

impl Summary {
    pub(super) fn of(finished: &[Finished], took: Duration) -> Self {
        let mut tally = Tally::default();
        let mut failed = Vec::new();
        for task in finished {
            match &task.verdict {
                Verdict::Passed | Verdict::NotApplicable(_) => tally += task.tally,
                Verdict::Failed(reason) => {
                    tally += task.tally.with_failure();
                    failed.push(format!("{} failed: {reason}", task.label));
                }
            }
        }
        failed.sort();
        let mut slowest: Vec<_> = finished
            .iter()
            .map(|task| (task.took, task.label.clone()))
            .collect();
        slowest.sort_by_key(|(took, _)| Reverse(*took));
        slowest.truncate(SLOWEST);
        Self {
            tally,
            failed,
            slowest,
            took,
        }
    }

    /// Prints the slowest tests and the counts. Answers the problems.
    pub(crate) fn print(&self) -> Vec<String> {
        println!("the slowest tests:");
        for (took, label) in &self.slowest {
            println!("  {}  {label}", seconds(*took));
        }
        println!("{} in {:.0} s", self.tally, self.took.as_secs_f64());
        self.problems()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = self.failed.clone();
        problems.extend(self.tally.problems());
        problems
    }
}

/// Aligned up to 999 seconds.
fn seconds(took: Duration) -> String {
    format!("{:7.3} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(label: &str, seconds: u64, verdict: Verdict, log: &str) -> Finished {
        Finished {
            label: label.to_owned(),
            took: Duration::from_secs(seconds),
            verdict,
            tally: Tally::of(log),
            log: log.to_owned(),
        }
    }

    const PASSED: &str = "test result: ok. 1 passed; 0 failed; 0 ignored";

    #[test]
    fn a_case_that_says_it_is_not_applicable_is_told_from_one_that_passed() {
        assert_eq!(Verdict::of_log("running 1 test\n"), Verdict::Passed);
        assert_eq!(
            Verdict::of_log(
                "running 1 test\ntest a ... ignored (n/a, unsupported: no power copies)\n"
            ),
            Verdict::NotApplicable("no power copies".to_owned())
        );
    }

    #[test]
    fn a_killed_program_is_one_failure_with_its_name() {
        let summary = Summary::of(
            &[
                finished("a", 1, Verdict::Passed, PASSED),
                finished("b", 2, Verdict::Failed("signal: 9".to_owned()), ""),
            ],
            Duration::ZERO,
        );
        assert_eq!(summary.tally.to_string(), "1 passed, 1 failed, 0 ignored");
        assert_eq!(summary.problems(), ["b failed: signal: 9"]);
    }

    #[test]
    fn the_ten_slowest_are_named_slowest_first() {
        let all: Vec<_> = (0..12)
            .map(|n| finished(&n.to_string(), n, Verdict::Passed, PASSED))
            .collect();
        let summary = Summary::of(&all, Duration::ZERO);
        let named: Vec<_> = summary
            .slowest
            .iter()
            .map(|(_, label)| label.as_str())
            .collect();
        assert_eq!(named, ["11", "10", "9", "8", "7", "6", "5", "4", "3", "2"]);
    }
}
