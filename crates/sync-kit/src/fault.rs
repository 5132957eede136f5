//! Hooks for tests: faults at the boundaries of a page, and counted work.
//!
//! Without the feature `fault-injection` they are empty and cost nothing.

use std::fmt;

use sync_core::{Error, ErrorKind, Result};

/// Called with a boundary's name; an error is the fault.
#[cfg(feature = "fault-injection")]
pub type Hook = std::sync::Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// The hook of a backend's configuration, where there is one.
#[derive(Clone, Default)]
pub struct Faults {
    #[cfg(feature = "fault-injection")]
    hook: Option<Hook>,
}

impl Faults {
    /// Calls `hook` at every boundary of a page.
    #[cfg(feature = "fault-injection")]
    pub fn at_boundaries(hook: Hook) -> Self {
        Self { hook: Some(hook) }
    }

    /// A boundary of a page: before a statement, or before the commit.
    #[cfg(feature = "fault-injection")]
    pub fn boundary(&self, name: &'static str) -> Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(name))
    }

    /// A boundary of a page: before a statement, or before the commit.
    #[cfg(not(feature = "fault-injection"))]
    #[expect(clippy::inline_always, reason = "nothing is left of it")]
    #[inline(always)]
    pub const fn boundary(&self, _: &'static str) -> Result<()> {
        Ok(())
    }

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
