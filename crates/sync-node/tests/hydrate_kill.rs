//! A hydration that is killed at any moment loses nothing, repeats nothing, and ends as one that
//! was not; two on one file do not disturb each other.
//!
//! `KILLS=n cargo test -p sync-node --test hydrate_kill -- --nocapture` kills n times, 30 unless
//! told: each kill is followed by a recount of up to 100,000 rows.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pollster::block_on;
use serde_json::Value;
use sync_hydrate::{Phase, Status};
use sync_mdip_simulator::{Config, Gatekeeper, Log, generate};
use sync_store::sqlite::{SqliteBackend, SqliteConfig, SqliteStore};
use sync_store::{
    Backend, Durability, FeedCursor, FeedKind, Known, Limit, OpId, Operation, Payloads, SpaceName,
    Stats, SyncOrder, SyncStore, SyncStoreExt, TimeRange, TombstoneReason,
};

/// A Gatekeeper with a log of so many operations, and the position of its last row. Its snapshot is
/// from the middle of it.
fn gatekeeper(operations: u32) -> (Gatekeeper, u64) {
    let began = Instant::now();
    let mut log = Log::from_rows(generate(Config::new(5, operations))).unwrap();
    let newest = log.newest();
    log.snapshot_at(newest * 3 / 5);
    println!("a log of {newest} rows is made in {:?}", began.elapsed());
    (Gatekeeper::start(log).unwrap(), newest)
}

fn config(file: &Path) -> SqliteConfig {
    SqliteConfig::new(file).durability(Durability::Process)
}

fn migrated(file: PathBuf) -> PathBuf {
    let _ = block_on(SqliteBackend::migrate(&config(&file))).unwrap();
    file
}

/// The space as a reader has it that writes nothing, so that the next process finds what the killed
/// one left.
fn open(file: &Path) -> SqliteStore {
    let backend = block_on(SqliteBackend::connect(config(file).read_only(true))).unwrap();
    let space = SpaceName::new("default").unwrap();
    block_on(backend.open(&space)).unwrap()
}

/// A process that fills the file. It says a line after every page.
fn hydrate(file: &Path, gatekeeper: &Gatekeeper) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-node"));
    let ours = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("SYNC_NODE_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    let name = file.file_name().unwrap().to_str().unwrap();
    command
        .current_dir(file.parent().unwrap())
        .args(["hydrate", "--json", "--progress-every", "0s"])
        .args(["--store", &format!("sqlite:{name}?durability=normal")])
        .args(["--from", gatekeeper.url()])
        .stdin(Stdio::null());
    command
}

/// Fills the file to the end, and answers the report.
fn fill(file: &Path, gatekeeper: &Gatekeeper) -> Value {
    report(hydrate(file, gatekeeper).stderr(Stdio::null()))
}

fn report(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{out}");
    serde_json::from_str(&out).unwrap()
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start, whatever it has done until then.
    Early(Duration),
    /// So long after it has said so many lines, or after its end where that comes first.
    Lines(u64, Duration),
}

/// Starts a process, kills it, and waits for its end.
fn kill(file: &Path, gatekeeper: &Gatekeeper, moment: Moment) {
    let mut child = hydrate(file, gatekeeper)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    match moment {
        Moment::Early(after) => thread::sleep(after),
        Moment::Lines(lines, after) => {
            await_lines(&mut child, lines);
            thread::sleep(after);
        }
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(
        status.code().is_none_or(|code| code == 0),
        "it failed: {status}"
    );
}

fn await_lines(child: &mut Child, lines: u64) {
    let mut said = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    for _ in 0..lines {
        let Some(line) = said.next() else { return };
        let line = line.unwrap();
        assert!(
            line.contains(" record, ") || line.contains(" records, "),
            "{line}"
        );
    }
}

/// How far a file is, in an order that only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Left {
    stage: Stage,
    /// Rows in the snapshot, the position in the log later.
    at: u64,
    /// The pass of the backfill, and its position.
    pass: u8,
    walked: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Nothing,
    Snapshot,
    Log,
    Current,
}

/// How far the state says that the file is; during the snapshot its rows say it.
fn left(status: Option<&Status>, counters: Stats) -> Left {
    let Some(status) = status else {
        assert_eq!(counters.total, 0, "rows without a position");
        return Left::default();
    };
    let (stage, pass) = match status.phase {
        Phase::Snapshot => (Stage::Snapshot, 0),
        Phase::Collect => (Stage::Log, 1),
        Phase::Order => (Stage::Log, 2),
        Phase::Settle => (Stage::Log, 3),
        Phase::Current => (Stage::Current, 4),
        other => panic!("no file is left in {other}"),
    };
    Left {
        stage,
        at: status.cursor.map_or(counters.total, SyncOrder::value),
        pass,
        walked: status.backfilled.map_or(0, SyncOrder::value),
    }
}

