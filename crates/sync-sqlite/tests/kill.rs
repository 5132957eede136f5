//! A process that is killed at any moment of a load or a sweep loses nothing and repeats nothing.
//!
//! `KILLS=n cargo test -p sync-sqlite --test kill -- --nocapture` kills n times.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{
    Backend, Bytes, Delete, Durability, Object, OpId, Operation, Page, SpaceName, StateKey,
    SyncOrder, SyncState, SyncStore, SyncStoreExt, TombstoneReason, Ts,
};
use sync_sqlite::rusqlite::{Connection, OpenFlags};
use sync_sqlite::{SqliteBackend, SqliteConfig, SqliteStore};

#[path = "common/child.rs"]
mod child;
#[path = "common/dump.rs"]
mod dump;

/// Operations of a load, and of each of its pages.
const TOTAL: u64 = 100_000;
const PAGE: u64 = 500;
/// The first page that also rejects an id: from there on every insert looks for tombstones.
const REJECTS_FROM: u64 = 160;

fn space() -> SpaceName {
    SpaceName::new("killed").unwrap()
}

fn cursor() -> StateKey {
    StateKey::new("cursor").unwrap()
}

fn id(n: u64) -> OpId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[24..].copy_from_slice(&n.to_be_bytes());
    OpId::new(bytes)
}

fn operation(n: u64) -> Operation {
    Operation {
        id: id(n),
        ts: Ts::new(1_700_000_000 + n * 7_919 % 50_000).unwrap(),
        object: n
            .is_multiple_of(3)
            .then(|| Object::new(format!("object {}", n % 16)).unwrap()),
        sync_order: n.is_multiple_of(2).then(|| SyncOrder::new(n + 1).unwrap()),
        payload: format!("the payload of operation {n}").into(),
    }
}

/// The page that follows position `at`: the next operations, orders for some of the page before,
/// a tombstone, and the cursor, expected where it was and set to where it will be.
fn page_after(at: Option<u64>) -> Page {
    let from = at.unwrap_or(0);
    let page = Page::new()
        .expect(cursor(), at.map(|at| at.to_string()))
        .upserts((from..from + PAGE).map(operation))
        .set(cursor(), (from + PAGE).to_string());
    let late = (from.saturating_sub(20)..from).filter(|n| n % 2 == 1);
    let page = late.fold(page, |page, n| {
        page.backfill(id(n), SyncOrder::new(n + 1).unwrap())
    });
    if from / PAGE < REJECTS_FROM {
        return page;
    }
    let never = Delete::new(id(TOTAL + from), TombstoneReason::Rejected);
    page.delete(never.at(SyncOrder::new(from).unwrap()).reject())
}

fn config(file: &Path) -> SqliteConfig {
    SqliteConfig::new(file).durability(Durability::Process)
}

fn open(config: SqliteConfig) -> (SqliteBackend, SqliteStore) {
    let backend = block_on(SqliteBackend::connect(config)).unwrap();
    let store = block_on(backend.open(&space())).unwrap();
    (backend, store)
}

fn position(store: &SqliteStore) -> Option<u64> {
    let value = block_on(store.load(&cursor())).unwrap()?;
    Some(str::from_utf8(&value).unwrap().parse().unwrap())
}

/// Loads from where the cursor stands to the end, calling `each` after every page.
fn load(store: &SqliteStore, mut each: impl FnMut()) {
    let mut at = position(store);
    while at != Some(TOTAL) {
        let _ = block_on(store.apply(page_after(at))).unwrap();
        at = Some(at.unwrap_or(0) + PAGE);
        each();
    }
}

/// Resets a space that was loaded to the end, and sweeps, calling `each` after every piece.
fn sweep(backend: &SqliteBackend, store: &SqliteStore, mut each: impl FnMut()) {
    if let Some(at) = position(store) {
        let page = Page::new().expect(cursor(), Some(at.to_string())).reset();
        let _ = block_on(store.apply(page)).unwrap();
    }
    while block_on(backend.sweep(1_000)).unwrap().more {
        each();
    }
}

/// The entry of the children. Does nothing when the tests are run.
#[test]
fn child_process() {
    let Some((role, file, _)) = child::called_as() else {
        return;
    };
    let (backend, store) = open(config(&file));
    let step = || eprintln!("step");
    match role.as_str() {
        "load" => load(&store, step),
        "sweep" => sweep(&backend, &store, step),
        other => panic!("no role {other}"),
    }
    eprintln!("done");
    // Lives until it is killed.
    loop {
        thread::park();
    }
}

/// When a child is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start, whatever it has done until then.
    Early(Duration),
    /// So long after it has committed so many steps, or after its end where that comes first.
    Steps(u64, Duration),
}

