//! Hooks for tests: faults at a page's boundaries, what scripts cost, and how pages are written.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Called with a boundary's name; an error is the fault.
pub type Hook = Arc<dyn Fn(&'static str) -> sync_core::Result<()> + Send + Sync>;

/// What the scripts of a backend cost.
#[derive(Clone, Default)]
pub struct Work(Arc<Mutex<BTreeMap<&'static str, Cost>>>);

/// What one script cost, or one round trip of a page that does without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often it ran.
    pub runs: u64,
    /// Values that its commands took and gave, over all runs. None of them does more than that, but
    /// for what a deeper index costs.
    pub values: u64,
}

impl Work {
    /// What every script, by its name, has cost since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, Cost> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self, script: &'static str, values: u64) {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = work.entry(script).or_default();
        cost.runs += 1;
        cost.values += values;
    }
}

/// How the pages of a backend were written, each under a word.
#[derive(Clone, Default)]
pub struct Ways(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Ways {
    /// How many pages were `watched`, how many were left to the `script`, and of those that were
    /// tried before, why, since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self, way: &'static str) {
        let mut ways = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *ways.entry(way).or_default() += 1;
    }
}