/// Recounts what a killed process left.
fn look(file: &Path) -> Left {
    let store = open(file);
    let report = block_on(store.verify()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let status = block_on(Status::load(&store)).unwrap();
    let left = left(status.as_ref(), report.stats);
    if left.stage == Stage::Snapshot {
        assert_eq!((report.stats.ordered, report.stats.tombstones), (0, 0));
    }
    if left.stage == Stage::Current {
        assert_eq!(report.stats.ordered, report.stats.total);
    }
    left
}

/// Where the kills came.
#[derive(Clone, Debug, Default)]
struct Distribution {
    before: u64,
    snapshot: u64,
    changes: u64,
    /// By pass.
    backfill: [u64; 3],
    after: u64,
    /// Files that were filled to the end.
    files: u64,
}

impl Distribution {
    fn count(&mut self, left: Left) {
        match (left.stage, left.pass, left.walked) {
            (Stage::Nothing, ..) => self.before += 1,
            (Stage::Snapshot, ..) => self.snapshot += 1,
            (Stage::Log, 1, 0) => self.changes += 1,
            (Stage::Log, pass, _) => self.backfill[usize::from(pass) - 1] += 1,
            (Stage::Current, ..) => self.after += 1,
        }
    }

    fn kills(&self) -> u64 {
        self.before + self.inside() + self.after
    }

    fn inside(&self) -> u64 {
        self.snapshot + self.changes + self.in_backfill()
    }

    fn in_backfill(&self) -> u64 {
        self.backfill.iter().sum()
    }

    /// Of every 20 kills 15 strictly inside, and 2 in the backfill.
    fn suffices(&self, kills: u64) -> bool {
        self.kills() >= kills
            && self.inside() * 20 >= kills * 15
            && self.in_backfill() * 20 >= kills * 2
    }
}

/// Kills processes that fill files, one file after another, until enough kills were counted.
fn lane(
    dir: &Path,
    seed: u64,
    gatekeeper: &Gatekeeper,
    expected: &Held,
    kills: u64,
    counted: &Mutex<Distribution>,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let suffices = || {
        let counted = counted.lock().unwrap();
        let too_many = counted.kills() >= 2 * kills + 20;
        assert!(
            !too_many,
            "the kills do not come where they should: {counted:?}"
        );
        counted.suffices(kills)
    };
    for number in 0.. {
        let file = migrated(dir.join(format!("lane {seed} {number}.db")));
        let mut before = Left::default();
        while before.stage != Stage::Current && !suffices() {
            let moment = if random.u8(0..40) == 0 {
                Moment::Early(Duration::from_micros(random.u64(0..30_000)))
            } else {
                let after = Duration::from_micros(random.u64(0..10_000));
                Moment::Lines(random.u64(1..=24), after)
            };
            kill(&file, gatekeeper, moment);
            let left = look(&file);
            assert!(left >= before, "{left:?} after {before:?}");
            counted.lock().unwrap().count(left);
            before = left;
        }
        fill(&file, gatekeeper);
        assert_eq!(look(&file).stage, Stage::Current);
        Held::of(&open(&file)).assert_same(expected, &format!("lane {seed}, file {number}"));
        counted.lock().unwrap().files += 1;
        std::fs::remove_file(&file).unwrap();
        if suffices() {
            return;
        }
    }
}

#[test]
fn after_a_kill_a_file_is_sound_and_a_resumed_hydration_ends_as_an_undisturbed_one() {
    let kills = std::env::var("KILLS").map_or(30, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let (gatekeeper, newest) = gatekeeper(100_000);
    let undisturbed = migrated(dir.path().join("undisturbed.db"));
    let began = Instant::now();
    let report = fill(&undisturbed, &gatekeeper);
    println!(
        "an undisturbed hydration takes {:?}: {report}",
        began.elapsed()
    );
    assert_eq!(report["cursor"], newest);
    assert_eq!(look(&undisturbed).stage, Stage::Current);
    let expected = Held::of(&open(&undisturbed));
    assert!(expected.rows.len() > 80_000 && expected.tombstones.len() > 500);

    let counted = Mutex::default();
    thread::scope(|scope| {
        for seed in [1, 2] {
            let (dir, gatekeeper, expected, counted) =
                (dir.path(), &gatekeeper, &expected, &counted);
            scope.spawn(move || lane(dir, seed, gatekeeper, expected, kills, counted));
        }
    });
    let counted = counted.into_inner().unwrap();
    println!(
        "{} kills in {:?}, seeds 1 and 2: {} before the first page, {} inside ({} in the snapshot, {} \
         in the changes, {:?} in the passes of the backfill), {} after the end; {} files filled",
        counted.kills(),
        began.elapsed(),
        counted.before,
        counted.inside(),
        counted.snapshot,
        counted.changes,
        counted.backfill,
        counted.after,
        counted.files
    );
}

#[test]
fn two_hydrations_of_one_file_count_their_conflicts_and_never_move_its_cursor_back() {
    let dir = tempfile::tempdir().unwrap();
    let (gatekeeper, _) = gatekeeper(20_000);
    let alone = migrated(dir.path().join("alone.db"));
    let shared = migrated(dir.path().join("shared.db"));
    assert_eq!(fill(&alone, &gatekeeper)["conflicts"], 0);

    let ended = AtomicBool::new(false);
    let (reports, seen) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let store = open(&shared);
            let mut seen = vec![Left::default()];
            while !ended.load(Ordering::Relaxed) {
                // The counters first: a status that is read later is never behind them.
                let counters = block_on(store.stats()).unwrap();
                let status = block_on(Status::load(&store)).unwrap();
                let now = match &status {
                    Some(_) => left(status.as_ref(), counters),
                    None => Left::default(),
                };
                assert!(
                    now >= seen[seen.len() - 1],
                    "{now:?} after {:?}",
                    seen.last()
                );
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
            }
            seen
        });
        let fill = || report(hydrate(&shared, &gatekeeper).stderr(Stdio::null()));
        let both = [scope.spawn(fill), scope.spawn(fill)];
        let reports = both.map(|one| one.join().unwrap());
        ended.store(true, Ordering::Relaxed);
        (reports, reader.join().unwrap())
    });
    let conflicts = reports
        .each_ref()
        .map(|report| report["conflicts"].as_u64().unwrap());
    println!(
        "conflicts: {conflicts:?}; a reader saw {} places",
        seen.len()
    );
    assert!(conflicts.iter().sum::<u64>() > 0);
    assert!(seen.len() > 20, "{seen:?}");
    assert_eq!(look(&shared).stage, Stage::Current);
    Held::of(&open(&shared)).assert_same(&Held::of(&open(&alone)), "two at once");
}

