//! Waiting for a change.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use sync_core::{Epoch, FeedCursor, Limit, Page, Payloads, Seq, SyncStore};

use crate::data::{id, key, op, order, page_of, removed};
use crate::failure::{Failure, Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space, finish, polled};

/// Far beyond any promise: a call that waits so long waits for ever.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(20);
const ONE: Limit = Limit::rows(1);

/// Where the commit comes between the empty page and the call, there is no notification left to
/// wait for.
pub(crate) fn a_commit_before_the_call_resolves_it<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    for n in 0..10 {
        let cursor = space.cursor()?;
        let writer = if n % 2 == 0 { &space } else { &other };
        let _ = writer.apply(Page::new().upsert(op(n)))?;
        resolves(&space, cursor, "after a commit that came before the call")?;
    }
    Ok(())
}

/// The call is waiting when the page is applied; it was polled, so this is no race.
pub(crate) fn a_commit_on_the_same_handle_wakes<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    for n in 0..3 {
        let cursor = space.cursor()?;
        let woken = space.within(FOR_EVER, async {
            let mut changed = pin!(space.store.changed(cursor));
            for _ in 0..2 {
                if polled(changed.as_mut()).await {
                    return Err(Failure::new("changed resolved before anything changed"));
                }
            }
            let _ = space.store.apply(Page::new().upsert(op(n))).await?;
            Ok(changed.await?)
        });
        let Some(woken) = woken else {
            fail!("a commit on the same handle did not wake a waiting call");
        };
        woken?;
        ensure_eq!(
            readable(&space, cursor)?,
            1,
            "entries readable after the call resolved"
        );
    }
    Ok(())
}

pub(crate) fn a_commit_on_another_handle_wakes<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    for n in 0..3 {
        let cursor = space.cursor()?;
        wakes(&space, cursor, "a commit on another handle", || {
            other.apply(Page::new().upsert(op(n))).map(drop)
        })?;
        ensure_eq!(
            readable(&space, cursor)?,
            1,
            "entries readable after the call resolved"
        );
    }
    Ok(())
}

pub(crate) fn a_commit_of_another_process_wakes<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let cursor = space.cursor()?;
    thread::scope(|scope| {
        let waiter = scope.spawn(|| resolves(&space, cursor, "after a commit of another process"));
        let committed = Worker::start(&db, COMMIT_ONE, "0").and_then(Worker::succeed);
        finish(waiter)?;
        ensure_eq!(committed?, ["committed"], "what the writer says");
        Ok(())
    })?;
    ensure_eq!(
        readable(&space, cursor)?,
        1,
        "entries readable after the call resolved"
    );
    Ok(())
}

/// The task of a process that commits the row of the number it is given.
pub(crate) const COMMIT_ONE: &str = "commit-one";

pub(crate) fn commit_one<H: Harness>(db: &Db<'_, H>, argument: &str) -> Verdict {
    let Ok(n) = argument.parse() else {
        fail!("the number of a row, not {argument:?}");
    };
    let _ = db.space()?.apply(Page::new().upsert(op(n)))?;
    say("committed");
    Ok(())
}

/// Whoever is woken reads at once, from the handle it waited on.
pub(crate) fn what_wakes_a_reader_is_already_readable<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const PAGES: u64 = 300;
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..PAGES {
                let writer = if n % 2 == 0 { &space } else { &other };
                let _ = writer.apply(Page::new().upsert(op(n)))?;
                // Lets the reader reach the head, so that it waits and is woken.
                thread::yield_now();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            Ok(())
        });
        let read = (|| {
            let mut cursor = FeedCursor::Beginning;
            let mut seen = 0;
            while seen < PAGES {
                resolves(&space, cursor, "while pages are applied")?;
                let page = space.feed(cursor, Limit::rows(10), Payloads::Skip)?;
                ensure!(
                    !page.entries.is_empty(),
                    "changed resolved after {seen} entries, and there is nothing to read"
                );
                seen += page.entries.len() as u64;
                cursor = page.next;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        finish(writer).and(read)
    })
}

