//! Sequence order is commit order, for any number of writers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sync_core::{ErrorKind, FeedCursor, Limit, OpId, Page, Payloads, Retry};

use crate::data::{id, key, op, page_of, removed};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::{Database, Harness};
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
    let spaces = handles(&db, WRITERS)?;
    follow_writers(&db, || {
        let committed = together(&spaces, |n, space| write_rows(space, n))?;
        Ok(committed.concat())
    })
}

pub(crate) fn commit_order_is_sequence_order_across_processes<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    follow_writers(&db, || {
        let workers: Vec<Worker> = (0..WRITERS)
            .map(|n| Worker::start(&db, WRITE, n.to_string()))
            .collect::<Verdict<_>>()?;
        let mut committed = Vec::new();
        for (n, worker) in (0..).zip(workers) {
            let said = worker.succeed()?;
            ensure_eq!(said, [ROWS.to_string()], "rows that writer {n} committed");
            committed.extend((n * ROWS..(n + 1) * ROWS).map(id));
        }
        Ok(committed)
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

/// Readers that stand at the head read while single rows are committed: whatever bound a page
/// takes, no row may come to lie behind it unseen.
pub(crate) fn a_page_and_its_bound_come_from_one_snapshot<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const PAGES: u64 = 1_000;
    let db = rig.fresh()?;
    let writer = db.space()?;
    let readers = handles(&db, 2)?;
    let done = AtomicBool::new(false);
    let (wrote, followed) = thread::scope(|scope| {
        let done = &done;
        let threads: Vec<_> = readers
            .iter()
            .map(|space| scope.spawn(move || follow(space, Limit::rows(100_000), done)))
            .collect();
        let wrote = write_and_delete(&writer, PAGES);
        done.store(true, Ordering::SeqCst);
        let followed: Vec<_> = threads.into_iter().map(finish).collect();
        (wrote, followed)
    });
    wrote?;
    let tombstones: BTreeSet<OpId> = (0..PAGES).step_by(2).map(id).collect();
    let rows: BTreeSet<OpId> = (1..PAGES).step_by(2).map(id).collect();
    for seen in followed {
        let seen: BTreeSet<OpId> = seen?.into_iter().collect();
        // The entry of a row that went before the reader came by is gone; its tombstone is not.
        ensure!(
            seen.is_superset(&tombstones),
            "a reader at the head missed a delete"
        );
        ensure!(seen.is_superset(&rows), "a reader at the head missed a row");
    }
    Ok(())
}

fn write_and_delete<H: Harness>(space: &Space<'_, H>, pages: u64) -> Verdict {
    for n in 0..pages {
        let _ = space.apply(Page::new().upsert(op(n)))?;
        if n % 2 == 0 {
            let _ = space.apply(Page::new().delete(removed(id(n))))?;
        }
    }
    Ok(())
}

/// A forgotten transaction must not hold the feed back.
pub(crate) fn a_long_unrelated_transaction_does_not_stop_the_feed<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    const PAGES: u64 = 2_000;
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(PAGES..PAGES + 1))?;
    let held = db.database.hold_unrelated_transaction()?;
    let mut follower = Follower::new(FeedCursor::Beginning);
    for from in (0..PAGES).step_by(100) {
        for n in from..from + 100 {
            let _ = space.apply(Page::new().upsert(op(n)))?;
        }
        while follower.step(&space, Limit::rows(1_000), Payloads::Skip)? {}
        ensure_eq!(
            follower.entries.len() as u64,
            from + 101,
            "entries the reader has seen while the transaction is open"
        );
    }
    drop(held);
    Ok(())
}

/// Transient conflicts are the backend's to retry; what surfaces says that a retry helps, and then
/// it does.
pub(crate) fn many_writers_of_one_space_all_make_progress<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const PAGES: u64 = 40;
    let db = rig.fresh()?;
    let spaces = handles(&db, 16)?;
    together(&spaces, |n, space| {
        for page in n * PAGES..(n + 1) * PAGES {
            let mut attempts = 0;
            // Every page changes the same key and the same row, the hottest there can be.
            let wanted = page_of(page..page + 1).set(key("hot"), page.to_string());
            while let Err(error) = space.apply(wanted.clone()) {
                attempts += 1;
                ensure!(
                    error.retry() == Retry::Later,
                    "an error under contention that does not ask for a retry: {error}"
                );
                ensure!(
                    attempts < 100,
                    "page {page} failed {attempts} times: {error}"
                );
            }
        }
        Ok(())
    })?;
    let space = db.space()?;
    ensure_eq!(space.stats()?.total, 16 * PAGES, "rows of all writers");
    space.audit()
}

