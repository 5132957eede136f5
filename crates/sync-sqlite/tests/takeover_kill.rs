//! A takeover that is killed leaves the old file or the new one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{Backend, ErrorKind, SpaceName, SyncStore, SyncStoreExt};
use sync_sqlite::rusqlite::Connection;
use sync_sqlite::{SqliteBackend, SqliteConfig, Takeover};

#[path = "common/child.rs"]
mod child;
#[path = "common/deployed.rs"]
mod deployed;

use deployed::Old;

fn space() -> SpaceName {
    SpaceName::new("mdip").unwrap()
}

/// What a file is after its takeover was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Old,
    New,
}

/// The entry of the children. Does nothing when the tests are run.
#[test]
fn child_process() {
    let Some((role, file, argument)) = child::called_as() else {
        return;
    };
    let new = file.with_extension("new");
    let last: u64 = argument.parse().unwrap();
    let reached = AtomicU64::new(0);
    let die_at = move |_: &'static str| {
        if reached.fetch_add(1, Ordering::SeqCst) == last {
            // As abrupt as a kill: nothing is flushed, closed or rolled back.
            std::process::abort();
        }
        Ok(())
    };
    let takeover = match role.as_str() {
        "copy" => {
            let config = SqliteConfig::new(new).on_boundary(Arc::new(die_at));
            Takeover::from_copy(file, config, space())
        }
        "in place" => {
            let config = SqliteConfig::new(file).on_boundary(Arc::new(die_at));
            Takeover::in_place(config, space())
        }
        other => panic!("no role {other}"),
    };
    let _ = block_on(takeover.run()).unwrap();
}

/// What a takeover in place left behind. An old file must be as it was.
fn left_in_place(old: &Path, rows: u64) -> Left {
    if let Err(error) = block_on(SqliteBackend::connect(SqliteConfig::new(old))) {
        assert_eq!(error.kind(), &ErrorKind::Foreign, "{error}");
    } else {
        return Left::New;
    }
    let connection = Connection::open(old).unwrap();
    // Whatever the deployed program does at its start, it can do, and finds everything.
    for statement in deployed::START {
        connection.execute_batch(statement).unwrap();
    }
    let count = |what: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {what}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("sqlite_schema WHERE sql IS NOT NULL"), 4);
    assert_eq!(count("operations").cast_unsigned(), rows);
    let intact: String = connection
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(intact, "ok");
    Left::Old
}

