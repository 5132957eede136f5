//! Hooks for tests: faults at statement boundaries, and what statements cost.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

/// Called with a boundary's name; an error is the fault.
pub type Hook = Arc<dyn Fn(&'static str) -> sync_core::Result<()> + Send + Sync>;

/// What the statements of a backend's connections cost.
#[derive(Clone, Default)]
pub struct Work(Arc<Mutex<BTreeMap<String, Cost>>>);

/// What one statement cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// How often it ran.
    pub runs: u64,
    /// Steps of SQLite's virtual machine, over all runs.
    ///
    /// Every row that a statement visits in a table or an index, and every row it writes, costs at
    /// least one step, so that equal steps on a small and a large space mean equal rows.
    pub steps: u64,
}

impl Work {
    /// What every statement, by its text, has cost since the last call.
    pub fn take(&self) -> BTreeMap<String, Cost> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn count(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let work = self.clone();
        // SQLite counts a statement's steps from its preparation; a run's are the difference.
        let mut before = BTreeMap::new();
        let ended = move |event: TraceEvent<'_>| {
            let TraceEvent::Profile(statement, _) = event else {
                return;
            };
            let text = statement.sql().into_owned();
            let status = |of| u64::try_from(statement.get_status(of)).unwrap_or(0);
            let steps = status(StatementStatus::VmStep);
            // What ran for the first time was prepared anew, and its steps are all its own.
            let seen = before
                .insert(text.clone(), steps)
                .filter(|_| status(StatementStatus::Run) > 1);
            let mut work = work.0.lock().unwrap_or_else(PoisonError::into_inner);
            let cost = work.entry(text).or_default();
            cost.runs += 1;
            cost.steps += steps.saturating_sub(seen.unwrap_or(0));
        };
        connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_costs_the_same_prepared_anew_and_run_again() {
        const TEXT: &str = "SELECT value FROM json_each('[1,2,3]')";
        let work = Work::default();
        let mut connection = Connection::open_in_memory().unwrap();
        work.count(&mut connection).unwrap();
        let run = |cached: bool| {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
            let values = if cached {
                let mut statement = connection.prepare_cached(TEXT).unwrap();
                statement.query_map([], read).unwrap().count()
            } else {
                let mut statement = connection.prepare(TEXT).unwrap();
                statement.query_map([], read).unwrap().count()
            };
            assert_eq!(values, 3);
            work.take()[TEXT]
        };
        let first = run(false);
        assert!(first.steps > 3, "{first:?}");
        let others = [run(false), run(true), run(true), run(true), run(false)];
        assert_eq!(others, [first; 5]);
    }
}
