//! What a prune drops, what it spares, and what may run beside it.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use sync_core::{
    Delete, ErrorKind, FeedCursor, FeedEntry, FeedKind, Known, LiftOutcome, Limit, OpId, Page,
    Payloads, Pruned, Seq, TombstoneReason, UpsertOutcome,
};

use crate::cases::size::measure;
use crate::data::{id, ids, op, order, page_of, removed, seq};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err};
use crate::harness::Harness;
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space, finish};
use crate::walk::Follower;

const MANY: Limit = Limit::rows(1_000);

fn operators(id: OpId) -> Delete {
    Delete::new(id, TombstoneReason::Operator)
}

/// The ids of the feed's tombstones, by seq, with whether each was lifted.
fn tombstones<H: Harness>(space: &Space<'_, H>) -> Verdict<Vec<(OpId, bool)>> {
    let entries = space.entries(FeedCursor::Beginning, MANY)?;
    let tombstones = entries.iter().filter_map(|entry| match entry.kind {
        FeedKind::Tombstone { lifted, .. } => Some((entry.id, lifted)),
        FeedKind::Live { .. } => None,
    });
    Ok(tombstones.collect())
}

/// A row that an operator removed, one that a source had removed before, and an id that was refused
/// before it came stay refused, also after a restart. Tombstones of a source go.
pub(crate) fn a_prune_spares_what_an_operator_refused<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let refused = [id(0), id(1), id(7)];
    let _ = space.apply(page_of(0..4).delete(removed(id(8)).reject()))?;
    let _ = space.apply(Page::new().delete(removed(id(1))))?;
    let _ = space.apply(page_of(1..2).reviving())?;
    // The operator's delete of 3 meets a source's tombstone, which stays a source's.
    let page = Page::new()
        .delete(removed(id(3)))
        .delete(operators(id(0)).at(order(5)))
        .delete(operators(id(1)))
        .delete(operators(id(7)).reject())
        .delete(operators(id(3)));
    let _ = space.apply(page)?;
    let cursor = space.cursor()?;
    let kept = space.known(&refused)?;
    let Pruned { floor, dropped } = space.prune(Seq::MAX)?;
    let head = space.stats()?.head;
    ensure_eq!(
        (floor, dropped),
        (head, 3),
        "(floor, dropped) of a prune of three tombstones of a source and three of an operator"
    );
    ensure_eq!(
        space.stats()?.tombstones,
        3,
        "the counter of tombstones after the prune"
    );
    ensure_eq!(
        tombstones(&space)?,
        refused.map(|id| (id, false)),
        "(id, lifted) of the tombstones that the feed shows from the beginning"
    );
    ensure_eq!(
        space.entries(cursor, MANY)?.len(),
        0,
        "entries for a reader that had seen everything"
    );
    drop(space);
    let space = db.space()?;
    ensure_eq!(
        space.known(&refused)?,
        kept,
        "what is known of the ids that an operator refused"
    );
    ensure_eq!(
        space.known(&[id(3), id(8)])?,
        [Known::Unknown; 2],
        "what is known of the ids that a source removed"
    );
    for page in [
        Page::new(),
        Page::new().reviving(),
        Page::new().reviving().replacing(),
    ] {
        let page = page.upserts([0, 1, 7].map(|n| op(n).at(order(9))));
        ensure_eq!(
            space.apply(page)?.upserts,
            [UpsertOutcome::Tombstoned; 3],
            "upserts of what an operator refused"
        );
    }
    // Pruned again, nothing is left to drop.
    ensure_eq!(
        space.prune(Seq::MAX)?.dropped,
        0,
        "tombstones that a second prune dropped"
    );
    let inserted = space.apply(Page::new().upserts([op(3), op(8)]))?;
    ensure_eq!(
        inserted.upserts,
        [UpsertOutcome::Inserted; 2],
        "upserts of what a source removed and a prune dropped"
    );
    space.audit()
}

