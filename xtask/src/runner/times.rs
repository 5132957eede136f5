//! How long each test took in the last run here, so that the slowest can start first.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Durations by label, kept in a file of lines `milliseconds TAB label`.
pub(super) struct Times {
    path: PathBuf,
    millis: BTreeMap<String, u64>,
}

impl Times {
    /// Reads the file. One that is not there, or a line that is none, tells nothing.
    pub(super) fn load(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let millis = text.lines().filter_map(|line| {
            let (millis, label) = line.split_once('\t')?;
            Some((label.to_owned(), millis.parse().ok()?))
        });
        Self {
            millis: millis.collect(),
            path,
        }
    }

    /// How long it took last time. A test that has not run yet may be slow, and starts early.
    pub(super) fn expected(&self, label: &str) -> u64 {
        self.millis.get(label).copied().unwrap_or(u64::MAX)
    }

    pub(super) fn note(&mut self, label: &str, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.millis.insert(label.to_owned(), millis);
    }

    pub(super) fn save(&self) -> Result<()> {
        let mut text = String::new();
        for (label, millis) in &self.millis {
            writeln!(text, "{millis}\t{label}")?;
        }
        fs::write(&self.path, text).with_context(|| self.path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_back_and_an_unknown_test_starts_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times.tsv");
        let mut times = Times::load(path.clone());
        times.note("a b c::d", Duration::from_millis(1234));
        times.save().unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap() + "no line\n").unwrap();
        let times = Times::load(path);
        assert_eq!(times.expected("a b c::d"), 1234);
        assert_eq!(times.expected("a b c::e"), u64::MAX);
    }
}
