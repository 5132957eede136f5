//! Hooks for tests: faults at the boundaries of a page, and counted work.
//!
//! Without the feature `fault-injection` they are empty and cost nothing.

use std::fmt;

use sync_core::{Error, ErrorKind, Result};

/// Called with a boundary's name; an error is the fault.
#[cfg(feature = "fault-injection")]
pub type Hook = std::sync::Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// What the tests of a backend ask of its configuration, if anything.
#[derive(Clone, Default)]
pub struct Faults {
    #[cfg(feature = "fault-injection")]
    hook: Option<Hook>,
    #[cfg(feature = "fault-injection")]
    work: Option<Work>,
    #[cfg(feature = "fault-injection")]
    ways: Option<Work>,
    #[cfg(feature = "fault-injection")]
    expects_new: bool,
}

#[cfg(feature = "fault-injection")]
impl Faults {
    /// Calls `hook` at every boundary of a page.
    pub fn at_boundaries(hook: Hook) -> Self {
        Self {
            hook: Some(hook),
            ..Self::default()
        }
    }

    /// Counts in `work` what statements or scripts cost.
    #[must_use]
    pub fn count_work(mut self, work: Work) -> Self {
        self.work = Some(work);
        self
    }

    /// Counts in `ways` how pages are written, where a backend has several ways.
    #[must_use]
    pub fn count_ways(mut self, ways: Work) -> Self {
        self.ways = Some(ways);
        self
    }

    /// Makes a backend expect of every page that it brings new operations only, also after pages
    /// that did not.
    #[must_use]
    pub fn expect_new(mut self) -> Self {
        self.expects_new = true;
        self
    }

    /// A boundary of a page: before a statement, or before the commit.
    pub fn boundary(&self, name: &'static str) -> Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(name))
    }

    /// Whether costs are counted.
    pub const fn counts_work(&self) -> bool {
        self.work.is_some()
    }

    /// Counts one run of a statement or script.
    pub fn cost(&self, name: &str, units: u64) {
        if let Some(work) = &self.work {
            work.add(name, units);
        }
    }

    /// Counts one page that was written in this way.
    pub fn way(&self, name: &str) {
        if let Some(ways) = &self.ways {
            ways.add(name, 0);
        }
    }

    /// Whether every page is expected to bring new operations only.
    pub const fn expects_new(&self) -> bool {
        self.expects_new
    }
}

#[cfg(not(feature = "fault-injection"))]
#[expect(clippy::inline_always, reason = "nothing is left of them")]
impl Faults {
    /// A boundary of a page: before a statement, or before the commit.
    #[inline(always)]
    pub const fn boundary(&self, _: &'static str) -> Result<()> {
        Ok(())
    }

    /// Whether costs are counted.
    #[inline(always)]
    pub const fn counts_work(&self) -> bool {
        false
    }

    /// Counts one run of a statement or script.
    #[inline(always)]
    pub const fn cost(&self, _: &str, _: u64) {}

    /// Counts one page that was written in this way.
    #[inline(always)]
    pub const fn way(&self, _: &str) {}

    /// Whether every page is expected to bring new operations only.
    #[inline(always)]
    pub const fn expects_new(&self) -> bool {
        false
    }
}

impl Faults {
    /// The boundary `committed`, between the commit and the answer: a fault there leaves the outcome
    /// unknown.
    pub fn committed(&self) -> Result<()> {
        self.boundary("committed")
            .map_err(|source| Error::new(ErrorKind::UnknownOutcome).with_source(source))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

#[cfg(feature = "fault-injection")]
pub use counted::{Cost, Work};

#[cfg(feature = "fault-injection")]
mod counted {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, PoisonError};

    /// What the statements or scripts of a backend cost, by name.
    #[derive(Clone, Debug, Default)]
    pub struct Work(Arc<Mutex<BTreeMap<String, Cost>>>);

    /// What one statement or script cost.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Cost {
        /// How often it ran.
        pub runs: u64,
        /// What it cost over all runs, in the unit that the backend names.
        pub units: u64,
    }

    impl Work {
        /// What each has cost since the last call.
        pub fn take(&self) -> BTreeMap<String, Cost> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// Counts one run of `name`.
        pub fn add(&self, name: &str, units: u64) {
            let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let cost = work.entry(name.to_owned()).or_default();
            cost.runs += 1;
            cost.units += units;
        }
    }
}
