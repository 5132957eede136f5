//! Valid change logs of any size.

mod content;
mod plan;
mod render;

use std::collections::VecDeque;
use std::num::NonZero;

use self::plan::{Plan, Step};
use self::render::Renderer;
use crate::Row;
use crate::log::uuid;

/// The rows that are signed together, on all threads.
const BLOCK: usize = 2048;

/// The properties of a generated log. One configuration makes one log, with any number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Everything random comes from it, the keys as well.
    pub seed: u64,
    /// The rows that accept an operation; 0 makes an empty log.
    pub operations: u32,
    /// How often each kind of row occurs.
    pub shares: Shares,
    /// The threads that sign; `None` for as many as the machine has cores.
    pub threads: Option<NonZero<usize>>,
}

/// How often each kind of row occurs in a generated log.
///
/// The first nine are weights: each is a share of their sum. A kind that is not possible yet (an update
/// before there is a DID) is left out; if no kind is possible, an agent is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Agents: DIDs with keys of their own.
    pub agents: u16,
    /// Assets: DIDs that an agent controls and signs for.
    pub assets: u16,
    /// Updates of either.
    pub updates: u16,
    /// Deactivations of either, by an operation of the type `delete`.
    pub deletes: u16,
    /// Removals of a DID, with one row for each of its events; of an agent only while it controls
    /// no asset.
    pub removals: u16,
    /// DIDs that were removed and are accepted again: half of the time with all operations they
    /// had, else with the first of them.
    pub additions: u16,
    /// Updates that displace the last one or two operations of their DID. No row tells of those.
    pub reorganisations: u16,
    /// Blocks of a registry.
    pub blocks: u16,
    /// Rows that export nothing but a position and a history.
    pub confirmations: u16,
    /// Of a thousand agents and of a thousand assets of public agents, how many are local. The
    /// assets of local agents all are.
    pub local: u16,
    /// Of a thousand updates of agents, how many change the key.
    pub rotations: u16,
    /// Of a thousand operations, how many have a date of up to 30 days before their neighbours'.
    pub late: u16,
}

impl Config {
    /// A log of so many operations with the usual [`Shares`].
    #[must_use]
    pub fn new(seed: u64, operations: u32) -> Self {
        Self {
            seed,
            operations,
            shares: Shares::default(),
            threads: None,
        }
    }
}

impl Default for Shares {
    /// Mostly what a deployed Gatekeeper's log holds, with enough of the rest to meet it in a few
    /// hundred operations.
    fn default() -> Self {
        Self {
            agents: 150,
            assets: 350,
            updates: 420,
            deletes: 20,
            removals: 12,
            additions: 8,
            reorganisations: 10,
            blocks: 10,
            confirmations: 20,
            local: 20,
            rotations: 250,
            late: 20,
        }
    }
}

/// Makes a log.
///
/// ```
/// use sync_mdip_simulator::{Change, Config, generate};
/// use sync_mdip::to_operation;
///
/// let rows = generate(Config::new(7, 20)).collect::<Vec<_>>();
/// let operations = rows.iter().filter_map(|row| match &row.change {
///     Change::Accepted { event, .. } => to_operation(event.operation().as_bytes(), None).ok(),
///     _ => None,
/// });
/// assert_eq!(operations.count(), 20);
/// assert_eq!(rows[0].seq, 1);
/// ```
#[must_use]
pub fn generate(config: Config) -> Generated {
    let available = || std::thread::available_parallelism().map_or(1, NonZero::get);
    Generated {
        renderer: Renderer::new(
            config.seed,
            config.shares.late,
            config.threads.map_or_else(available, NonZero::get),
        ),
        plan: Plan::new(config),
        ready: VecDeque::new(),
        seq: 0,
    }
}

/// The rows of a generated log, from position 1 on, made as they are asked for.
///
/// What happens is decided first, by one thread; then a block of rows is signed on all threads.
/// Memory is one block of rows and about 50 bytes for each operation made so far.
#[derive(Debug)]
pub struct Generated {
    plan: Plan,
    renderer: Renderer,
    ready: VecDeque<Row>,
    /// The position of the last row that is ready.
    seq: u64,
}

impl Generated {
    /// An epoch that follows from the seed, for writing or serving the log.
    #[must_use]
    pub fn epoch(&self) -> String {
        uuid(&mut fastrand::Rng::with_seed(self.renderer.seed()))
    }

    /// The position of the log's last row. It takes as long as deciding what happens, which is a
    /// small part of what signing takes.
    #[must_use]
    pub fn newest(&self) -> u64 {
        let mut plan = self.plan.clone();
        let mut steps = Vec::new();
        let mut newest = self.seq;
        while plan.extend(&mut steps) {
            newest += steps.len() as u64;
            steps.clear();
        }
        newest
    }

    fn fill(&mut self) {
        let mut steps: Vec<Step> = Vec::with_capacity(BLOCK);
        while steps.len() < BLOCK && self.plan.extend(&mut steps) {}
        let changes = self.renderer.render(&self.plan, &steps);
        self.ready.extend(changes.into_iter().map(|change| {
            self.seq += 1;
            Row {
                seq: self.seq,
                change,
            }
        }));
    }
}

impl Iterator for Generated {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ready.is_empty() {
            self.fill();
        }
        self.ready.pop_front()
    }
}
