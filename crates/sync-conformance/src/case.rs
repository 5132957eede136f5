use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::calls::Calls;
use crate::cases::{self, CASES};
use crate::failure::{Failure, Verdict};
use crate::harness::{Harness, Power, offers};
use crate::rig::{Rig, Run};

/// The group of the cases that measure time, and the first part of the names of their tests.
const ALONE: &str = "alone";

/// One case of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Case {
    /// Its number in the catalogue; letters tell the cases of one number apart.
    pub id: &'static str,
    /// What it promises, as a sentence with underscores. Unique; also the name of its test.
    pub name: &'static str,
    /// The topic: the module of the suite that has the case.
    pub group: &'static str,
    /// Where the promise is documented: `Trait::method` of `sync-core`.
    pub about: &'static str,
    /// Without these powers it cannot be run.
    pub needs: &'static [Power],
}

impl Case {
    /// The case of this name, or with this id.
    pub fn find(name_or_id: &str) -> Option<&'static Self> {
        CASES
            .iter()
            .find(|case| case.name == name_or_id || case.id == name_or_id)
    }

    /// Whether the case compares times. Its test is run with nothing beside it, and more than once
    /// before it fails.
    pub fn measures_time(&self) -> bool {
        self.group == ALONE
    }

    /// The name of its test: that of the case, behind `alone::` where it measures time.
    pub fn test_name(&self) -> String {
        if self.measures_time() {
            format!("{ALONE}::{}", self.name)
        } else {
            self.name.to_owned()
        }
    }

    /// Where the promise is documented, as a name and an address.
    pub(crate) fn documentation(&self) -> String {
        let Some((item, method)) = self.about.split_once("::") else {
            return self.about.to_owned();
        };
        format!(
            "`{}`, which `cargo doc -p sync-core` describes in trait.{item}.html#tymethod.{method}",
            self.about
        )
    }

    /// What the case promises, with spaces.
    pub fn sentence(&self) -> String {
        self.name.replace('_', " ")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.sentence())
    }
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The backend keeps the promise.
    Passed,
    /// It does not, and this is what was expected and found.
    Failed(String),
    /// The harness does not declare this power, and it was tried and is really absent.
    Unsupported(Power),
}

impl Outcome {
    /// What was expected and found, where the case failed.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Failed(message) => Some(message),
            Self::Passed | Self::Unsupported(_) => None,
        }
    }
}

/// Runs one case against the harness. A panic of the backend is a failure of the case.
///
/// A case that starts [processes](Power::Processes) fails here: it can only be run by
/// [`suite!`](crate::suite), which gives those processes their entry point.
pub fn run_case<H: Harness>(harness: &H, case: &Case) -> Outcome {
    run(harness, case, &Calls::default(), None)
}

/// Like [`run_case`], inside a suite that has an entry point for the processes that the case starts.
#[doc(hidden)]
pub fn run_case_in<H: Harness>(harness: &H, case: &Case, suite: &'static str) -> Outcome {
    run(harness, case, &Calls::default(), Some(suite))
}

/// Runs every case, one after the other.
pub fn run_all<H: Harness>(harness: &H) -> Vec<(Case, Outcome)> {
    CASES
        .iter()
        .map(|case| (*case, run_case(harness, case)))
        .collect()
}

/// Runs a case that may start processes of `suite`. A panic is a failure.
pub(crate) fn run<H: Harness>(
    harness: &H,
    case: &Case,
    calls: &Calls,
    suite: Option<&'static str>,
) -> Outcome {
    let run = Run {
        harness,
        calls,
        suite,
    };
    match catch_unwind(AssertUnwindSafe(|| attempt(run, case))) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
        Err(panic) => Outcome::Failed(format!("panicked: {}", message_of(&*panic))),
    }
}

fn attempt<H: Harness>(run: Run<'_, H>, case: &Case) -> Verdict<Outcome> {
    let harness = run.harness;
    for power in case.needs {
        if harness.powers().contains(power) {
            continue;
        }
        if offers(harness, *power)? {
            return Err(Failure::new(format!(
                "the harness offers {power} and does not declare it"
            )));
        }
        return Ok(Outcome::Unsupported(*power));
    }
    let rig = Rig { run };
    cases::call(case.name, &rig).map(|()| Outcome::Passed)
}

/// What a panic says.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_an_id_and_a_name_of_its_own() {
        let ids: BTreeSet<&str> = CASES.iter().map(|case| case.id).collect();
        let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
        assert_eq!((ids.len(), names.len()), (CASES.len(), CASES.len()));
        for case in CASES {
            assert_eq!(Case::find(case.id), Some(case));
            assert_eq!(Case::find(case.name), Some(case));
        }
    }
}
