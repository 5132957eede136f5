//! Runs that end early, run twice, or find another old database than the run before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pollster::block_on;
use sync_core::{Error, ErrorKind, Page, Retry, SyncStore};
use sync_memory::MemoryConfig;
use sync_takeover::{CURSOR_KEY, OldDatabase as _, TakeoverReport};
use sync_tests::mediator::{self, Row, rows};

use crate::{Old, before, done, everything, key, store, store_of, take_over, value, writer};

const ROWS: usize = 2_200;

/// Rows of which some are not taken.
fn some_rows() -> Vec<Row> {
    let mut rows = rows(3, ROWS);
    rows.extend(mediator::odd_rows(&rows));
    rows
}

/// The boundaries before and after the commit of the pages of a store, the `n`-th of which fails.
fn failing_at(n: u32) -> MemoryConfig {
    let met = AtomicU32::new(0);
    MemoryConfig::new().on_boundary(Arc::new(move |boundary| {
        let is_end = matches!(boundary, "commit" | "committed");
        if is_end && met.fetch_add(1, Ordering::SeqCst) == n {
            return Err(Error::new(ErrorKind::Unavailable));
        }
        Ok(())
    }))
}

#[test]
fn a_run_that_failed_before_or_after_any_commit_goes_on_where_it_was() {
    let old = Old::new(&some_rows());
    let undisturbed = store();
    let whole = take_over(old.open(), &undisturbed).unwrap();
    let mut failures = 0;
    loop {
        let store = store_of(failing_at(failures));
        let Err(error) = take_over(old.open(), &store) else {
            break;
        };
        assert_ne!(error.retry(), Retry::Never, "{error}");
        let (came, rows) = (done(&store), crate::rows(&store).len() as u64);
        let resumed = take_over(old.open(), &store).unwrap();
        // What is left is brought, no more, and what is not taken is told in full.
        assert_eq!((resumed.skipped, resumed.taken), (came, ROWS as u64 - rows));
        assert_eq!(resumed.refused, whole.refused);
        assert!(
            everything(&store) == everything(&undisturbed),
            "failed at {failures}"
        );
        failures += 1;
    }
    assert_eq!(failures, 2 * 5, "five pages");
}

#[test]
fn a_run_that_failed_while_it_read_goes_on_where_it_was() {
    let old = Old::new(&some_rows());
    let undisturbed = store();
    let _ = take_over(old.open(), &undisturbed).unwrap();
    let store = store();
    let mut places = vec![0];
    for batches in [2, 3, 7, 7, 10] {
        let fails = before(old.open(), |batch| {
            if batch == batches {
                return Err(Error::new(ErrorKind::Unavailable));
            }
            Ok(())
        });
        let error = take_over(fails, &store).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Unavailable);
        places.push(done(&store));
    }
    // The last whole page before the failure, and never less than before.
    assert_eq!(places, [0, 0, 500, 1_000, 1_000, 2_000]);
    assert_eq!(take_over(old.open(), &store).unwrap().skipped, 2_000);
    assert!(everything(&store) == everything(&undisturbed));
}

#[test]
fn a_run_over_what_was_brought_changes_nothing_and_lists_again_what_was_not_taken() {
    let old = Old::new(&some_rows());
    let store = store();
    let first = take_over(old.open(), &store).unwrap();
    let before = everything(&store);
    let again = take_over(old.open(), &store).unwrap();
    assert_eq!(again.skipped, first.rows + 6);
    assert_eq!((again.taken, again.present), (0, 0));
    assert_eq!(again.refused, first.refused);
    assert!(everything(&store) == before);
}

#[test]
fn two_runs_at_once_share_the_rows_and_repeat_none() {
    let old = Old::new(&some_rows());
    let undisturbed = store();
    let _ = take_over(old.open(), &undisturbed).unwrap();
    for meeting in [0, 2, 4, 8, 11] {
        let store = store();
        let mut other = None;
        let meets = before(old.open(), |batch| {
            if batch == meeting {
                other = Some(take_over(old.open(), &store)?);
            }
            Ok(())
        });
        let one = take_over(meets, &store).unwrap();
        let other: TakeoverReport = other.unwrap();
        assert_eq!(one.taken + other.taken, ROWS as u64, "at batch {meeting}");
        assert_eq!((one.present, other.present), (0, 0));
        assert!(everything(&store) == everything(&undisturbed));
    }
}

#[test]
fn two_threads_share_the_rows_and_repeat_none() {
    let old = Old::new(&some_rows());
    let store = store();
    let run = || take_over(old.open(), &store).unwrap();
    let reports = std::thread::scope(|scope| {
        [scope.spawn(run), scope.spawn(run)].map(|thread| thread.join().unwrap())
    });
    let taken: u64 = reports.iter().map(|report| report.taken).sum();
    assert_eq!(taken, ROWS as u64);
    assert_eq!(crate::rows(&store).len(), ROWS);
}

