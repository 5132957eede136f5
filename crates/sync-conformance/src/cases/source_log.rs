//! A source's log of additions and removals ends the same however its pieces arrive.
//!
//! What the store guarantees by itself: of an addition and a removal of one id the one with the
//! higher seq holds, whichever comes first. From this follows that a log in which additions and
//! removals of an id take turns ends the same
//!
//! - in its own order, in pages of any size, read again from any place;
//! - with all removals before all additions, each in any order;
//! - in any order in which no addition meets a row that an older addition left, that is, in which
//!   the removal between the two came before the newer of them;
//! - in any order at all, once it is followed by one pass in its own order;
//! - as a snapshot without orders, with the rest of the log behind it and the backfill of its
//!   beginning at any time.
//!
//! What it does not guarantee: that an addition which met the row of an older one is remembered
//! until the removal between them arrives. The row's order is the first position since its last
//! known removal, so the addition is an `OrderConflict`, and the late removal then deletes the
//! row. Hydration reads a log forwards, and again from a place before its cursor, so this does
//! not happen to it.

use std::collections::{BTreeMap, BTreeSet};

use sync_core::{Delete, Known, Object, OpId, Operation, Page, SyncOrder, TombstoneReason};

use crate::data::{id, object, order, ts};
use crate::failure::{Failure, Verdict, ensure_eq};
use crate::harness::Harness;
use crate::rig::{Connection, Rig, Space};

const IDS: u64 = 7;

/// One action of the source on one id; its seq is its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Action {
    seq: u64,
    n: u64,
    adds: bool,
}

/// What must stand under an id at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Live(Box<Operation>),
    Tombstoned(TombstoneReason, Option<SyncOrder>),
    Unknown,
}

fn object_of(n: u64) -> Object {
    object(format!("object {}", n % 3))
}

fn record(n: u64) -> Operation {
    Operation::new(id(n), ts(50 + n % 4), format!("record {n}")).about(object_of(n))
}

impl Action {
    fn at(self) -> SyncOrder {
        order(self.seq)
    }

    fn addition(self) -> Operation {
        record(self.n).at(self.at())
    }

    fn removal(self) -> Delete {
        Delete::new(id(self.n), TombstoneReason::Removed)
            .at(self.at())
            .of(object_of(self.n))
            .reject()
    }
}

/// Additions and removals of each id take turns, with gaps between the seqs.
fn random_log(random: &mut fastrand::Rng) -> Vec<Action> {
    let mut live = BTreeSet::new();
    let mut seq = 0;
    (0..random.usize(10..40))
        .map(|_| {
            seq += random.u64(1..4);
            let n = random.u64(0..IDS);
            let adds = !live.remove(&n);
            if adds {
                live.insert(n);
            }
            Action { seq, n, adds }
        })
        .collect()
}

/// What the log says: the last action of each id holds.
fn ends(log: &[Action]) -> Vec<End> {
    (0..IDS)
        .map(|n| match log.iter().rfind(|action| action.n == n) {
            Some(action) if action.adds => End::Live(Box::new(action.addition())),
            Some(action) => End::Tombstoned(TombstoneReason::Removed, Some(action.at())),
            None => End::Unknown,
        })
        .collect()
}

/// The page of the source with these actions, as hydration makes it.
fn page(actions: &[Action]) -> Page {
    let mut page = Page::new().replacing().reviving();
    for action in actions {
        if action.adds {
            page.upserts.push(action.addition());
        } else {
            page.deletes.push(action.removal());
        }
    }
    page
}

fn found<H: Harness>(space: &Space<'_, H>) -> Verdict<Vec<End>> {
    let ids: Vec<OpId> = (0..IDS).map(id).collect();
    let known = space.known(&ids)?;
    let rows = space.get(&ids)?;
    known
        .into_iter()
        .zip(rows)
        .map(|(known, row)| match (known, row) {
            (Known::Live { .. }, Some(row)) => Ok(End::Live(Box::new(row.operation))),
            (
                Known::Tombstoned {
                    reason, source_seq, ..
                },
                None,
            ) => Ok(End::Tombstoned(reason, source_seq)),
            (Known::Unknown, None) => Ok(End::Unknown),
            (known, row) => Err(Failure::new(format!("known as {known:?}, read as {row:?}"))),
        })
        .collect()
}

/// A log, where its arrangements go, and how often they went somewhere.
struct Trial<'a, 'h, H: Harness> {
    connection: &'a Connection<'h, H>,
    seed: u64,
    log: Vec<Action>,
    spaces: u64,
}

impl<H: Harness> Trial<'_, '_, H> {
    /// Applies pages to a space of their own and requires the log's end.
    fn ends_the_same(&mut self, how: &str, pages: Vec<Page>) -> Verdict {
        self.spaces += 1;
        let name = format!("log-{}-{}", self.seed, self.spaces);
        let space = self.connection.open(&name)?;
        for page in pages {
            let _ = space.apply(page)?;
        }
        let expected = ends(&self.log);
        let (seed, log) = (self.seed, &self.log);
        ensure_eq!(
            found(&space)?,
            expected,
            "seed {seed}, {how}, the log {log:?}"
        );
        let live = expected
            .iter()
            .filter(|end| matches!(end, End::Live(_)))
            .count() as u64;
        let stats = space.stats()?;
        ensure_eq!(
            (stats.total, stats.ordered),
            (live, live),
            "seed {seed}, {how}: counters"
        );
        space.audit()
    }
}

