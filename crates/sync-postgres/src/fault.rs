//! Hooks for tests: faults at statement boundaries, and what statements cost.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Called with a boundary's name; an error is the fault.
pub type Hook = Arc<dyn Fn(&'static str) -> sync_core::Result<()> + Send + Sync>;

/// What the statements of a backend's connections cost.
#[derive(Clone, Default)]
pub struct Work(Arc<Mutex<BTreeMap<&'static str, Cost>>>);

/// What one statement cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often it ran.
    pub runs: u64,
    /// Entries of indexes and rows of tables that it read, and rows that it wrote, over all runs.
    pub rows: u64,
}

impl Work {
    /// What every statement, by its name, has cost since the last call.
    pub fn take(&self) -> BTreeMap<&'static str, Cost> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, name: &'static str, rows: u64) {
        let mut work = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = work.entry(name).or_default();
        cost.runs += 1;
        cost.rows += rows;
    }
}

/// The statement that answers what this session has read and written in our tables and indexes
/// since the server last collected its counts, which it does between transactions only.
pub(crate) fn touched(schema: &str) -> String {
    let schema = crate::statements::quoted(schema).replace('\'', "''");
    format!(
        "SELECT coalesce(sum(
           pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)
           + pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
           + pg_stat_get_xact_tuples_deleted(oid)), 0)
         FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'i', 't')"
    )
}
