//! The lines that tests leave behind.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail, ensure};

/// A case's id: its number in the catalogue with a letter where one number has several cases (`9`,
/// `31b`), or a letter of its own for what the catalogue does not number (`M1`). Ordered as a
/// reader counts, numbers first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CaseId {
    prefix: String,
    number: u32,
    suffix: String,
}

impl FromStr for CaseId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (prefix, rest) =
            text.split_at(text.find(|c: char| !c.is_ascii_uppercase()).unwrap_or(0));
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits);
        let number = number
            .parse()
            .with_context(|| format!("`{text}` is no case id: 9, 31b and M1 are"))?;
        Ok(Self {
            prefix: prefix.to_owned(),
            number,
            suffix: suffix.to_owned(),
        })
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through `pad`, so that a width in the format string applies.
        f.pad(&format!("{}{}{}", self.prefix, self.number, self.suffix))
    }
}

/// How a case ended on one backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// The backend declares that it lacks this capability, and the case asserted that.
    Unsupported(String),
}

impl FromStr for Outcome {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "passed" => Ok(Self::Passed),
            None if text == "failed" => Ok(Self::Failed),
            Some(("unsupported", capability)) if !capability.trim().is_empty() => {
                Ok(Self::Unsupported(capability.trim().to_owned()))
            }
            _ => bail!("`{text}` is no outcome: passed, failed and unsupported:CAPABILITY are"),
        }
    }
}

/// One case on one backend: `column, case, name, outcome, milliseconds`, separated by tabs. The
/// column is the backend's name, or another where one backend is judged in several configurations.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) column: String,
    pub(super) case: CaseId,
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) millis: u64,
}

impl FromStr for Record {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let [column, case, name, outcome, millis] = fields(line)?;
        Ok(Self {
            column: column.to_owned(),
            case: case.parse()?,
            name: name.to_owned(),
            outcome: outcome.parse()?,
            millis: millis
                .parse()
                .with_context(|| format!("`{millis}` are no milliseconds"))?,
        })
    }
}

/// One case on one broken store: `control, case, failed|passed`, separated by tabs.
#[derive(Debug)]
pub(super) struct ControlRecord {
    pub(super) control: String,
    pub(super) case: CaseId,
    /// The case failed, as it should: it noticed that the store is broken.
    pub(super) noticed: bool,
}

impl FromStr for ControlRecord {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let [control, case, outcome] = fields(line)?;
        let noticed = match outcome {
            "failed" => true,
            "passed" => false,
            _ => bail!("`{outcome}` is no outcome of a control: failed and passed are"),
        };
        Ok(Self {
            control: control.to_owned(),
            case: case.parse()?,
            noticed,
        })
    }
}

fn fields<const N: usize>(line: &str) -> Result<[&str; N]> {
    let fields: Vec<_> = line.split('\t').collect();
    let found = fields.len();
    let fields = <[&str; N]>::try_from(fields);
    fields
        .ok()
        .with_context(|| format!("expected {N} fields between tabs, found {found}"))
}

/// Reads a file of such lines. A last line without its end is a test that died while writing it.
pub(super) fn parse_lines<T: FromStr<Err = Error>>(text: &str) -> Result<Vec<T>> {
    ensure!(
        text.is_empty() || text.ends_with('\n'),
        "the last line is cut off"
    );
    let numbered = text.lines().zip(1..);
    numbered
        .map(|(line, n)| line.parse().with_context(|| format!("line {n}: `{line}`")))
        .collect()
}
