use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sync_store::OpId;

use crate::count::Count;
use crate::failure::{Failure, Result};

/// Operations that one page decides about.
pub(crate) const PAGE: usize = 1_000;
/// The most errors that one message names; it counts the others.
const NAMED: usize = 100;

/// The operations that a command decides about.
#[derive(clap::Args, Debug)]
pub(crate) struct Operations {
    /// The operations, 64 hexadecimal digits each
    #[arg(required_unless_present = "file", value_name = "ID")]
    ids: Vec<OpId>,
    /// Read operations from this file, one id a line; - is standard input
    ///
    /// Blank lines and lines that begin with # are skipped. Nothing is changed if any other line is
    /// no id.
    #[arg(id = "file", long = "ids", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print what became of each operation, instead of counts alone
    #[arg(long)]
    pub(crate) verbose: bool,
}

/// Each operation once, and the line that names it where that is a file's.
pub(crate) type Ids = BTreeMap<OpId, Option<u64>>;

impl Operations {
    /// Reads the file. The failure names every line that is no id.
    pub(crate) fn read(&self) -> Result<Ids> {
        let mut ids: Ids = self.ids.iter().map(|id| (*id, None)).collect();
        let mut errors = Errors::default();
        if let Some(path) = &self.file {
            let mut lines = crate::dump::open(path)?;
            while let Some(line) = lines.next()? {
                let text = String::from_utf8_lossy(line.bytes.trim_ascii());
                if text.is_empty() || text.starts_with('#') {
                    continue;
                }
                match text.parse() {
                    Ok(id) => {
                        ids.entry(id).or_insert(Some(line.number));
                    }
                    Err(error) => errors.add(Some(line.number), &error),
                }
            }
        }
        errors.finish(|count| format!("{} cannot be read", Count(count, "line")))?;
        Ok(ids)
    }

    /// Whether standard input holds the ids.
    pub(crate) fn takes_stdin(&self) -> bool {
        self.file.as_deref() == Some(Path::new("-"))
    }
}

/// Errors that go into one message.
#[derive(Default)]
pub(crate) struct Errors {
    named: Vec<String>,
    count: usize,
}

impl Errors {
    /// Adds an error, with the line that it is about.
    pub(crate) fn add(&mut self, line: Option<u64>, error: &impl ToString) {
        self.count += 1;
        if self.named.len() < NAMED {
            let error = error.to_string();
            self.named.push(match line {
                Some(line) => format!("line {line}: {error}"),
                None => error,
            });
        }
    }

    /// Fails if there are errors; `what` begins the message, by their number.
    pub(crate) fn finish(self, what: impl FnOnce(usize) -> String) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut message = format!("{}: {}", what(self.count), self.named.join("; "));
        let more = self.count - self.named.len();
        if more > 0 {
            let _ = write!(message, "; and {more} more");
        }
        Err(Failure::input(message).and("nothing was changed"))
    }
}

/// Adds to a failure how many operations the pages before it decided.
pub(crate) fn after(done: usize, of: usize, failure: Failure) -> Failure {
    if done == 0 {
        return failure;
    }
    let of = Count(of, "operation");
    failure.and(format!(
        "{done} of {of} were done before, and stay so when the command is run again"
    ))
}