/// What a space holds that does not depend on how it came there.
struct Held {
    /// By time: the id, the order, and the digest of time, object and payload.
    rows: Vec<(OpId, Option<SyncOrder>, [u8; 16])>,
    /// Those that stand: why, and the source's position.
    tombstones: BTreeMap<OpId, (TombstoneReason, Option<SyncOrder>)>,
}

impl Held {
    fn of(store: &SqliteStore) -> Self {
        let digested = |operation: Operation| {
            (
                operation.id,
                operation.sync_order,
                *operation.digest().as_bytes(),
            )
        };
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let batch = store.scan_time(TimeRange::ALL, after, Limit::rows(5_000));
            let batch = block_on(batch).unwrap();
            rows.extend(batch.items.into_iter().map(|row| digested(row.operation)));
            after = batch.next;
            if after.is_none() {
                break;
            }
        }
        let (mut tombstones, mut cursor) = (BTreeMap::new(), FeedCursor::Beginning);
        loop {
            let page = block_on(store.feed(cursor, Limit::rows(5_000), Payloads::Skip)).unwrap();
            let ids: Vec<OpId> = page.entries.iter().map(|entry| entry.id).collect();
            let known = block_on(store.known(&ids)).unwrap();
            for (entry, known) in page.entries.iter().zip(known) {
                let in_effect = matches!(known, Known::Tombstoned { seq, .. } if seq == entry.seq);
                let FeedKind::Tombstone {
                    reason, source_seq, ..
                } = &entry.kind
                else {
                    continue;
                };
                if in_effect {
                    tombstones.insert(entry.id, (*reason, *source_seq));
                }
            }
            cursor = page.next;
            if !page.more {
                return Self { rows, tombstones };
            }
        }
    }

    #[track_caller]
    fn assert_same(&self, other: &Self, when: &str) {
        for (left, right) in self.rows.iter().zip(&other.rows) {
            assert_eq!(left, right, "{when}");
        }
        assert_eq!(self.rows.len(), other.rows.len(), "{when}");
        assert!(
            self.tombstones == other.tombstones,
            "{when}: the tombstones differ"
        );
    }
}