pub(crate) fn a_new_epoch_and_a_refused_cursor_resolve<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let _ = space.apply(page_of(0..5))?;
    let epoch = space.stats()?.epoch.unwrap_or(Epoch::new([0; 16]));
    for writer in [&space, &other] {
        let cursor = space.cursor()?;
        wakes(&space, cursor, "a reset", || {
            writer.apply(Page::new().reset()).map(drop)
        })?;
        let cursor = space.cursor()?;
        wakes(&space, cursor, "a new epoch", || {
            writer.new_epoch().map(drop)
        })?;
    }
    let stranger = FeedCursor::After {
        epoch,
        floor: Seq::ZERO,
        seq: Seq::ZERO,
    };
    resolves(&space, stranger, "for a cursor of another epoch")?;
    let epoch = space.stats()?.epoch.unwrap_or(epoch);
    let ahead = FeedCursor::After {
        epoch,
        floor: Seq::ZERO,
        seq: Seq::MAX,
    };
    resolves(&space, ahead, "for a cursor ahead of the log")?;
    let _ = space.apply(page_of(5..9))?;
    let _ = space.apply(Page::new().delete(removed(id(5))))?;
    let _ = space.prune(Seq::MAX)?;
    let pruned = FeedCursor::After {
        epoch,
        floor: Seq::ZERO,
        seq: Seq::ZERO,
    };
    resolves(&space, pruned, "for a pruned cursor")
}

/// A space that does not exist yet can be waited for.
pub(crate) fn the_first_page_of_a_space_wakes<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    wakes(
        &space,
        FeedCursor::Beginning,
        "the first page, on the same handle",
        || space.apply(page_of(0..1)).map(drop),
    )?;
    let late = db.connect()?.open("late")?;
    let writer = db.connect()?.open("late")?;
    wakes(
        &late,
        FeedCursor::Beginning,
        "the first page, on another handle",
        || writer.apply(page_of(0..1)).map(drop),
    )
}

/// A page that makes no entry is no news, and neither is another space's.
pub(crate) fn what_makes_no_entry_wakes_nobody<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let space = connection.open("space")?;
    let neighbour = connection.open("neighbour")?;
    let _ = space.apply(page_of(0..5))?;
    let cursor = space.cursor()?;
    // Several rounds of any poll a backend may have, and not so long that nobody runs the suite.
    let patience = (connection.capabilities().notify_delay * 2).max(Duration::from_millis(100));
    let early = thread::scope(|scope| {
        let waiter = scope.spawn(|| Ok(space.changed(cursor, patience)));
        // Whoever does not wait yet cannot be woken in error.
        thread::sleep(Duration::from_millis(20));
        let quiet: Verdict = (|| {
            let _ = space.apply(Page::new().backfill(id(1), order(4)))?;
            let _ = space.apply(Page::new().set(key("k"), "v"))?;
            let _ = space.apply(page_of(0..5))?;
            let _ = neighbour.apply(page_of(0..5))?;
            Ok(())
        })();
        let early = finish(waiter)?;
        quiet.map(|()| early)
    })?;
    if let Some(answer) = early {
        fail!("changed answered {answer:?}, and nothing had changed");
    }
    Ok(())
}

pub(crate) fn any_number_of_calls_may_wait_and_be_dropped<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const CALLS: usize = 200;
    let (db, space) = rig.space()?;
    let other = db.space()?;
    let _ = space.apply(page_of(0..1))?;
    for (n, writer) in [(1, &space), (2, &other)] {
        let cursor = space.cursor()?;
        let answers = space.within(FOR_EVER, async {
            let mut waiting: Vec<_> = (0..CALLS)
                .map(|_| Box::pin(space.store.changed(cursor)))
                .collect();
            for changed in &mut waiting {
                if polled(changed.as_mut()).await {
                    return Err(Failure::new("changed resolved before anything changed"));
                }
            }
            // Every second one goes away, the first among them.
            let mut keep = false;
            waiting.retain(|_| {
                keep = !keep;
                !keep
            });
            let _ = writer.store.apply(Page::new().upsert(op(n))).await?;
            Ok(join_all(waiting).await)
        });
        let Some(answers) = answers else {
            fail!("some of the calls that waited were never woken");
        };
        let answers: Vec<_> = answers?.into_iter().collect::<Result<_, _>>()?;
        ensure_eq!(answers.len(), CALLS / 2, "calls that were woken");
    }
    Ok(())
}

/// Waits on one thread, writes on this one, and requires that the call resolves.
fn wakes<H: Harness>(
    space: &Space<'_, H>,
    cursor: FeedCursor,
    what: &str,
    news: impl FnOnce() -> sync_core::Result<()>,
) -> Verdict {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| resolves(space, cursor, &format!("after {what}")));
        thread::sleep(Duration::from_millis(20));
        let told = news();
        finish(waiter)?;
        Ok(told?)
    })
}

pub(crate) fn resolves<H: Harness>(
    space: &Space<'_, H>,
    cursor: FeedCursor,
    when: &str,
) -> Verdict {
    match space.changed(cursor, FOR_EVER) {
        Some(answer) => Ok(answer?),
        None => fail!("changed did not resolve {when}"),
    }
}

fn readable<H: Harness>(space: &Space<'_, H>, cursor: FeedCursor) -> Verdict<usize> {
    Ok(space.feed(cursor, ONE, Payloads::Skip)?.entries.len())
}