/// Starts a child, kills it, and waits for its end.
fn kill(role: &str, file: &Path, moment: Moment) {
    let mut child = child::child("child_process", role, file, "")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match moment {
        Moment::Early(after) => thread::sleep(after),
        Moment::Steps(steps, after) => {
            await_steps(&mut child, steps);
            thread::sleep(after);
        }
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

fn await_steps(child: &mut Child, steps: u64) {
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let mut said = Vec::new();
    for _ in 0..steps {
        match lines.next() {
            Some(Ok(line)) if line == "step" => {}
            Some(Ok(line)) if line == "done" => return,
            other => {
                // It panics: what it says is why.
                said.push(other);
                said.extend(lines.by_ref().map(Some));
                panic!("the child ended by itself: {said:?}");
            }
        }
    }
}

/// What a killed process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    position: Option<u64>,
    /// Rows of a former incarnation that wait for the sweep.
    garbage: u64,
}

/// Looks at the file without writing to it, so that the next process finds what the killed one
/// left: the space must be sound, and its rows exactly those that the cursor says.
fn look(file: &Path) -> Left {
    let (backend, store) = open(config(file).read_only(true));
    let position = position(&store);
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "at {position:?}: {:?}", report.findings);
    let rows = position.unwrap_or(0);
    assert_eq!(report.rows, rows, "rows, and what the cursor says");
    let rejected = (rows / PAGE).saturating_sub(REJECTS_FROM);
    assert_eq!(report.stats.tombstones, rejected, "tombstones at {rows}");
    drop((store, backend));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let garbage = Connection::open_with_flags(file, flags)
        .unwrap()
        .query_row(
            "SELECT count(*) FROM operation WHERE incarnation IN (SELECT incarnation FROM garbage)",
            [],
            |row| row.get::<_, i64>(0),
        )
        .unwrap();
    Left {
        position,
        garbage: garbage.cast_unsigned(),
    }
}

/// Where the kills came.
#[derive(Clone, Debug, Default)]
struct Distribution {
    before: u64,
    /// By tenths of the load.
    inside: [u64; 10],
    /// With a part of the rows swept.
    sweep: u64,
    after: u64,
}

impl Distribution {
    fn count(&mut self, left: Left) {
        match left {
            Left {
                garbage: 1..TOTAL, ..
            } => self.sweep += 1,
            Left {
                position: Some(TOTAL),
                ..
            } => self.after += 1,
            Left {
                position: Some(at @ 1..),
                ..
            } => {
                self.inside[usize::try_from(at * 10 / TOTAL).unwrap()] += 1;
            }
            Left { .. } => self.before += 1,
        }
    }

    fn kills(&self) -> u64 {
        self.before + self.inside() + self.sweep + self.after
    }

    fn inside(&self) -> u64 {
        self.inside.iter().sum()
    }

    /// Of every 20 kills 15 inside the load and 2 in a sweep.
    fn suffices(&self, kills: u64) -> bool {
        self.kills() >= kills && self.inside() * 20 >= kills * 15 && self.sweep * 20 >= kills * 2
    }
}

/// Kills loads and sweeps of one file until enough kills were counted, then loads it to the end.
fn lane(file: &Path, seed: u64, kills: u64, counted: &Mutex<Distribution>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut left = look(file);
    loop {
        {
            let counted = counted.lock().unwrap();
            if counted.suffices(kills) {
                break;
            }
            assert!(
                counted.kills() < 2 * kills,
                "the kills do not come where they should: {counted:?}"
            );
        }
        let sweeping = left.garbage > 0 && left.position.is_none() && random.bool();
        let (role, steps) = if left.position == Some(TOTAL) || sweeping {
            ("sweep", 1..=60)
        } else {
            ("load", 1..=36)
        };
        let moment = if random.u8(0..40) == 0 {
            Moment::Early(Duration::from_micros(random.u64(0..30_000)))
        } else {
            Moment::Steps(
                random.u64(steps),
                Duration::from_micros(random.u64(0..10_000)),
            )
        };
        kill(role, file, moment);
        left = look(file);
        counted.lock().unwrap().count(left);
    }
    let (backend, store) = open(config(file));
    if left.position == Some(TOTAL) {
        sweep(&backend, &store, || {});
    }
    load(&store, || {});
    while block_on(backend.sweep(100_000)).unwrap().more {}
    drop((backend, store));
    assert_eq!(
        look(file),
        Left {
            position: Some(TOTAL),
            garbage: 0
        }
    );
}

fn migrated(dir: &Path, name: &str) -> std::path::PathBuf {
    let file = dir.join(name);
    let _ = block_on(SqliteBackend::migrate(&config(&file))).unwrap();
    file
}

#[test]
fn after_a_kill_rows_and_cursor_agree_and_a_resumed_load_ends_as_an_undisturbed_one() {
    // The children that run this test by name have a role; none of them comes here.
    let kills = std::env::var("KILLS").map_or(200, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let undisturbed = migrated(dir.path(), "undisturbed.db");
    load(&open(config(&undisturbed)).1, || {});
    println!(
        "an undisturbed load of {TOTAL} operations takes {:?}",
        began.elapsed()
    );

    let counted = Mutex::default();
    let lanes = [1, 2].map(|seed| (seed, migrated(dir.path(), &format!("lane {seed}.db"))));
    thread::scope(|scope| {
        for (seed, file) in &lanes {
            let counted = &counted;
            scope.spawn(move || lane(file, *seed, kills, counted));
        }
    });
    let counted = counted.into_inner().unwrap();
    println!(
        "{} kills in {:?}: {} before the first page, {} inside the load (by tenths: {:?}), {} in a \
         sweep, {} after the end",
        counted.kills(),
        began.elapsed(),
        counted.before,
        counted.inside(),
        counted.inside,
        counted.sweep,
        counted.after
    );
    let expected = dump::dump(&open(config(&undisturbed)).1);
    assert_eq!(expected.rows.len() as u64, TOTAL);
    assert_eq!(expected.state[0].value, Bytes::from(TOTAL.to_string()));
    for (_, file) in &lanes {
        let found = dump::dump(&open(config(file)).1);
        assert!(found.rows == expected.rows, "the rows differ");
        assert_eq!(found.tombstones, expected.tombstones);
        assert_eq!(found.state, expected.state);
    }
}
