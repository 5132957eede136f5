//! The cases that compare times. They are run with nothing beside them, and more than once before
//! they fail; what can be said by an event or by counted work is said elsewhere.

use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use sync_core::{FeedCursor, Page, SyncStore};

use crate::cases::changed::{COMMIT_ONE, FOR_EVER, resolves};
use crate::data::{op, page_of};
use crate::failure::{Failure, Verdict, ensure, ensure_eq, fail};
use crate::harness::{Database, Harness};
use crate::process::Worker;
use crate::rig::{Rig, Space, finish, polled};

/// Less than any poll would take, and more than a busy machine does.
const AT_ONCE: Duration = Duration::from_millis(60);

/// What a forgotten transaction keeps alive must not make pages slower and slower.
pub(crate) fn a_long_unrelated_transaction_does_not_slow_pages<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    const PAGES: u64 = 20_000;
    let (db, space) = rig.space()?;
    // Beside each page that is timed one is timed in a database without such a transaction: what
    // else the machine does slows both.
    let (_free, reference) = rig.space()?;
    let _ = space.apply(page_of(PAGES..PAGES + 1))?;
    let held = db.database.hold_unrelated_transaction()?;
    let mut slowdowns = Vec::new();
    for from in (0..PAGES).step_by(1_000) {
        let compared = from == 0 || from + 1_000 == PAGES;
        let (mut times, mut free) = (Vec::new(), Vec::new());
        for n in from..from + 1_000 {
            times.push(time(|| space.apply(Page::new().upsert(op(n))))?);
            if compared {
                free.push(time(|| reference.apply(Page::new().upsert(op(n))))?);
            }
        }
        if compared {
            slowdowns.push((median(times), median(free)));
        }
    }
    drop(held);
    let [(first, first_free), (last, last_free)] = slowdowns.as_slice() else {
        fail!("the first and the last thousand pages were timed");
    };
    let noise = Duration::from_micros(50);
    let expected = first.mul_f64(last_free.as_secs_f64() / first_free.as_secs_f64());
    ensure!(
        *last <= expected * 2 + noise,
        "a page takes {last:?} after {PAGES} pages, and would take {expected:?} as it did at first"
    );
    Ok(())
}

/// No timer does it.
pub(crate) fn a_commit_on_the_same_handle_wakes_at_once<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let mut waits = Vec::new();
    for n in 0..9 {
        let cursor = space.cursor()?;
        let waited = space.within(FOR_EVER, async {
            let mut changed = pin!(space.store.changed(cursor));
            // Twice, with a moment between: a backend may look before it begins to wait.
            for _ in 0..2 {
                if polled(changed.as_mut()).await {
                    return Err(Failure::new("changed resolved before anything changed"));
                }
                thread::sleep(Duration::from_millis(5));
            }
            let _ = space.store.apply(Page::new().upsert(op(n))).await?;
            let begun = Instant::now();
            changed.await?;
            Ok(begun.elapsed())
        });
        let Some(waited) = waited else {
            fail!("a commit on the same handle did not wake a waiting call");
        };
        waits.push(waited?);
    }
    let median = median(waits);
    ensure!(
        median <= AT_ONCE,
        "a commit on the same handle takes {median:?} to wake a call: a timer did it"
    );
    Ok(())
}

pub(crate) fn a_commit_on_another_handle_wakes_within_the_stated_delay<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let space = connection.open("space")?;
    let other = db.space()?;
    let waits = (0..5).map(|n| {
        let cursor = space.cursor()?;
        waited(&space, cursor, || {
            // Long enough for the call to be waiting; where it is not, it resolves all the sooner.
            thread::sleep(Duration::from_millis(20));
            let _ = other.apply(Page::new().upsert(op(n)))?;
            Ok(Instant::now())
        })
    });
    within_the_stated_delay(connection.capabilities().notify_delay, waits)
}

pub(crate) fn a_commit_of_another_process_wakes_within_the_stated_delay<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let space = connection.open("space")?;
    let waits = (0..3).map(|n: u64| {
        let cursor = space.cursor()?;
        waited(&space, cursor, || {
            let mut worker = Worker::start(&db, COMMIT_ONE, n.to_string())?;
            let said = worker.hear()?;
            let committed = Instant::now();
            ensure_eq!(said.as_deref(), Some("committed"), "what the writer says");
            worker.succeed()?;
            Ok(committed)
        })
    });
    within_the_stated_delay(connection.capabilities().notify_delay, waits)
}

/// How long after `commit` a call resolves that waits meanwhile.
fn waited<H: Harness>(
    space: &Space<'_, H>,
    cursor: FeedCursor,
    commit: impl FnOnce() -> Verdict<Instant>,
) -> Verdict<Duration> {
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            resolves(space, cursor, "after a commit elsewhere")?;
            Ok(Instant::now())
        });
        let committed = commit();
        let woken = finish(waiter)?;
        Ok(woken.saturating_duration_since(committed?))
    })
}

fn within_the_stated_delay(
    delay: Duration,
    waits: impl Iterator<Item = Verdict<Duration>>,
) -> Verdict {
    let median = median(waits.collect::<Verdict<_>>()?);
    ensure!(
        median <= delay + AT_ONCE,
        "a commit elsewhere takes {median:?} to wake a call, stated are {delay:?}"
    );
    Ok(())
}

fn time<T>(call: impl FnOnce() -> sync_core::Result<T>) -> Verdict<Duration> {
    let begun = Instant::now();
    call()?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    // What a clock cannot measure is not nothing.
    median.max(Duration::from_nanos(1))
}
