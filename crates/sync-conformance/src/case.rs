use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::cases::{self, CASES};
use crate::failure::{Failure, Verdict};
use crate::harness::{Harness, Power, offers};
use crate::process::{self, WorkerTest};
use crate::report;
use crate::rig::Rig;

/// One case of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its number in the catalogue; letters tell the cases of one number apart.
    pub id: &'static str,
    /// What it promises, as a sentence with underscores. Unique; also the name of its test.
    pub name: &'static str,
    /// The topic.
    pub group: &'static str,
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
    run(harness, case, None)
}

/// Like [`run_case`], from a module that has a test `conformance_worker` of [`run_worker`]: the
/// entry point of the processes that the case starts.
#[doc(hidden)]
pub fn run_case_in<H: Harness>(harness: &H, case: &Case, module: &'static str) -> Outcome {
    run(harness, case, Some(WorkerTest(module)))
}

/// Runs every case, one after the other.
pub fn run_all<H: Harness>(harness: &H) -> Vec<(Case, Outcome)> {
    CASES
        .iter()
        .map(|case| (*case, run_case(harness, case)))
        .collect()
}

/// The body of every test that [`suite!`](crate::suite) makes.
///
/// # Panics
///
/// Where the case fails, or its line of the table cannot be written.
#[doc(hidden)]
pub fn run_test<H: Harness>(name: &'static str, module: &'static str) {
    let Some(case) = Case::find(name) else {
        panic!("no case is called {name}");
    };
    let harness = H::default();
    let begun = Instant::now();
    let outcome = run(&harness, case, Some(WorkerTest(module)));
    let reported = report::append(harness.name(), case, &outcome, begun.elapsed());
    match outcome {
        Outcome::Passed => {}
        Outcome::Unsupported(power) => println!("unsupported: no power {power}"),
        Outcome::Failed(message) => panic!("{}: case {case}: {message}", harness.name()),
    }
    if let Err(error) = reported {
        panic!("the line of the table was not written: {error}");
    }
}

/// The body of the test that is the entry point of other processes.
///
/// # Panics
///
/// Where the process has a task and the task fails.
#[doc(hidden)]
pub fn run_worker<H: Harness>() {
    if let Err(failure) = process::work::<H>() {
        panic!("{failure}");
    }
}

fn run<H: Harness>(harness: &H, case: &Case, worker: Option<WorkerTest>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| attempt(harness, case, worker))) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
        Err(panic) => Outcome::Failed(format!("panicked: {}", message_of(&*panic))),
    }
}

fn attempt<H: Harness>(harness: &H, case: &Case, worker: Option<WorkerTest>) -> Verdict<Outcome> {
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
    let rig = Rig { harness, worker };
    cases::call(case.name, &rig).map(|()| Outcome::Passed)
}

fn message_of(panic: &(dyn Any + Send)) -> String {
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