/// The veto is gone, so the next prune takes the entry, whether it was lifted before the floor rose
/// past it or after.
pub(crate) fn a_prune_drops_what_an_operator_lifted<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let refused = (0..3).fold(Page::new(), |page, n| {
        page.delete(operators(id(n)).reject())
    });
    let _ = space.apply(refused)?;
    let _ = space.apply(Page::new().lift(id(0)))?;
    ensure_eq!(
        space.prune(Seq::MAX)?.dropped,
        1,
        "tombstones dropped by a prune behind a lift"
    );
    ensure_eq!(
        tombstones(&space)?,
        [(id(1), false), (id(2), false)],
        "(id, lifted) of the tombstones that are left"
    );
    let applied = space.apply(Page::new().lift(id(0)).lift(id(1)))?;
    ensure_eq!(
        applied.lifts,
        [LiftOutcome::NotTombstoned, LiftOutcome::Lifted],
        "lifts of a dropped tombstone and of a spared one"
    );
    ensure_eq!(
        tombstones(&space)?,
        [(id(1), true), (id(2), false)],
        "(id, lifted) of the tombstones below the floor after a lift"
    );
    drop(space);
    let space = db.space()?;
    ensure_eq!(
        space.prune(Seq::ZERO)?.dropped,
        1,
        "tombstones dropped by the prune behind the second lift"
    );
    ensure_eq!(
        tombstones(&space)?,
        [(id(2), false)],
        "(id, lifted) of the tombstones at last"
    );
    ensure_eq!(
        space.known(&ids(0..2))?,
        [Known::Unknown; 2],
        "what is known of the lifted ids"
    );
    space.audit()
}

pub(crate) fn a_reset_ends_what_a_prune_spared<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(Page::new().delete(operators(id(0)).reject()))?;
    let _ = space.prune(Seq::MAX)?;
    let _ = space.apply(Page::new().reset())?;
    ensure_eq!(
        space.stats()?.tombstones,
        0,
        "the counter of tombstones after a reset"
    );
    ensure_eq!(tombstones(&space)?, [], "the tombstones after a reset");
    drop(space);
    let space = db.space()?;
    ensure_eq!(
        space.apply(page_of(0..1))?.upserts,
        [UpsertOutcome::Inserted],
        "an upsert of what an operator refused before the reset"
    );
    space.audit()
}

/// A prune works in pieces. One that began each piece at the beginning would read what it spares
/// again for every thousand tombstones it drops.
pub(crate) fn a_prune_reads_what_it_spares_once<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const SPARED: u64 = 3_000;
    const DROPPED: u64 = 20_000;
    let db = rig.fresh()?;
    let (connection, meter) = db.connect_counting()?;
    let cost = |name: &str, spared: u64, dropped: u64| -> Verdict<u64> {
        let space = connection.open(name)?;
        let page = (0..spared).fold(Page::new(), |page, n| {
            page.delete(operators(id(n)).reject())
        });
        let page =
            (spared..spared + dropped).fold(page, |page, n| page.delete(removed(id(n)).reject()));
        let _ = space.apply(page)?;
        let mut pruned = None;
        let cost = measure(&meter, || {
            pruned = Some(space.prune(Seq::MAX)?.dropped);
            Ok(())
        })?;
        ensure_eq!(pruned, Some(dropped), "tombstones dropped");
        Ok(cost.into_values().sum())
    };
    let spared = cost("spared", SPARED, 0)?;
    let dropped = cost("dropped", 0, DROPPED)?;
    let both = cost("both", SPARED, DROPPED)?;
    ensure!(
        both <= 2 * (spared + dropped),
        "a prune that spares {SPARED} and drops {DROPPED} tombstones touches {both} rows; one \
         that only spares as many touches {spared}, one that only drops as many {dropped}"
    );
    Ok(())
}

