//! Cases by backends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::backend::BackendName;
use crate::services::Services;

use super::record::{CaseId, Outcome, Record, parse_lines};

/// What the conformance tests of several backends left behind.
#[derive(Debug)]
pub(crate) struct Table {
    columns: BTreeSet<Column>,
    cases: BTreeMap<(CaseId, String), BTreeMap<Column, Outcome>>,
    millis: BTreeMap<Column, u64>,
    /// The server behind a column, by the column's rank.
    servers: BTreeMap<usize, String>,
}

/// A backend, or one of its configurations: `sqlite`, `sqlite-normal`. Those of one backend stand
/// together, backends in their own order, other stores last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    rank: usize,
    name: String,
}

impl Column {
    fn new(name: &str) -> Self {
        let rank = BackendName::ALL
            .iter()
            .position(|backend| name.starts_with(backend.name()));
        Self {
            rank: rank.unwrap_or(usize::MAX),
            name: name.to_owned(),
        }
    }
}

/// The counts of one column.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    passed: usize,
    failed: usize,
    unsupported: usize,
    missing: usize,
}

impl Table {
    /// Reads every `<column>.tsv` in `folder`. Each of `backends` has a column in any case: where
    /// its file is not there, all its cases are missing.
    pub(super) fn read(folder: &Path, backends: &[BackendName]) -> Result<Self> {
        let mut table = Self::new(backends);
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if stem == super::CONTROLS {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            table
                .add(&stem, &text)
                .with_context(|| path.display().to_string())?;
        }
        Ok(table)
    }

    pub(super) fn new(backends: &[BackendName]) -> Self {
        let columns = backends
            .iter()
            .map(|backend| Column::new(backend.name()))
            .collect();
        Self {
            columns,
            cases: BTreeMap::new(),
            millis: BTreeMap::new(),
            servers: BTreeMap::new(),
        }
    }

    /// Takes in the lines of one column.
    pub(super) fn add(&mut self, column: &str, text: &str) -> Result<()> {
        let name = column;
        let column = Column::new(name);
        for record in parse_lines::<Record>(text)? {
            ensure!(
                record.column == name,
                "a line of `{}` in the file of {name}",
                record.column
            );
            *self.millis.entry(column.clone()).or_default() += record.millis;
            let cells = self.cases.entry((record.case, record.name)).or_default();
            // A backend may run the suite more than once: the worst outcome counts.
            let worst = match cells.remove(&column) {
                Some(other) if severity(&other) > severity(&record.outcome) => other,
                _ => record.outcome,
            };
            cells.insert(column.clone(), worst);
        }
        self.columns.insert(column);
        Ok(())
    }

    /// Says which servers the backends ran on.
    pub(crate) fn name_servers(&mut self, services: &Services) {
        for (rank, backend) in (0..).zip(BackendName::ALL) {
            if let Some(version) = services.version(backend) {
                self.servers.insert(rank, version.to_owned());
            }
        }
    }

    /// Everything that keeps this table from being a success.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for column in &self.columns {
            let Column { name, .. } = column;
            if self.totals(column).ran() == 0 {
                problems.push(format!("{name}: no case ran"));
                continue;
            }
            for ((case, promise), cells) in &self.cases {
                match cells.get(column) {
                    Some(Outcome::Failed) => {
                        problems.push(format!("{name}: case {case} failed: {promise}"));
                    }
                    None => problems.push(format!(
                        "{name}: case {case} ran elsewhere, not here: {promise}"
                    )),
                    Some(Outcome::Passed | Outcome::Unsupported(_)) => {}
                }
            }
        }
        problems
    }

    fn totals(&self, column: &Column) -> Totals {
        let mut totals = Totals::default();
        for cells in self.cases.values() {
            match cells.get(column) {
                Some(Outcome::Passed) => totals.passed += 1,
                Some(Outcome::Failed) => totals.failed += 1,
                Some(Outcome::Unsupported(_)) => totals.unsupported += 1,
                None => totals.missing += 1,
            }
        }
        totals
    }
}

impl Totals {
    fn ran(&self) -> usize {
        self.passed + self.failed + self.unsupported
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
            .columns
            .iter()
            .map(|column| {
                let cells = self
                    .cases
                    .values()
                    .map(|cells| cell(cells.get(column)).len());
                cells.chain([column.name.len()]).max().unwrap_or_default()
            })
            .collect();
        let columns = || self.columns.iter().zip(&widths);

        write!(f, "{:<6}", "case")?;
        for (Column { name, .. }, &width) in columns() {
            write!(f, "{name:<width$}  ")?;
        }
        writeln!(f, "promise")?;
        for ((case, promise), cells) in &self.cases {
            write!(f, "{case:<6}")?;
            for (column, &width) in columns() {
                write!(f, "{:<width$}  ", cell(cells.get(column)))?;
            }
            writeln!(f, "{promise}")?;
        }
        for column in &self.columns {
            let Totals {
                passed,
                failed,
                unsupported,
                missing,
            } = self.totals(column);
            let millis = self.millis.get(column).copied().unwrap_or_default();
            let server = self.servers.get(&column.rank);
            let server = server.map_or_else(String::new, |server| format!(" on {server}"));
            writeln!(
                f,
                "{}{server}: {passed} passed, {failed} failed, {unsupported} not applicable, \
                 {missing} missing; {}.{:03} s in cases",
                column.name,
                millis / 1000,
                millis % 1000,
            )?;
        }
        Ok(())
    }
}
