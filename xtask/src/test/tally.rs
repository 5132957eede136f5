//! The counts in the closing lines of test programs.

use std::fmt;

/// The sums over all test programs of a run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    programs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Counts `line` if it is a test program's closing line: `test result: ok. 3 passed; …`.
    pub(super) fn add(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        self.programs += 1;
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

    /// What is wrong with these counts even where every program succeeded.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.passed == 0 {
            problems.push("no test ran".to_owned());
        }
        if self.failed > 0 {
            problems.push(format!("{} test(s) failed", self.failed));
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

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            programs,
            passed,
            failed,
            ignored,
        } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {ignored} ignored in {programs} test programs"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    const PASSED: &str = "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; \
                          3 filtered out; finished in 0.04s";
    const FAILED: &str = "test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; \
                          0 filtered out; finished in 1.00s";

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.add(line);
        }
        tally
    }

    #[test]
    fn the_counts_of_all_programs_add_up() {
        let tally = tally(&["running 12 tests", PASSED, "", FAILED]);
        assert_eq!(
            tally,
            Tally {
                programs: 2,
                passed: 13,
                failed: 2,
                ignored: 4
            }
        );
    }

    #[test]
    fn passed_tests_alone_are_no_problem() {
        assert_eq!(tally(&[PASSED]).problems(), [""; 0]);
    }

    #[test]
    fn failed_and_ignored_tests_are_problems() {
        assert_eq!(tally(&[FAILED]).problems().len(), 2);
    }

    #[test]
    fn a_run_without_any_test_is_a_problem() {
        assert_eq!(tally(&["running 0 tests"]).problems(), ["no test ran"]);
    }
}