/// Prunes, writers and readers at once: no reader misses what a prune did not take, and the
/// counters are what they would be had each waited for the other.
pub(crate) fn a_prune_may_run_beside_writers_and_readers<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const PAGES: u64 = 150;
    let (db, writer) = rig.space()?;
    let (other, reader) = (db.space()?, db.space()?);
    let kept: BTreeSet<OpId> = (0..PAGES).map(|n| id(10 * n + 9)).collect();
    let (mut floor, mut seen) = (Seq::ZERO, 0);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for n in 0..PAGES {
                let _ = writer.apply(page_of(10 * n..10 * (n + 1)))?;
                let page = (0..9).fold(Page::new(), |page, row| {
                    page.delete(removed(id(10 * n + row)))
                });
                let _ = writer.apply(page)?;
            }
            Ok(())
        });
        loop {
            // Once more after the last page: a writer that was faster than this met no prune.
            let last = writing.is_finished();
            let head = other.stats()?.head;
            let pruned = other.prune(seq(head.value() / 2))?;
            ensure!(
                pruned.floor >= floor,
                "the floor went from {floor} back to {}",
                pruned.floor
            );
            floor = pruned.floor;
            if let Some(entries) = read_from_the_beginning(&reader)? {
                let standing = entries
                    .iter()
                    .filter(|entry| kept.contains(&entry.id))
                    .count();
                ensure!(
                    standing >= seen,
                    "a reader found {seen} of the rows that stay, and later {standing}"
                );
                seen = standing;
            }
            if last {
                break;
            }
        }
        finish(writing)
    })?;
    let stats = db.space()?.stats()?;
    ensure_eq!(stats.total, PAGES, "rows that were not deleted");
    db.space()?.audit()
}

/// The whole feed, or `None` where the floor passed the reader on its way.
fn read_from_the_beginning<H: Harness>(space: &Space<'_, H>) -> Verdict<Option<Vec<FeedEntry>>> {
    let mut follower = Follower::new(FeedCursor::Beginning);
    loop {
        match space.feed(follower.cursor, MANY, Payloads::Skip) {
            Ok(page) => {
                if !follower.take(page, MANY)? {
                    return Ok(Some(follower.entries));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::Pruned { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The task of a process that prunes once, up to the head.
pub(crate) const PRUNE: &str = "prune";

pub(crate) fn prune<H: Harness>(db: &Db<'_, H>, _argument: &str) -> Verdict {
    let space = db.space()?;
    say("begun");
    let _ = space.prune(Seq::MAX)?;
    say("done");
    Ok(())
}

/// The floor is raised first, so what a killed prune has not dropped is below it, and the next
/// prune takes it.
pub(crate) fn a_killed_prune_is_finished_by_the_next<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const TOMBSTONES: u64 = 40_000;
    let (db, space) = rig.space()?;
    let rejects = (0..TOMBSTONES).fold(Page::new(), |page, n| page.delete(removed(id(n)).reject()));
    let _ = space.apply(rejects.upsert(op(TOMBSTONES)))?;
    let began = space
        .feed(FeedCursor::Beginning, Limit::rows(1), Payloads::Skip)?
        .next;
    drop(space);
    for round in 0..6_u64 {
        let mut worker = Worker::start(&db, PRUNE, "")?;
        ensure!(
            worker.hear()?.is_some(),
            "the pruning process ended by itself"
        );
        thread::sleep(Duration::from_millis(3 * round));
        worker.kill()?;
        let space = db.space()?;
        space.at_rest(|space| {
            let stats = space.stats()?;
            ensure!(
                stats.floor > Seq::ZERO || stats.tombstones == TOMBSTONES,
                "{} tombstones are left and the floor is not raised",
                stats.tombstones
            );
            if stats.floor > Seq::ZERO {
                ensure_err!(
                    space.feed(began, MANY, Payloads::Skip),
                    ErrorKind::Pruned { .. } => (),
                    "a reader below the floor of a killed prune"
                );
            }
            Ok(())
        })?;
        space.audit()?;
    }
    let space = db.space()?;
    let left = space.stats()?.tombstones;
    let pruned = space.prune(Seq::MAX)?;
    // A piece of the killed process may have come between the two.
    ensure!(
        pruned.dropped <= left,
        "the last prune dropped {} tombstones, {left} were left",
        pruned.dropped
    );
    space.at_rest(|space| {
        let stats = space.stats()?;
        ensure_eq!(
            (stats.tombstones, stats.floor),
            (0, stats.head),
            "(tombstones, floor) at last"
        );
        Ok(())
    })?;
    space.audit()
}
