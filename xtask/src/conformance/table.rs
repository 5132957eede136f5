//! Cases by backends.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::backend::BackendName;

use super::record::{CaseId, Outcome, Record, parse_lines};

/// One row of the table: a case, and how it ended on each backend that ran it.
type Cells = BTreeMap<BackendName, Outcome>;

/// What the conformance tests of several backends left behind.
#[derive(Debug)]
pub(crate) struct Table {
    backends: Vec<BackendName>,
    cases: BTreeMap<(CaseId, String), Cells>,
    millis: BTreeMap<BackendName, u64>,
}

/// The counts of one backend's column.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: usize,
    failed: usize,
    unsupported: usize,
    missing: usize,
}

impl Table {
    /// Reads `<backend>.tsv` of each of `backends` in `folder`. A file that is not there is a
    /// column of missing cases.
    pub(super) fn read(folder: &Path, backends: &[BackendName]) -> Result<Self> {
        let mut table = Self::new(backends);
        for &backend in backends {
            let path = folder.join(format!("{backend}.tsv"));
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).context(path.display().to_string()),
            };
            table
                .add(backend, &text)
                .with_context(|| path.display().to_string())?;
        }
        Ok(table)
    }

    pub(super) fn new(backends: &[BackendName]) -> Self {
        Self {
            backends: backends.to_vec(),
            cases: BTreeMap::new(),
            millis: BTreeMap::new(),
        }
    }

    /// Takes in one backend's lines.
    pub(super) fn add(&mut self, backend: BackendName, text: &str) -> Result<()> {
        for record in parse_lines::<Record>(text)? {
            anyhow::ensure!(
                record.backend == backend.name(),
                "a line of `{}` in the file of {backend}",
                record.backend
            );
            *self.millis.entry(backend).or_default() += record.millis;
            let cells = self.cases.entry((record.case, record.name)).or_default();
            // A backend may run the suite once per configuration: the worst outcome stands.
            match cells.get(&backend) {
                Some(stood) if severity(stood) >= severity(&record.outcome) => {}
                _ => drop(cells.insert(backend, record.outcome)),
            }
        }
        Ok(())
    }

    /// Everything that keeps this table from being a success.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for &backend in &self.backends {
            let totals = self.totals(backend);
            if totals.passed + totals.failed + totals.unsupported == 0 {
                problems.push(format!("{backend}: no case ran"));
                continue;
            }
            for ((case, name), cells) in &self.cases {
                match cells.get(&backend) {
                    Some(Outcome::Failed) => {
                        problems.push(format!("{backend}: case {case} failed: {name}"));
                    }
                    None => problems.push(format!(
                        "{backend}: case {case} did not run, another backend's did: {name}"
                    )),
                    Some(Outcome::Passed | Outcome::Unsupported(_)) => {}
                }
            }
        }
        problems
    }

    fn totals(&self, backend: BackendName) -> Totals {
        let mut totals = Totals::default();
        for cells in self.cases.values() {
            match cells.get(&backend) {
                Some(Outcome::Passed) => totals.passed += 1,
                Some(Outcome::Failed) => totals.failed += 1,
                Some(Outcome::Unsupported(_)) => totals.unsupported += 1,
                None => totals.missing += 1,
            }
        }
        totals
    }
}

fn severity(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Passed => 0,
        Outcome::Unsupported(_) => 1,
        Outcome::Failed => 2,
    }
}

fn cell(outcome: Option<&Outcome>) -> String {
    match outcome {
        Some(Outcome::Passed) => "pass".to_owned(),
        Some(Outcome::Failed) => "FAIL".to_owned(),
        Some(Outcome::Unsupported(capability)) => format!("n/a ({capability})"),
        None => "MISSING".to_owned(),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = self
            .backends
            .iter()
            .map(|backend| {
                let cells = self
                    .cases
                    .values()
                    .map(|cells| cell(cells.get(backend)).len());
                cells
                    .chain([backend.name().len()])
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let columns = || self.backends.iter().zip(&widths);

        write!(f, "{:<6}", "case")?;
        for (backend, &width) in columns() {
            write!(f, "{:<width$}  ", backend.name())?;
        }
        writeln!(f, "promise")?;
        for ((case, name), cells) in &self.cases {
            write!(f, "{case:<6}")?;
            for (backend, &width) in columns() {
                write!(f, "{:<width$}  ", cell(cells.get(backend)))?;
            }
            writeln!(f, "{name}")?;
        }
        for &backend in &self.backends {
            let Totals {
                passed,
                failed,
                unsupported,
                missing,
            } = self.totals(backend);
            let millis = self.millis.get(&backend).copied().unwrap_or_default();
            writeln!(
                f,
                "{backend}: {passed} passed, {failed} failed, {unsupported} not applicable, \
                 {missing} missing; {}.{:03} s in cases",
                millis / 1000,
                millis % 1000,
            )?;
        }
        Ok(())
    }
}
