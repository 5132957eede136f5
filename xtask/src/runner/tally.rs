//! The counts in the closing lines of test programs.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Conformance cases that a store declares it cannot run. Their program counts them as ignored.
    not_applicable: u64,
}

/// How the line of such a case ends, before the reason.
const NOT_APPLICABLE: &str = " ignored (n/a, ";

impl Tally {
    /// The sum over all closing lines in an output.
    pub(super) fn of(output: &str) -> Self {
        let mut tally = Self::default();
        for line in output.lines() {
            tally.add(line);
        }
        tally.ignored = tally.ignored.saturating_sub(tally.not_applicable);
        tally
    }

    /// Tests that ran, well or badly, or said that they are not applicable.
    pub(super) fn ran(self) -> u64 {
        self.passed + self.failed + self.not_applicable
    }

    /// Counts `line` if it is a test program's closing line, `test result: ok. 3 passed; …`, or the
    /// line of a case that is not applicable.
    fn add(&mut self, line: &str) {
        if line.starts_with("test ") && line.contains(NOT_APPLICABLE) {
            self.not_applicable += 1;
        }
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for part in counts.split(';') {
            let Some((count, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.ignored += count,
                _ => {}
            }
        }
    }

    /// Counts one more test that failed, where its program could not say so.
    pub(super) fn with_failure(mut self) -> Self {
        if self.failed == 0 {
            self.failed = 1;
            self.passed = 0;
        }
        self
    }

    /// The problems that these counts show.
    pub(super) fn problems(self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.passed == 0 {
            problems.push("no test ran".to_owned());
        }
        if self.ignored > 0 {
            problems.push(format!(
                "{} test(s) ignored: a test runs or is not there",
                self.ignored
            ));
        }
        problems
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.not_applicable += other.not_applicable;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            ignored,
            not_applicable,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {ignored} ignored")?;
        if *not_applicable > 0 {
            write!(f, ", {not_applicable} n/a")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    const PASSED: &str = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; \
                          3 filtered out; finished in 0.04s";
    const FAILED: &str = "test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; \
                          0 filtered out; finished in 1.00s";

    #[test]
    fn the_counts_of_all_closing_lines_add_up() {
        let tally = Tally::of(&format!("running 12 tests\n{PASSED}\n\n{FAILED}\n"));
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 2,
                ignored: 4,
                not_applicable: 0
            }
        );
        assert_eq!(tally.ran(), 15);
    }

    #[test]
    fn passed_tests_alone_are_no_problem() {
        assert_eq!(Tally::of(PASSED).problems(), [""; 0]);
    }

    #[test]
    fn ignored_tests_are_a_problem() {
        assert_eq!(Tally::of(FAILED).problems().len(), 1);
    }

    #[test]
    fn a_run_without_any_test_is_a_problem() {
        assert_eq!(Tally::of("running 0 tests").problems(), ["no test ran"]);
    }

    #[test]
    fn a_case_that_a_store_cannot_run_is_no_problem() {
        let tally = Tally::of(
            "test a_reset_costs_the_same ... ignored (n/a, unsupported: no power work)\n\
             test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n",
        );
        assert_eq!((tally.problems(), tally.ran()), (Vec::new(), 2));
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 0 ignored, 1 n/a");
    }

    #[test]
    fn a_program_that_died_before_its_closing_line_has_one_failure() {
        let tally = Tally::of("running 1 test").with_failure();
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 ignored");
        let tally = Tally::of(FAILED).with_failure();
        assert_eq!(tally.to_string(), "1 passed, 2 failed, 4 ignored");
    }
}
