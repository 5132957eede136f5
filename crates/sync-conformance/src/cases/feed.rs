use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sync_core::{ErrorKind, FeedCursor, Limit, OpId, Page, Payloads, TimeRange};

use crate::data::{id, key, op, ops, page_of};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::Harness;
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space, finish, together};
use crate::walk::Follower;

/// Writers of one space at once.
const WRITERS: u64 = 8;
/// Rows each of them commits.
const ROWS: u64 = 2_500;

/// A plain database sequence is taken before the commit, so that a reader passes numbers which
/// become visible later and never sees them.
pub(crate) fn commit_order_is_sequence_order<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let spaces: Vec<Space<'_, H>> = (0..WRITERS).map(|_| db.space()).collect::<Result<_, _>>()?;
    follow_writers(&db, |committed| {
        let written = together(spaces.len(), |n| match spaces.get(n) {
            Some(space) => write_rows(space, n as u64),
            None => fail!("no space for writer {n}"),
        })?;
        committed.extend(written.into_iter().flatten());
        Ok(())
    })
}

pub(crate) fn commit_order_is_sequence_order_across_processes<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    follow_writers(&db, |committed| {
        let workers: Vec<Worker> = (0..WRITERS)
            .map(|n| Worker::start(&db, WRITE, n.to_string()))
            .collect::<Verdict<_>>()?;
        for (worker, n) in workers.into_iter().zip(0..) {
            let said = worker.succeed()?;
            ensure_eq!(
                said,
                [ROWS.to_string()],
                "rows that writer {n} says it committed"
            );
            committed.extend((0..ROWS).map(|row| id(n * ROWS + row)));
        }
        Ok(())
    })
}

/// The task of a writing process: its number. Says how many rows it committed.
pub(crate) const WRITE: &str = "write";

pub(crate) fn write<H: Harness>(db: &Db<'_, H>, argument: &str) -> Verdict {
    let Ok(writer) = argument.parse() else {
        fail!("the number of a writer, not {argument:?}");
    };
    let committed = write_rows(&db.space()?, writer)?;
    say(&committed.len().to_string());
    Ok(())
}

/// Commits `ROWS` rows in pages of 1 to 5, among pages that fail, and answers the ids.
fn write_rows<H: Harness>(space: &Space<'_, H>, writer: u64) -> Verdict<Vec<OpId>> {
    let mut random = fastrand::Rng::with_seed(writer);
    let (mut next, end) = (writer * ROWS, (writer + 1) * ROWS);
    let mut committed = Vec::new();
    while next < end {
        let upto = end.min(next + random.u64(1..=5));
        if random.u8(0..10) == 0 {
            // Nobody sets the key, so the page fails; its rows come with the next one.
            let page = page_of(next..upto).expect(key("never"), Some("set"));
            ensure_err!(space.apply(page), ErrorKind::Conflict(_) => (), "a page that expects a value nobody set");
        }
        let applied = space.apply(page_of(next..upto))?;
        ensure_eq!(
            applied.totals().inserted,
            upto - next,
            "rows inserted by a page of new ids"
        );
        committed.extend((next..upto).map(id));
        next = upto;
    }
    Ok(committed)
}

/// Runs the writers while two readers follow from their own handles: one through small pages, one
/// through large ones. Both must have seen every committed row once, in rising order.
fn follow_writers<H: Harness>(
    db: &Db<'_, H>,
    writers: impl FnOnce(&mut Vec<OpId>) -> Verdict,
) -> Verdict {
    let readers = [(7, db.space()?), (1_000, db.space()?)];
    let done = AtomicBool::new(false);
    let mut committed = Vec::new();
    let (wrote, delivered) = thread::scope(|scope| {
        let done = &done;
        let threads: Vec<_> = readers
            .iter()
            .map(|(rows, space)| scope.spawn(move || follow(space, Limit::rows(*rows), done)))
            .collect();
        let wrote = writers(&mut committed);
        done.store(true, Ordering::SeqCst);
        let delivered: Vec<Verdict<Vec<OpId>>> = threads.into_iter().map(finish).collect();
        (wrote, delivered)
    });
    wrote?;
    let committed: BTreeSet<OpId> = committed.into_iter().collect();
    for delivered in delivered {
        let delivered = delivered?;
        let seen: BTreeSet<OpId> = delivered.iter().copied().collect();
        let skipped = committed.difference(&seen).count();
        println!(
            "{} rows committed, {} delivered, {skipped} skipped",
            committed.len(),
            delivered.len()
        );
        ensure_eq!(skipped, 0, "committed rows that the reader never saw");
        ensure_eq!(delivered.len(), committed.len(), "rows delivered");
    }
    ensure!(
        committed.len() >= 20_000,
        "only {} rows were committed",
        committed.len()
    );
    Ok(())
}

/// Follows the feed until an empty page that was asked for after the writers were done.
fn follow<H: Harness>(space: &Space<'_, H>, limit: Limit, done: &AtomicBool) -> Verdict<Vec<OpId>> {
    let mut follower = Follower::new(FeedCursor::Beginning);
    loop {
        let last = done.load(Ordering::SeqCst);
        let before = follower.entries.len();
        follower.step(space, limit, Payloads::Skip)?;
        if last && follower.entries.len() == before {
            return Ok(follower.entries.iter().map(|entry| entry.id).collect());
        }
    }
}

pub(crate) fn a_feed_cut_at_every_position_resumes_exactly<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..20))?;
    let page = Page::new().upserts(ops(20..30));
    let page = (0..5).fold(page, |page, n| page.delete(crate::data::removed(id(3 * n))));
    let _ = space.apply(page)?;
    let _ = space.apply(Page::new().upsert(op(30)))?;
    let all = space.entries(FeedCursor::Beginning, Limit::rows(1_000))?;
    ensure_eq!(all.len(), 31, "entries of 31 rows of which 5 were deleted");
    for cut in 1..=all.len() {
        let page = space.feed(FeedCursor::Beginning, Limit::rows(cut), Payloads::Include)?;
        ensure_eq!(
            page.entries.as_slice(),
            all.get(..cut).unwrap_or_default(),
            "the first {cut} entries"
        );
        for limit in [1, 2, 3, 100] {
            let rest = space.entries(page.next, Limit::rows(limit))?;
            ensure_eq!(
                rest.as_slice(),
                all.get(cut..).unwrap_or_default(),
                "the entries after the first {cut}, {limit} at a time"
            );
        }
    }
    Ok(())
}

pub(crate) fn a_restart_changes_nothing_a_reader_sees<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..100).set(key("cursor"), "41"))?;
    let page = Page::new()
        .delete(crate::data::removed(id(99)))
        .backfill(id(3), crate::data::order(8));
    let _ = space.apply(page)?;
    let before = space.dump()?;
    let known = space.known(&crate::data::ids(0..101))?;
    drop(space);
    let space = db.space()?;
    ensure_eq!(space.dump()?, before, "everything after a restart");
    ensure_eq!(
        space.known(&crate::data::ids(0..101))?,
        known,
        "known after a restart"
    );
    space.audit()?;
    let _ = TimeRange::ALL;
    let _ = AtomicUsize::new(0);
    Ok(())
}