/// One handle, shared by threads that write and read, is one that all of them can use at once.
pub(crate) fn one_handle_serves_many_threads<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const PAGES: u64 = 30;
    let (_db, space) = rig.space()?;
    together(&[(); 8], |n, ()| {
        for page in n * PAGES..(n + 1) * PAGES {
            let rows = 3 * page..3 * page + 3;
            let applied = space.apply(page_of(rows.clone()).set(key("last"), page.to_string()))?;
            ensure_eq!(applied.totals().inserted, 3, "rows of a page of new ids");
            let wanted: Vec<OpId> = rows.map(id).collect();
            let found = space.get(&wanted)?.into_iter().flatten().count();
            ensure_eq!(found, 3, "rows that the thread which wrote them reads");
            let page = space.feed(FeedCursor::Beginning, Limit::rows(5), Payloads::Skip)?;
            ensure!(
                page.entries.len() >= 3,
                "a feed with fewer entries than this thread made"
            );
            ensure!(
                space.load(&key("last"))?.is_some(),
                "a key that every page sets is absent"
            );
        }
        Ok(())
    })?;
    ensure_eq!(space.stats()?.total, 8 * 3 * PAGES, "rows of all threads");
    space.audit()
}

/// Commits `ROWS` rows in pages of 1 to 5, among pages that fail, and answers the ids.
fn write_rows<H: Harness>(space: &Space<'_, H>, writer: u64) -> Verdict<Vec<OpId>> {
    let mut random = fastrand::Rng::with_seed(writer);
    let (mut next, end) = (writer * ROWS, (writer + 1) * ROWS);
    while next < end {
        let upto = end.min(next + random.u64(1..=5));
        if random.u8(0..10) == 0 {
            // Nobody sets the key, so the page fails; its rows come with the next one.
            let page = page_of(next..upto).expect(key("never"), Some("set"));
            ensure_err!(
                space.apply(page),
                ErrorKind::Conflict(_) => (),
                "a page that expects a value nobody set"
            );
        }
        let applied = space.apply(page_of(next..upto))?;
        ensure_eq!(
            applied.totals().inserted,
            upto - next,
            "rows inserted by a page of new ids"
        );
        next = upto;
    }
    Ok((writer * ROWS..end).map(id).collect())
}

/// Runs the writers while two readers follow from their own handles: one through small pages, one
/// through large ones. Both must have seen every committed row once, in rising order.
fn follow_writers<H: Harness>(
    db: &Db<'_, H>,
    writers: impl FnOnce() -> Verdict<Vec<OpId>>,
) -> Verdict {
    let readers = [(7, db.space()?), (1_000, db.space()?)];
    let done = AtomicBool::new(false);
    let (committed, delivered) = thread::scope(|scope| {
        let done = &done;
        let threads: Vec<_> = readers
            .iter()
            .map(|(rows, space)| scope.spawn(move || follow(space, Limit::rows(*rows), done)))
            .collect();
        let committed = writers();
        done.store(true, Ordering::SeqCst);
        let delivered: Vec<_> = threads.into_iter().map(finish).collect();
        (committed, delivered)
    });
    let committed: BTreeSet<OpId> = committed?.into_iter().collect();
    for delivered in delivered {
        let delivered = delivered?;
        let seen: BTreeSet<OpId> = delivered.iter().copied().collect();
        let skipped = committed.difference(&seen).count();
        ensure_eq!(skipped, 0, "committed rows that the reader never saw");
        ensure_eq!(delivered.len(), committed.len(), "rows delivered");
    }
    ensure!(
        committed.len() as u64 >= WRITERS * ROWS,
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

/// Handles on one space, each with connections of its own.
fn handles<'h, H: Harness>(db: &Db<'h, H>, count: u64) -> Verdict<Vec<Space<'h, H>>> {
    (0..count).map(|_| Ok(db.space()?)).collect()
}