#[test]
fn after_a_change_of_the_old_database_all_of_it_is_brought_and_nothing_taken_back() {
    let all = rows(4, 1_400);
    let (early, late) = all.split_at(1_200);
    let old = Old::new(early);
    let store = store();
    let fails = before(old.open(), |batch| match batch {
        4 => Err(Error::new(ErrorKind::Unavailable)),
        _ => Ok(()),
    });
    let _ = take_over(fails, &store).unwrap_err();
    let brought = done(&store);
    assert_eq!(brought, 500);
    let first = crate::rows(&store);

    // The mediator goes on: rows come, some below what was read; one goes; one gets its order.
    let connection = writer(&old.path());
    for row in late {
        mediator::add_row(&connection, row);
    }
    let gone = first[0].id.to_string();
    let removed = "DELETE FROM operations WHERE id = ?1";
    connection.execute(removed, [&gone]).unwrap();
    let unordered = "SELECT id FROM operations WHERE sync_order IS NULL LIMIT 1";
    let unordered: String = connection
        .query_row(unordered, [], |row| row.get(0))
        .unwrap();
    let set = "UPDATE operations SET sync_order = 0 WHERE id = ?1";
    connection.execute(set, [&unordered]).unwrap();
    let cursor = "UPDATE sync_state SET value = '3300' WHERE key = 'index.changes.cursor'";
    connection.execute_batch(cursor).unwrap();
    drop(connection);

    let report = take_over(old.open(), &store).unwrap();
    assert_eq!((report.skipped, report.present), (0, brought - 1));
    assert_eq!(report.taken, 1_400 - brought);
    let rows = crate::rows(&store);
    assert_eq!(rows.len(), 1_400);
    let row = |id: &str| rows.iter().find(|row| row.id.to_string() == id).unwrap();
    assert!(
        row(&gone).sync_order.is_some(),
        "a takeover removes nothing"
    );
    assert_eq!(row(&unordered).sync_order.unwrap().value(), 0);
    assert_eq!(
        value(&store, "index.changes.cursor").as_deref(),
        Some("3300")
    );
}

#[test]
fn one_that_begins_with_another_old_database_ends_the_one_under_way() {
    let (one, other) = (Old::new(&rows(5, 1_200)), Old::new(&rows(6, 1_200)));
    let store = store();
    let meets = before(one.open(), |batch| {
        if batch == 3 {
            let _ = take_over(other.open(), &store)?;
        }
        Ok(())
    });
    let error = take_over(meets, &store).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert_eq!(error.retry(), Retry::Later);
    assert!(error.to_string().contains("another takeover"), "{error}");
    // Run again it brings the rest.
    let report = take_over(one.open(), &store).unwrap();
    assert_eq!((report.present, report.taken), (500, 700));
    assert_eq!(crate::rows(&store).len(), 2_400);
}

#[test]
fn a_reset_ends_the_one_under_way_and_the_next_begins_anew() {
    let old = Old::new(&rows(5, 1_200));
    let store = store();
    let meets = before(old.open(), |batch| {
        if batch == 4 {
            let _ = block_on(store.apply(Page::new().reset()))?;
        }
        Ok(())
    });
    let error = take_over(meets, &store).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert_eq!(take_over(old.open(), &store).unwrap().taken, 1_200);
}

#[test]
fn a_cursor_that_no_takeover_wrote_is_refused() {
    let old = Old::new(&rows(5, 10));
    let store = store();
    let _ = block_on(store.apply(Page::new().set(key(CURSOR_KEY), "7"))).unwrap();
    let error = take_over(old.open(), &store).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Corrupt, "{error}");
}

#[test]
fn equal_databases_have_equal_marks_and_others_do_not() {
    let sound = rows(7, 20);
    let mark = |change: &str| {
        let old = Old::new(&sound);
        writer(&old.path()).execute_batch(change).unwrap();
        old.open().contents().mark.clone()
    };
    let first = mark("");
    assert_eq!(first, mark(""));
    for change in [
        "UPDATE operations SET sync_order = 1 WHERE rowid = 3",
        "UPDATE operations SET sync_order = NULL",
        "UPDATE operations SET signed_ts = signed_ts + 1 WHERE rowid = 3",
        "UPDATE operations SET operation_json = operation_json || ' ' WHERE rowid = 3",
        "UPDATE operations SET id = upper(id) WHERE rowid = 3",
        "DELETE FROM operations WHERE rowid = 3",
        "UPDATE sync_state SET value = 'x' WHERE key = 'empty'",
        "DELETE FROM sync_state WHERE key = 'empty'",
    ] {
        assert_ne!(mark(change), first, "{change}");
    }
}
