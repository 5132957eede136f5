//! Cases by deliberately broken stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::record::{CaseId, ControlRecord, parse_lines};

/// Which broken store fails which case. A case that none fails proves nothing, and neither does a
/// store that fails none.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    /// In the order of the file's first mention.
    controls: Vec<String>,
    /// Per case, the controls it ran on and whether it noticed.
    cases: BTreeMap<CaseId, BTreeMap<usize, bool>>,
}

impl Controls {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut table = Self::default();
        for record in parse_lines::<ControlRecord>(text)? {
            let column = table.column(record.control);
            let noticed = table
                .cases
                .entry(record.case)
                .or_default()
                .entry(column)
                .or_default();
            *noticed |= record.noticed;
        }
        Ok(table)
    }

    /// The column of this control, the next free one if it has none yet.
    fn column(&mut self, control: String) -> usize {
        self.controls
            .iter()
            .position(|known| *known == control)
            .unwrap_or_else(|| {
                self.controls.push(control);
                self.controls.len() - 1
            })
    }

    /// Everything that keeps the controls from proving the suite.
    pub(crate) fn problems(&self) -> Vec<String> {
        if self.controls.is_empty() {
            return vec!["no control ran".to_owned()];
        }
        let unnoticed = |cells: &&BTreeMap<usize, bool>| !cells.values().any(|noticed| *noticed);
        let mut problems: Vec<_> = self
            .cases
            .iter()
            .filter(|(_, cells)| unnoticed(cells))
            .map(|(case, _)| format!("no broken store fails case {case}: it proves nothing"))
            .collect();
        let caught: BTreeSet<usize> = self
            .cases
            .values()
            .flatten()
            .filter_map(|(column, noticed)| noticed.then_some(*column))
            .collect();
        problems.extend(
            (0..)
                .zip(&self.controls)
                .filter(|(column, _)| !caught.contains(column))
                .map(|(_, control)| format!("no case fails on the broken store `{control}`")),
        );
        problems
    }

    /// One line for a summary.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} broken stores, {} cases",
            self.controls.len(),
            self.cases.len()
        )
    }
}

impl fmt::Display for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6}", "case")?;
        for number in 1..=self.controls.len() {
            write!(f, "{number:>3}")?;
        }
        writeln!(f)?;
        for (case, cells) in &self.cases {
            write!(f, "{case:<6}")?;
            for column in 0..self.controls.len() {
                let mark = match cells.get(&column) {
                    Some(true) => "x",
                    Some(false) => ".",
                    None => " ",
                };
                write!(f, "{mark:>3}")?;
            }
            writeln!(f)?;
        }
        writeln!(
            f,
            "x: the case fails on the broken store, .: it passes, blank: it did not run"
        )?;
        for (number, control) in (1..).zip(&self.controls) {
            writeln!(f, "{number:>3}  {control}")?;
        }
        Ok(())
    }
}
