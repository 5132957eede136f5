//! Sources for the program, and the contents of a space after hydration.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sync_mdip_simulator::{Capture, Config, Gatekeeper, Log, generate, write_capture};

use crate::node::{Node, Ran};

/// A log of so many operations without reorganisations, of which a log tells less than a snapshot.
pub(crate) fn log(operations: u32) -> Log {
    let mut config = Config::new(42, operations);
    config.shares.reorganisations = 0;
    // A few of everything also in a short log.
    config.shares.removals = 40;
    config.shares.additions = 30;
    config.shares.local = 100;
    Log::from_rows(generate(config)).unwrap()
}

/// A Gatekeeper that serves it, with a snapshot from the middle of it.
pub(crate) fn gatekeeper(mut log: Log) -> Gatekeeper {
    log.snapshot_at(log.newest() * 3 / 5);
    Gatekeeper::start(log).unwrap()
}

/// The log as a capture in the node's directory.
pub(crate) fn capture(node: &Node, log: &Log) -> PathBuf {
    let path = node.path("capture.ndjson");
    let capture = Capture {
        epoch: log.epoch().to_owned(),
        newest: Some(log.newest()),
        limit: 100,
    };
    let rows = log.rows().iter().cloned();
    write_capture(rows, &capture, File::create(&path).unwrap()).unwrap();
    path
}

/// The recorded answers of a real Gatekeeper, where they are at hand: from the directory that
/// `SYNC_MDIP_CAPTURE` names, else from `shared/data/gatekeeper` beside the workspace.
pub(crate) fn recorded() -> Option<PathBuf> {
    let directory = std::env::var_os("SYNC_MDIP_CAPTURE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/data/gatekeeper"
            ))
        },
        PathBuf::from,
    );
    directory
        .exists()
        .then(|| fs::canonicalize(directory).unwrap())
}

/// Runs `hydrate` with these arguments.
pub(crate) fn hydrate(node: &Node, arguments: &[&str]) -> Ran {
    node.run(&[&["hydrate"], arguments].concat())
}

/// Runs `hydrate`, whose Gatekeeper stops answering after so many more requests.
pub(crate) fn interrupted(node: &Node, gatekeeper: &Gatekeeper, requests: u64) -> Ran {
    let last = gatekeeper.requests() + requests;
    let ended = AtomicBool::new(false);
    // Slow enough to be stopped in time.
    gatekeeper.delay(Duration::from_millis(10));
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            while gatekeeper.requests() < last && !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            gatekeeper.fail_next(u32::MAX);
        });
        let limited = ["--page-limit", "10", "--attempts", "1", "--json"];
        let ran = hydrate(
            node,
            &[&["--from", gatekeeper.url()], &limited[..]].concat(),
        );
        ended.store(true, Ordering::Relaxed);
        ran
    });
    gatekeeper.fail_next(0);
    gatekeeper.delay(Duration::ZERO);
    ran
}

/// What a space holds that does not depend on how it came there.
#[derive(PartialEq)]
pub(crate) struct Holds {
    /// Each row's line of a dump, order included, by time.
    rows: Vec<String>,
    /// The tombstones in effect, with their reason and the source's position, by id.
    tombstones: BTreeMap<String, (String, Option<u64>)>,
}

pub(crate) fn holds(node: &Node) -> Holds {
    let listed = ["tombstones", "--json", "--limit", "1000000"];
    let listed = node.run(&listed).json();
    let in_effect = |tombstone: &&Value| tombstone["inEffect"] == true;
    let tombstones = listed["tombstones"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Holds {
        rows: node
            .run(&["dump"])
            .ok()
            .lines()
            .map(str::to_owned)
            .collect(),
        tombstones: tombstones
            .filter(in_effect)
            .map(|t| {
                (
                    text(&t["id"]),
                    (text(&t["reason"]), t["sourceSeq"].as_u64()),
                )
            })
            .collect(),
    }
}

impl Holds {
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    pub(crate) fn unordered(&self) -> usize {
        let is_unordered = |row: &&String| row.contains("\"syncOrder\":null");
        self.rows.iter().filter(is_unordered).count()
    }

    /// Fails with what differs first, instead of with everything.
    #[track_caller]
    pub(crate) fn assert_same(&self, other: &Self, when: &str) {
        let short = |row: &String| row.split(",\"payload\"").next().unwrap().to_owned();
        for (left, right) in self.rows.iter().zip(&other.rows) {
            assert!(
                left == right,
                "{when}: {} and {}",
                short(left),
                short(right)
            );
        }
        assert_eq!(self.rows.len(), other.rows.len(), "{when}");
        assert_eq!(self.tombstones, other.tombstones, "{when}");
    }
}
