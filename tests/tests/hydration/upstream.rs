use std::fs;
use std::path::PathBuf;

use sync_mdip_simulator::{Config, Log, generate};

/// A log, and what it comes to.
pub(crate) struct Upstream {
    pub(crate) log: Log,
    /// Rows with the DIDs that are private to the Gatekeeper, where that is known beforehand.
    pub(crate) all: Option<u64>,
    /// Rows without them.
    pub(crate) public: Option<u64>,
    /// Rows of the snapshot.
    pub(crate) snapshot: Option<u64>,
}

pub(crate) fn upstream() -> Upstream {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/gatekeeper");
    let directory =
        std::env::var_os("SYNC_MDIP_CAPTURE").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if !directory.exists() {
        println!("no capture here; with a generated log instead");
        let mut config = Config::new(3, 400);
        // What a reorganisation displaces only the log still tells of.
        config.shares.reorganisations = 0;
        let mut log = Log::from_rows(generate(config)).unwrap();
        log.snapshot_at(log.newest() / 2);
        return Upstream {
            log,
            all: None,
            public: None,
            snapshot: None,
        };
    }
    println!("with the capture in {}", directory.display());
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let changes = read("changes-from-zero-limit500.ndjson");
    let snapshot = read("snapshot-limit500.ndjson");
    Upstream {
        log: Log::from_captured(changes.lines(), snapshot.lines()).unwrap(),
        all: Some(3_207),
        public: Some(3_197),
        snapshot: Some(1_823),
    }
}
