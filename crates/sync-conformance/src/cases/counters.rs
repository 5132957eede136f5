//! What is counted, and what prunes leave.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use sync_core::{
    ErrorKind, FeedCursor, FeedEntry, Limit, OpId, Page, Payloads, Seq, SyncStoreExt, TimeRange,
};

use crate::data::{id, object, op, order, page_of, removed, seq};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err};
use crate::harness::Harness;
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space, finish};
use crate::walk::Follower;

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn a_deleted_id_is_gone_everywhere_at_once<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let _ =
        space.apply(Page::new().upserts((0..30).map(|n| op(n).at(order(n)).about(object("a")))))?;
    for n in 0..30 {
        let _ = space.apply(Page::new().delete(removed(id(n))))?;
        let left = 29 - n as usize;
        for space in [&space, &other] {
            ensure!(
                space.get_one(id(n))?.is_none(),
                "get finds what was deleted"
            );
            let rows = space.rows_by_time(TimeRange::ALL, MANY)?;
            ensure_eq!(rows.len(), left, "rows by time");
            ensure_eq!(
                space.keys_by_time(TimeRange::ALL, MANY)?.len(),
                left,
                "keys"
            );
            ensure_eq!(space.rows_by_order(MANY)?.len(), left, "rows by order");
            ensure_eq!(
                space.rows_of_object(&object("a"), MANY)?.len(),
                left,
                "rows by object"
            );
            let stats = space.stats()?;
            ensure_eq!(
                (stats.total, stats.ordered, stats.tombstones),
                (left as u64, left as u64, n + 1),
                "counters"
            );
        }
    }
    Ok(())
}

/// Counters are kept, not counted; after anything at all they are what a count would say.
pub(crate) fn counters_equal_a_recount<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, mut space) = rig.space()?;
    let mut random = fastrand::Rng::with_seed(0x0c39);
    for round in 0..60 {
        let mut page = Page::new();
        page.replace = random.bool();
        page.revive = random.bool();
        page.reset = round % 25 == 24;
        for _ in 0..random.u8(1..12) {
            let id = id(random.u64(0..30));
            match random.u8(0..8) {
                0 | 1 => page.deletes.push(removed(id)),
                2 => page
                    .deletes
                    .push(removed(id).reject().at(order(random.u64(0..9)))),
                3 => page.lifts.push(id),
                4 => page = page.backfill(id, order(random.u64(0..9))),
                _ => {
                    let mut operation = op(random.u64(0..3));
                    operation.id = id;
                    operation.sync_order = random.bool().then(|| order(random.u64(0..9)));
                    page.upserts.push(operation);
                }
            }
        }
        let _ = space.apply(page)?;
        if random.u8(0..6) == 0 {
            let head = space.stats()?.head.value();
            let _ = space.prune(crate::data::seq(random.u64(0..=head)))?;
        }
        if random.u8(0..10) == 0 {
            drop(space);
            space = db.space()?;
        }
        space.audit()?;
    }
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
    ensure_eq!(stats.total, PAGES, "rows that nobody deleted");
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

/// The task of a process that prunes, up to the head, as often as somebody writes.
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
        space.audit()?;
    }
    let space = db.space()?;
    let left = space.stats()?.tombstones;
    let pruned = space.prune(Seq::MAX)?;
    ensure_eq!(
        pruned.dropped,
        left,
        "tombstones the last prune dropped, those that were left"
    );
    let stats = space.stats()?;
    ensure_eq!(
        (stats.tombstones, stats.floor),
        (0, stats.head),
        "(tombstones, floor) at last"
    );
    space.audit()
}

/// What a person runs after an incident must not cry wolf.
pub(crate) fn verify_finds_nothing_in_a_sound_space<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    for n in 0..3 {
        let report = rig.harness.block_on(space.store.verify())?;
        ensure!(
            report.is_clean(),
            "findings in a sound space: {:?}",
            report.findings
        );
        let rows = 20 * n;
        ensure_eq!(report.rows, rows, "rows that verify counted");
        let page = page_of(1_000 * n..1_000 * n + 30).backfill(id(1_000 * n), order(n));
        let page = page.upsert(op(1_000 * n + 40).at(order(3)).about(object("a")));
        let _ = space.apply(page)?;
        let gone = (0..11).fold(Page::new(), |page, row| {
            page.delete(removed(id(1_000 * n + row)))
        });
        let _ = space.apply(gone)?;
        let _ = space.prune(seq(20 * n))?;
    }
    Ok(())
}