/// Looks at a file that was taken over in place, and finishes what a killed takeover left to do.
fn look_in_place(old: &Path, rows: u64) -> Left {
    let config = SqliteConfig::new(old);
    let left = left_in_place(old, rows);
    if left == Left::Old {
        let _ = block_on(Takeover::in_place(config.clone(), space()).run()).unwrap();
    }
    // Turns the log on where the kill came before that.
    let _ = block_on(SqliteBackend::migrate(&config)).unwrap();
    check(&config, rows);
    let connection = Connection::open(old).unwrap();
    let failed = deployed::START
        .iter()
        .find_map(|statement| connection.execute_batch(statement).err())
        .unwrap();
    assert!(
        failed.to_string().contains("views may not be indexed"),
        "{failed}"
    );
    let kept: i64 = connection
        .query_row("SELECT count(*) FROM taken_over_operations", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(kept.cast_unsigned(), rows);
    left
}

/// Looks at a file that was filled from a copy.
fn look_at_copy(old: &Path, rows: u64) -> Left {
    let config = SqliteConfig::new(old.with_extension("new"));
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    let stats = block_on(block_on(backend.open(&space())).unwrap().stats()).unwrap();
    let left = if stats.epoch.is_none() {
        assert_eq!(block_on(backend.spaces(None, 10)).unwrap(), []);
        let again = Takeover::from_copy(old, config.clone(), space());
        assert_eq!(block_on(again.run()).unwrap().taken, rows);
        Left::Old
    } else {
        Left::New
    };
    check(&config, rows);
    left
}

fn check(config: &SqliteConfig, rows: u64) {
    let backend = block_on(SqliteBackend::connect(config.clone())).unwrap();
    let store = block_on(backend.open(&space())).unwrap();
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.rows, rows);
    drop((store, backend));
    let mode: String = Connection::open(config.path())
        .unwrap()
        .pragma_query_value(None, "journal_mode", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

/// Kills a takeover at every boundary, from the first to the one after the last.
fn kill_at_every_boundary(role: &str, look: impl Fn(&Path, u64) -> Left) {
    const ROWS: u64 = 10;
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for boundary in 0_u64.. {
        let old = dir.path().join(format!("{boundary}.db"));
        deployed::write(&old, &deployed::generated(ROWS));
        let new = SqliteConfig::new(old.with_extension("new"));
        if role == "copy" {
            let _ = block_on(SqliteBackend::migrate(&new)).unwrap();
        }
        let status = child::child("child_process", role, &old, &boundary.to_string())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        let left = look(&old, ROWS);
        if status.success() {
            assert_eq!(left, Left::New);
            break;
        }
        seen.push(left);
    }
    let before = seen.iter().take_while(|left| **left == Left::Old).count();
    println!(
        "{role}: {} boundaries, the old file after a kill at the first {before}",
        seen.len()
    );
    assert!(
        seen.iter().skip(before).all(|left| *left == Left::New),
        "{seen:?}"
    );
    assert!(
        before as u64 > 2 * ROWS,
        "only {before} boundaries before the commit"
    );
}

#[test]
fn killed_at_any_boundary_in_place_it_leaves_the_old_file_or_the_new_one() {
    kill_at_every_boundary("in place", look_in_place);
}

#[test]
fn killed_at_any_boundary_from_a_copy_it_leaves_an_empty_space_or_a_full_one() {
    kill_at_every_boundary("copy", look_at_copy);
}

/// Rows of more bytes than the page cache holds: the file itself is written long before the commit.
#[test]
fn killed_at_any_moment_in_place_it_leaves_the_old_file_or_the_new_one() {
    const ROWS: u64 = 3_000;
    const KILLS: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    let pristine = dir.path().join("pristine.db");
    let rows: Vec<Old> = (0..ROWS)
        .map(|n| {
            let id = deployed::id(n);
            let json = format!(
                r#"{{"data":"{}","signature":{{"hash":"{id}"}}}}"#,
                "x".repeat(24_000)
            );
            Old::new(&id, Some(n.cast_signed()), 1_704_067_200, json)
        })
        .collect();
    deployed::write(&pristine, &rows);
    let run = |old: &Path, wait: Option<Duration>| {
        fs::copy(&pristine, old).unwrap();
        let began = Instant::now();
        let mut child = child::child("child_process", "in place", old, &u64::MAX.to_string())
            .spawn()
            .unwrap();
        if let Some(wait) = wait {
            thread::sleep(wait);
            child.kill().unwrap();
        }
        child.wait().unwrap();
        began.elapsed()
    };
    let old = dir.path().join("operations.db");
    let whole = run(&old, None);
    assert_eq!(look_in_place(&old, ROWS), Left::New);
    let (mut left_old, mut with_journal) = (0, 0);
    for n in 0..KILLS {
        for end in ["db", "db-journal", "db-wal", "db-shm"] {
            let _ = fs::remove_file(old.with_extension(end));
        }
        run(&old, Some(whole * (n + 1) / (KILLS + 1)));
        let journal = fs::metadata(old.with_extension("db-journal"));
        let journal = journal.is_ok_and(|journal| journal.len() > 0);
        match left_in_place(&old, ROWS) {
            Left::Old => {
                left_old += 1;
                with_journal += u32::from(journal);
            }
            Left::New => assert_eq!(look_in_place(&old, ROWS), Left::New),
        }
    }
    let _ = look_in_place(&old, ROWS);
    println!(
        "{KILLS} kills within {whole:?}: {left_old} left the old file, {with_journal} of them with \
         a journal to roll back, {} the new one",
        KILLS - left_old
    );
    assert!(with_journal > 0, "no kill came while the file was written");
}
