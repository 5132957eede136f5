//! Runs of hydration, step by step or to the end.

use std::ops::RangeInclusive;

use pollster::block_on;
use sync_core::{Backend, SpaceName, SyncStore};
use sync_hydrate::{
    Advance, BackfillStep, HydrateConfig, Hydrator, Progress, Result, Start, Status,
};
use sync_memory::{MemoryBackend, MemoryConfig, MemoryStore};

use super::clock::Clock;
use super::dump::{Dump, End, assert_same_end, dump};
use super::log::{Entry, at};
use super::source::{LogSource, Rule};

/// No run of these tests takes as many steps: one that does goes round in circles.
pub(crate) const STEPS: usize = 5_000;

/// A source, a database in memory, and how the one is filled from the other.
pub(crate) struct Rig {
    pub(crate) clock: Clock,
    pub(crate) source: LogSource,
    pub(crate) config: HydrateConfig,
    backend: MemoryBackend,
}

/// A hydrator whose calls block.
pub(crate) struct Run<St> {
    pub(crate) hydrator: Hydrator<St, LogSource>,
    pub(crate) clock: Clock,
}

impl Rig {
    /// Begins with a snapshot, reads pages of 500.
    pub(crate) fn new(log: Vec<Entry>) -> Self {
        let clock = Clock::default();
        Self {
            source: LogSource::new(clock.clone(), log),
            clock,
            config: HydrateConfig::default(),
            backend: MemoryBackend::new(MemoryConfig::new()),
        }
    }

    pub(crate) fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// The same, from the log's beginning.
    pub(crate) fn log_only(self) -> Self {
        self.start(Start::Log)
    }

    /// The same, with pages of `limit`.
    pub(crate) fn limit(mut self, limit: u32) -> Self {
        self.config.page_limit = limit;
        self
    }

    /// The same, with a snapshot as `rule` says.
    pub(crate) fn rule(self, rule: Rule) -> Self {
        self.source.script().rule = rule;
        self
    }

    /// The same database, with another configuration of it.
    pub(crate) fn on(mut self, config: MemoryConfig) -> Self {
        self.backend = MemoryBackend::new(config);
        self
    }

    /// The same source, with a database of its own.
    pub(crate) fn fresh(&self) -> Self {
        Self {
            clock: self.clock.clone(),
            source: self.source.clone(),
            config: self.config.clone(),
            backend: MemoryBackend::new(MemoryConfig::new()),
        }
    }

    pub(crate) fn store(&self) -> MemoryStore {
        block_on(self.backend.open(&SpaceName::new("test").unwrap())).unwrap()
    }

    /// A hydrator as a new process has it.
    pub(crate) fn run(&self) -> Run<MemoryStore> {
        self.run_on(self.store())
    }

    pub(crate) fn run_on<St: SyncStore>(&self, store: St) -> Run<St> {
        Run {
            hydrator: Hydrator::new(store, self.source.clone(), self.config.clone()),
            clock: self.clock.clone(),
        }
    }

    pub(crate) fn dump(&self) -> Dump {
        dump(&self.store())
    }

    /// What the space holds when a new process has come to the end.
    #[track_caller]
    pub(crate) fn finish(&self) -> Dump {
        self.run().finish().unwrap();
        self.dump()
    }
}

impl<St: SyncStore> Run<St> {
    pub(crate) fn advance(&mut self) -> Result<Advance> {
        block_on(self.hydrator.advance(self.clock.now()))
    }

    pub(crate) fn backfill(&mut self) -> Result<BackfillStep> {
        block_on(self.hydrator.backfill(self.clock.now()))
    }

    pub(crate) fn progress(&self) -> &Progress {
        self.hydrator.progress()
    }

    /// Advances until there is nothing more to read now.
    pub(crate) fn reach_tip(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            if self.advance()? == Advance::AtTip {
                return Ok(());
            }
        }
        panic!("no tip after {STEPS} steps: {:?}", self.progress());
    }

    /// Walks the log until nothing is left to do now.
    pub(crate) fn walk(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            if self.backfill()? == BackfillStep::Done {
                return Ok(());
            }
        }
        panic!("no end after {STEPS} steps: {:?}", self.progress());
    }

    /// To the tip, then backfill. What the walk finds out may need one more of both.
    pub(crate) fn finish(&mut self) -> Result<()> {
        for _ in 0..2 {
            self.reach_tip()?;
            self.walk()?;
        }
        Ok(())
    }

    /// Advances until the snapshot is stored.
    pub(crate) fn past_snapshot(&mut self) -> Result<()> {
        for _ in 0..STEPS {
            if self.advance()? != Advance::Snapshot {
                return Ok(());
            }
        }
        panic!("no end of the snapshot after {STEPS} steps");
    }
}

/// Reads the source to its tip and walks its log with processes that end after one call each,
/// `pause` seconds after one another. Answers how many it took to the tip.
#[track_caller]
pub(crate) fn one_call_a_process<St: SyncStore>(
    rig: &Rig,
    pause: u64,
    open: impl Fn() -> St,
) -> usize {
    let newest = rig.source.log().last().map_or(0, |entry| entry.seq);
    let is_at_tip = || {
        rig.clock.pass(pause);
        rig.run_on(open()).advance().unwrap();
        let status = block_on(Status::load(&open())).unwrap().unwrap();
        status.cursor == Some(at(newest))
    };
    let calls = (1..STEPS).find(|_| is_at_tip()).unwrap();
    let is_done = || rig.run_on(open()).backfill().unwrap() == BackfillStep::Done;
    assert!((1..STEPS).any(|_| is_done()), "no end of the walk");
    calls
}

/// Runs a hydrator of `rig` on `store` to its end.
pub(crate) fn finish_on<St: SyncStore>(rig: &Rig, store: St) -> Dump {
    let mut run = rig.run_on(store);
    run.finish().unwrap();
    dump(run.hydrator.store())
}

/// Asserts that `log` ends as `expected` from its beginning, and over a snapshot at each position,
/// with pages of one and with large ones.
#[track_caller]
pub(crate) fn same_on_every_path(log: &[Entry], expected: &End) {
    let log = log.to_vec();
    let newest = log.last().map_or(0, |entry| entry.seq);
    for limit in [1, 500] {
        let found = Rig::new(log.clone()).log_only().limit(limit).finish();
        let context = format!("from zero, pages of {limit}");
        assert_same_end(&found.end, expected, &context);
    }
    for checkpoint in 0..=newest {
        for limit in [1, 500] {
            let rig = Rig::new(log.clone())
                .limit(limit)
                .rule(Rule::At(checkpoint));
            let context = format!("snapshot at {checkpoint}, pages of {limit}");
            assert_same_end(&rig.finish().end, expected, &context);
        }
    }
}

/// The seeds of a property: `SEED` and the ones after it, `SEEDS` of them.
pub(crate) fn seeds(of: &str, default: u64) -> RangeInclusive<u64> {
    let read = |name| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().unwrap())
    };
    let first = read("SEED").unwrap_or(1);
    let last = first + read("SEEDS").unwrap_or(default) - 1;
    println!("{of}: seeds {first} to {last}");
    first..=last
}
