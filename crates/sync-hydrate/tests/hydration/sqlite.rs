//! The same on a database in a file.

use fastrand::Rng;
use pollster::block_on;
use sync_core::{Backend, SpaceName};
use sync_hydrate::Start;
use sync_sqlite::{Durability, SqliteBackend, SqliteConfig, SqliteStore};
use tempfile::TempDir;

use crate::kit::{
    Rig, Rule, assert_same, assert_same_end, dump, expected, finish_on, one_call_a_process,
    random_log, seeds,
};

struct File {
    config: SqliteConfig,
    _directory: TempDir,
}

impl File {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let config =
            SqliteConfig::new(directory.path().join("hydrate.db")).durability(Durability::Process);
        block_on(SqliteBackend::migrate(&config)).unwrap();
        Self {
            config,
            _directory: directory,
        }
    }

    /// A store with connections of its own, as a new process has it.
    fn open(&self) -> SqliteStore {
        block_on(async {
            let backend = SqliteBackend::connect(self.config.clone()).await.unwrap();
            let name = SpaceName::new("test").unwrap();
            backend.open(&name).await.unwrap()
        })
    }
}

#[test]
fn generated_logs_end_in_a_file_as_their_actions_say() {
    for seed in seeds("SQLite", 12) {
        let mut rng = Rng::with_seed(seed);
        let log = random_log(&mut rng, 150);
        let start = [Start::Log, Start::Snapshot][rng.usize(0..2)];
        let rig = Rig::new(log.clone()).start(start).limit(rng.u32(5..50));
        let rig = rig.rule(Rule::At(rng.u64(0..150)));
        let found = finish_on(&rig, File::new().open());
        assert_same_end(&found.end, &expected(&log), &format!("SEED={seed}"));
    }
}

#[test]
fn a_file_and_memory_hold_the_same_in_the_end() {
    let log = random_log(&mut Rng::with_seed(3), 300);
    for start in [Start::Log, Start::Snapshot] {
        let rig = Rig::new(log.clone())
            .start(start)
            .limit(40)
            .rule(Rule::At(120));
        let found = finish_on(&rig, File::new().open());
        assert_same(&found, &rig.finish(), &format!("{start:?}"));
    }
}

#[test]
fn hydration_of_a_file_goes_on_in_a_new_process_after_every_page() {
    let log = random_log(&mut Rng::with_seed(4), 60);
    let rig = Rig::new(log.clone()).limit(10).rule(Rule::At(30));
    let file = File::new();
    one_call_a_process(&rig, 1, || file.open());
    assert_same_end(&dump(&file.open()).end, &expected(&log), "after restarts");
}

#[test]
fn two_handles_on_one_file_fill_it_together() {
    let log = random_log(&mut Rng::with_seed(8), 120);
    let rig = Rig::new(log.clone()).limit(6).rule(Rule::At(60));
    let file = File::new();
    let mut runs = [0, 1].map(|_| rig.run_on(file.open()));
    std::thread::scope(|scope| {
        for run in &mut runs {
            scope.spawn(|| run.finish().unwrap());
        }
    });
    assert_same_end(&dump(&file.open()).end, &expected(&log), "two at once");
}
