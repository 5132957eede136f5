//! The suite's own test: stores that are broken in exactly one way, and the cases that notice.
//!
//! All of them are one sound store with one [`Fault`]; where a case needs other processes, that is
//! a file of `sync-sqlite`, which goes wrong around its calls. The sound store passes every case. Each
//! broken one is failed by every case that names it, and no case is left that none names: a case
//! that no broken store fails proves nothing.

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
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sync_conformance::{CASES, Case, Outcome, Power, run_case};

use crate::fault::{CONTROLS, Control, Fault};
use crate::harness::ControlHarness;

/// Longer than any case waits for a store that keeps silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The store with nothing wrong.
mod sound {
    sync_conformance::suite!(crate::harness::ControlHarness);
}

/// Requires that every case that names the control fails on it.
fn judge(fault: Fault) {
    let control = CONTROLS
        .iter()
        .find(|control| control.fault == fault)
        .unwrap();
    // Those that wait for a store that keeps silent at once; the others leave each other the
    // processors, which those that race need.
    let (waiting, working): (Vec<_>, Vec<_>) =
        control.named().partition(|case| case.group == "changed");
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
    let mut unnoticed = Vec::new();
    for (case, outcome) in outcomes {
        match outcome {
            Outcome::Failed(message) => {
                println!("{case}: {message}");
                report(control, case, "failed");
            }
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
        Err(_) => panic!("{case} does not end on {fault:?}"),
    }
}

fn report(control: &Control, case: &Case, outcome: &str) {
    let Some(folder) = env::var_os("SYNC_CONFORMANCE_TABLE") else {
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

#[test]
fn every_case_is_named_by_a_control() {
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

#[test]
fn every_control_is_named_by_cases_that_exist() {
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
