//! A takeover that is killed at any moment loses nothing, repeats nothing, and ends as one that was
//! not.
//!
//! `KILLS=n cargo test -p sync-node --test takeover_kill -- --nocapture` kills n times inside a
//! takeover, 12 unless told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pollster::block_on;
use serde_json::Value;
use sync_store::sqlite::{SqliteBackend, SqliteConfig};
use sync_store::{Backend, SpaceName, SyncStoreExt};
use sync_tests::mediator::{odd_rows, rows, write_file};

const ROWS: usize = 6_000;

struct Directory(tempfile::TempDir);

impl Directory {
    fn old(&self) -> PathBuf {
        self.0.path().join("operations.db")
    }

    fn command(store: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sync-node"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SYNC_NODE_") {
                command.env_remove(name);
            }
        }
        let store = format!("sqlite:{}?durability=normal", store.display());
        command
            .args(arguments)
            .env("SYNC_NODE_STORE", store)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn take_over(&self, store: &Path) -> Command {
        let from = format!("sqlite:{}", self.old().display());
        Self::command(store, &["take-over", &from, "--json"])
    }

    fn ok(store: &Path, arguments: &[&str]) -> String {
        done(Self::command(store, arguments).output().unwrap())
    }

    /// A store without a space.
    fn migrated(&self, name: &str) -> PathBuf {
        let store = self.0.path().join(name);
        Self::ok(&store, &["migrate"]);
        store
    }

    /// The complete dump, without its header, which names an epoch.
    fn dump(store: &Path) -> String {
        let dump = Self::ok(store, &["dump", "--all"]);
        dump.split_once('\n').unwrap().1.to_owned()
    }
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The rows that a killed process left, all of them sound, and how far its cursor is. Nothing is
/// written, so that the next process finds what the killed one left.
fn left(store: &Path) -> (u64, u64) {
    let config = SqliteConfig::new(store).read_only(true);
    let backend = block_on(SqliteBackend::connect(config)).unwrap();
    let space = SpaceName::new("default").unwrap();
    let store = block_on(backend.open(&space)).unwrap();
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let key = sync_store::StateKey::new(sync_takeover::CURSOR_KEY).unwrap();
    let cursor = block_on(sync_store::SyncState::load(&store, &key)).unwrap();
    let cursor = cursor.map_or(Value::Null, |value| serde_json::from_slice(&value).unwrap());
    (report.rows, cursor["done"].as_u64().unwrap_or_default())
}

#[test]
fn after_a_kill_a_store_is_sound_and_a_resumed_takeover_ends_as_an_undisturbed_one() {
    let kills = std::env::var("KILLS").map_or(12, |kills| kills.parse().unwrap());
    let directory = Directory(tempfile::tempdir().unwrap());
    let sound = rows(31, ROWS);
    write_file(&directory.old(), &[odd_rows(&sound), sound].concat());
    let before = std::fs::read(directory.old()).unwrap();
    let undisturbed = directory.migrated("undisturbed.db");
    let began = Instant::now();
    let report = done(directory.take_over(&undisturbed).output().unwrap());
    let whole = began.elapsed();
    println!("an undisturbed takeover takes {whole:?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["taken"], ROWS);
    let all = report["rows"].as_u64().unwrap() + 6;
    let expected = Directory::dump(&undisturbed);

    let mut random = fastrand::Rng::with_seed(1);
    let (mut early, mut inside, mut files) = (0, 0, 0);
    while inside < kills {
        let store = directory.migrated(&format!("{files}.db"));
        let mut reached = 0;
        while reached < all && inside < kills {
            let mut child = directory.take_over(&store).spawn().unwrap();
            // A random moment is the point of the test; most of it is spent inside the takeover.
            let part = random.u32(1..=60);
            std::thread::sleep(Duration::min(whole * part / 100, Duration::from_secs(20)));
            child.kill().unwrap();
            child.wait().unwrap();
            let (rows, done) = left(&store);
            assert!(done >= reached, "from {reached} back to {done}");
            assert!(
                rows <= done && rows + 5 + 6 >= done,
                "{rows} rows at {done}"
            );
            match done {
                0 => early += 1,
                done if done < all => inside += 1,
                _ => {}
            }
            assert!(early < 20 * kills, "no kill comes inside a takeover");
            reached = done;
        }
        let report = done(directory.take_over(&store).output().unwrap());
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["skipped"], reached);
        assert_eq!(
            (&report["present"], &report["ordersLeft"]),
            (&0.into(), &0.into())
        );
        assert!(Directory::dump(&store) == expected, "file {files} differs");
        files += 1;
    }
    assert!(
        std::fs::read(directory.old()).unwrap() == before,
        "the old file was written to"
    );
    println!("{early} kills before the first page, {inside} inside; {files} files filled");
}
