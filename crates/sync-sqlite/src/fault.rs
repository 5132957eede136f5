//! Hooks for tests: faults at the boundaries of a page, and what statements cost.
//!
//! Behind the feature `fault-injection`. Nothing here is part of the stable interface.

use std::collections::BTreeMap;

use rusqlite::trace::{TraceEvent, TraceEventCodes};
use rusqlite::{Connection, StatementStatus};

pub use sync_kit::fault::{Cost, Hook, Work};

/// Counts in `work` the steps of SQLite's virtual machine for each statement, by its text.
///
/// Every row that a statement visits in a table or an index, and every row it writes, costs at least
/// one step, so that equal steps on a small and a large space mean equal rows.
pub(crate) fn count(work: &Work, connection: &mut Connection) -> rusqlite::Result<()> {
    let work = work.clone();
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
        work.add(&text, steps.saturating_sub(seen.unwrap_or(0)));
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_costs_the_same_prepared_anew_and_run_again() {
        const TEXT: &str = "SELECT value FROM json_each('[1,2,3]')";
        let work = Work::default();
        let mut connection = Connection::open_in_memory().unwrap();
        count(&work, &mut connection).unwrap();
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
        assert!(first.units > 3, "{first:?}");
        let others = [run(false), run(true), run(true), run(true), run(false)];
        assert_eq!(others, [first; 5]);
    }
}
