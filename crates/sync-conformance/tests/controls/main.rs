//! The suite's own test: stores that are broken in exactly one way, and the cases that notice.
//!
//! All of them are one sound store with one [`Fault`]; where a case needs other processes, that is
//! a file of `sync-sqlite`, which goes wrong around its calls. The sound store passes every case. Each
//! broken one is failed by every case that names it, and no case is left that none names: a case
//! that no broken store fails proves nothing.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what cannot be is a failure of the test"
)]

mod answer;
mod backend;
mod disk;
mod fault;
mod harness;
mod input;
mod processes;
mod store;
mod transaction;
mod walk;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sync_conformance::{CASES, Case, Outcome, Power, Program, run_case};

use crate::fault::{CONTROLS, Control, Fault};
use crate::harness::ControlHarness;

/// Longer than any case waits for a store that keeps silent.
const PATIENCE: Duration = Duration::from_mins(1);

/// Cases that wait, or fill large spaces.
const SLOW_GROUPS: [&str; 4] = ["alone", "changed", "large_page", "size"];
/// Cases that wait for a store that keeps silent.
const WAITING_GROUPS: [&str; 2] = ["alone", "changed"];
/// Cases that take more than a few hundredths of a second.
const SLOW_CASES: [&str; 12] = [
    "1", "3", "4a", "5", "16a", "21b", "23", "30b", "32a", "33", "44b", "M1",
];
/// The directory of the tables, where they are wanted.
const TABLE: &str = "SYNC_CONFORMANCE_TABLE";
/// Asks for lines of the cases, too, that do not name a control.
const MATRIX: &str = "SYNC_CONFORMANCE_MATRIX";

/// The tests: every case on the store with nothing wrong, and every broken store on the cases that
/// name it.
fn main() -> ExitCode {
    let program = Program::default()
        .suite::<ControlHarness>("sound")
        .worker::<processes::ProcessHarness>(processes::SUITE)
        .test(
            "the_sound_store_passes_every_case_that_starts_processes",
            processes::the_sound_store_passes,
        )
        .test("every_case_is_named_by_a_control", every_case_is_named)
        .test(
            "every_control_is_named_by_cases_that_exist",
            every_control_is_named,
        );
    let judged = CONTROLS.iter().fold(program, |program, control| {
        let name = format!("is_noticed::{}", control.name);
        program.test(name, || judge(control.fault))
    });
    judged.run()
}

/// Requires that every case that names the control fails on it.
fn judge(fault: Fault) {
    let control = CONTROLS
        .iter()
        .find(|control| control.fault == fault)
        .unwrap();
    // Those that wait for a store that keeps silent at once; the others leave each other the
    // processors, which those that race need.
    let (waiting, working): (Vec<_>, Vec<_>) = control
        .named()
        .partition(|case| WAITING_GROUPS.contains(&case.group));
    let mut outcomes: Vec<_> = working
        .into_iter()
        .map(|case| (case, run_bounded(fault, case)))
        .collect();
    thread::scope(|scope| {
        let waits: Vec<_> = waiting
            .into_iter()
            .map(|case| (case, scope.spawn(move || run_bounded(fault, case))))
            .collect();
        let ended = waits.into_iter();
        outcomes.extend(ended.map(|(case, run)| (case, run.join().unwrap())));
    });
    if env::var_os(MATRIX).is_some() {
        for case in quick_cases().filter(|case| !control.cases.contains(&case.id)) {
            let outcome = run_bounded(fault, case);
            report(
                control,
                case,
                outcome.failure().map_or("passed", |_| "failed"),
            );
        }
    }
    let mut unnoticed = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Outcome::Failed(_) => report(control, case, "failed"),
            Outcome::Passed => {
                report(control, case, "passed");
                unnoticed.push(case.to_string());
            }
            Outcome::Unsupported(power) => panic!("{case} needs {power}, which the store lacks"),
        }
    }
    assert!(unnoticed.is_empty(), "{fault:?} passes {unnoticed:#?}");
}

/// Runs a case, which has to end by itself whatever the store does.
fn run_bounded(fault: Fault, case: &'static Case) -> Outcome {
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        let outcome = if case.needs.contains(&Power::Processes) {
            processes::run(Some(fault), case)
        } else {
            run_case(&ControlHarness { fault: Some(fault) }, case)
        };
        // Nobody listens any more where the case took too long.
        let _ = done.send(outcome);
    });
    match outcome.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{case} panicked on {fault:?}"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{case} does not end on {fault:?}"),
    }
}

/// The cases that run on every control where the matrix is wanted. The others take long or wait, and
/// run on the controls they name; elsewhere the table has no line of them.
fn quick_cases() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| {
        !SLOW_GROUPS.contains(&case.group)
            && !SLOW_CASES.contains(&case.id)
            && !case.needs.contains(&Power::Processes)
    })
}

fn report(control: &Control, case: &Case, outcome: &str) {
    let Some(folder) = env::var_os(TABLE) else {
        return;
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();
    let line = format!("{}\t{}\t{outcome}\n", control.name, case.id);
    // One write to a file opened for appending: lines of tests that run at once do not mix.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("controls.tsv"))
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
}

fn every_case_is_named() {
    let named: BTreeSet<&str> = CONTROLS
        .iter()
        .flat_map(|control| control.cases)
        .copied()
        .collect();
    let unproven: Vec<String> = CASES
        .iter()
        .filter(|case| !named.contains(case.id))
        .map(ToString::to_string)
        .collect();
    assert!(
        unproven.is_empty(),
        "no broken store is named by {unproven:#?}"
    );
}

fn every_control_is_named() {
    for control in CONTROLS {
        assert!(!control.cases.is_empty(), "{}", control.name);
        assert_eq!(
            control.named().count(),
            control.cases.len(),
            "{}",
            control.name
        );
    }
}