pub(crate) fn a_sources_actions_end_the_same_in_any_order<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(0x31b0 + seed);
        let log = random_log(&mut random);
        let mut trial = Trial {
            connection: &connection,
            seed,
            log: log.clone(),
            spaces: 0,
        };
        for size in [1, 2, 3, 7, log.len()] {
            let pages = log.chunks(size).map(page).collect();
            trial.ends_the_same(&format!("pages of {size}"), pages)?;
        }
        // Every page begins some actions before the end of the last one; then all once more.
        let overlapping = (0..log.len()).step_by(3).map(|from| {
            let from = from.saturating_sub(random.usize(0..6));
            page(log.get(from..log.len().min(from + 9)).unwrap_or_default())
        });
        let pages: Vec<Page> = overlapping.chain(log.chunks(4).map(page)).collect();
        trial.ends_the_same("pages that overlap, and the log again", pages)?;

        let (mut adds, mut removals): (Vec<Action>, Vec<Action>) =
            log.iter().copied().partition(|action| action.adds);
        random.shuffle(&mut adds);
        random.shuffle(&mut removals);
        let pages = removals.chunks(2).chain(adds.chunks(3)).map(page).collect();
        trial.ends_the_same("all removals, then all additions", pages)?;

        for _ in 0..4 {
            let pages = arrange(&log, &mut random);
            trial.ends_the_same(
                "any order in which no addition meets an older one's row",
                pages,
            )?;
        }

        let mut shuffled = log.clone();
        random.shuffle(&mut shuffled);
        let pages = shuffled.chunks(2).chain(log.chunks(5)).map(page).collect();
        trial.ends_the_same("any order, then the log", pages)?;

        for _ in 0..3 {
            let pages = from_snapshot(&log, &mut random)?;
            trial.ends_the_same("a snapshot, the rest of the log, and backfill", pages)?;
        }
    }
    Ok(())
}

/// Pages in random order, with repetitions, in which no addition meets the row of an older one.
fn arrange(log: &[Action], random: &mut fastrand::Rng) -> Vec<Page> {
    let mut pending: Vec<Action> = log.to_vec();
    let repeated: Vec<Action> = log
        .iter()
        .copied()
        .filter(|_| random.u8(0..3) == 0)
        .collect();
    pending.extend(repeated);
    random.shuffle(&mut pending);
    // The order of the row that stands, by id, and the highest removal that came.
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    let mut graves: BTreeMap<u64, u64> = BTreeMap::new();
    let mut pages = Vec::new();
    while !pending.is_empty() {
        let size = random.usize(1..=5).min(pending.len());
        let mut actions: Vec<Action> = pending.drain(..size).collect();
        // As the page acts: removals first.
        actions.sort_by_key(|action| action.adds);
        let mut page_of = Vec::new();
        for action in actions {
            let row = rows.get(&action.n).copied();
            if !action.adds {
                if row.is_none_or(|row| row < action.seq) {
                    rows.remove(&action.n);
                    let grave = graves.entry(action.n).or_default();
                    *grave = (*grave).max(action.seq);
                }
            } else if row.is_some_and(|row| row < action.seq) {
                // The removal between is still to come; this one waits for it.
                pending.push(action);
                continue;
            } else if row.is_none() && graves.get(&action.n).is_none_or(|at| *at < action.seq) {
                rows.insert(action.n, action.seq);
            }
            page_of.push(action);
        }
        pages.push(page(&page_of));
        random.shuffle(&mut pending);
    }
    pages
}

/// A snapshot of the log's state at a checkpoint, without orders; then the changes behind it,
/// among them, at random places, the two passes of the backfill up to the checkpoint.
fn from_snapshot(log: &[Action], random: &mut fastrand::Rng) -> Verdict<Vec<Page>> {
    let (before, behind) = log.split_at(random.usize(0..=log.len()));
    let mut snapshot = Page::new();
    let mut backfill = Vec::new();
    for (n, end) in (0..).zip(ends(before)) {
        match end {
            End::Live(operation) => {
                let Some(at) = operation.sync_order else {
                    return Err(Failure::new("an addition of the log without its position"));
                };
                snapshot.upserts.push(record(n));
                backfill.push(Page::new().backfill(id(n), at));
            }
            End::Tombstoned(_, Some(at)) => {
                let removal = Action {
                    seq: at.value(),
                    n,
                    adds: false,
                };
                backfill.push(Page::new().delete(removal.removal()));
            }
            End::Tombstoned(_, None) | End::Unknown => {}
        }
    }
    // Interrupted and begun again: some of it comes twice.
    let again: Vec<Page> = backfill.iter().filter(|_| random.bool()).cloned().collect();
    backfill.extend(again);
    let mut pages = vec![snapshot];
    let mut changes = behind.chunks(random.usize(1..=4)).map(page).peekable();
    let mut passes = backfill.into_iter().peekable();
    while changes.peek().is_some() || passes.peek().is_some() {
        let next = if random.bool() {
            changes.next()
        } else {
            passes.next()
        };
        pages.extend(next);
    }
    Ok(pages)
}
