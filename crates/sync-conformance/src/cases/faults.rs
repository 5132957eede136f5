//! Failures at every boundary of an `apply`: every one, enumerated, not sampled.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_core::{Error, ErrorKind, Page, Result, Retry};

use crate::data::{id, key, object, op, order, page_of, removed};
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::{BoundaryHook, COMMIT, COMMITTED, Harness};
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, Space};
use crate::walk::{Dump, text};

/// More boundaries than the case's page can have on any backend.
const BOUNDARIES: usize = 1_000;

/// Fails the boundary a case chose, once, and remembers its name.
#[derive(Default)]
struct Fault {
    /// Boundaries to pass before the failure, plus one; 0 where none is to fail.
    countdown: AtomicUsize,
    met: Mutex<Option<&'static str>>,
}

impl Fault {
    fn hook(
        self: &Arc<Self>,
        fail: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> BoundaryHook {
        let fault = Arc::clone(self);
        Arc::new(move |boundary| {
            let armed = fault
                .countdown
                .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                });
            if armed == Ok(1) {
                *lock(&fault.met) = Some(boundary);
                return fail();
            }
            Ok(())
        })
    }

    /// Lets the boundary number `k` fail, counted from now.
    fn arm(&self, k: usize) {
        *lock(&self.met) = None;
        self.countdown.store(k + 1, Ordering::SeqCst);
    }

    /// The boundary that failed, if it was reached. None fails any more.
    fn disarm(&self) -> Option<&'static str> {
        self.countdown.store(0, Ordering::SeqCst);
        *lock(&self.met)
    }
}

fn broken_connection() -> Result<()> {
    Err(Error::new(ErrorKind::Failed)
        .with_retry(Retry::Never)
        .with_message("the connection was broken by the case"))
}

/// What a space holds before the page whose apply fails.
fn prepare<H: Harness>(space: &Space<'_, H>) -> Verdict<Dump> {
    let page = page_of(0..20).upsert(op(20).about(object("a")).at(order(20)));
    let _ = space.apply(page.set(key("cursor"), "before").set(key("old"), "value"))?;
    let _ = space.apply(Page::new().delete(removed(id(0))).delete(removed(id(1))))?;
    space.dump()
}

/// A page that has an entry in every list.
fn page() -> Page {
    let mut other = op(6).about(object("b"));
    other.ts = crate::data::ts(3);
    page_of(30..40)
        .expect(key("cursor"), Some("before"))
        .lift(id(0))
        .delete(removed(id(2)))
        .delete(removed(id(50)).reject().at(order(9)))
        .delete(removed(id(1)).at(order(8)))
        .upsert(op(5).at(order(5)))
        .upsert(other)
        .backfill(id(7), order(7))
        .set(key("cursor"), "after")
        .unset(key("old"))
        .replacing()
}

/// What the space holds after the page, from one where nothing failed.
fn applied<H: Harness>(db: &Db<'_, H>) -> Verdict<Dump> {
    let space = db.connect()?.open("model")?;
    prepare(&space)?;
    let _ = space.apply(page())?;
    space.dump()
}

/// Requires what was before the page, or what is after it, through a new handle. Whether it is
/// after it.
fn all_or_nothing<H: Harness>(
    db: &Db<'_, H>,
    name: &str,
    before: &Dump,
    after: &Dump,
    when: &str,
) -> Verdict<bool> {
    let space = db.connect()?.open(name)?;
    let (found, cursor) =
        space.at_rest(|space| Ok((space.dump()?, space.load(&key("cursor"))?)))?;
    let mut after = after.clone();
    after.stats.epoch = before.stats.epoch;
    let moved = cursor == Some(text("after"));
    let expected = if moved { &after } else { before };
    ensure_eq!(
        found,
        *expected,
        "everything after a failure {when}, cursor moved: {moved}"
    );
    space.audit()?;
    Ok(moved)
}

pub(crate) fn an_error_at_any_boundary_leaves_all_or_nothing<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let after = applied(&db)?;
    let fault = Arc::new(Fault::default());
    let broken = db.connect_with_boundaries(fault.hook(broken_connection))?;
    let mut boundaries = Vec::new();
    for k in 0..BOUNDARIES {
        let name = format!("boundary-{k}");
        let before = prepare(&db.connect()?.open(&name)?)?;
        let space = broken.open(&name)?;
        fault.arm(k);
        let answer = space.apply(page());
        let Some(boundary) = fault.disarm() else {
            let _ = answer?;
            ensure!(
                k >= 2,
                "an apply with {k} boundaries, and two of them are named"
            );
            let last = boundaries.split_last_chunk::<2>().map(|(_, last)| *last);
            ensure_eq!(
                last,
                Some([COMMIT, COMMITTED]),
                "the last two boundaries of an apply"
            );
            return Ok(());
        };
        boundaries.push(boundary);
        let when = format!("at boundary {k}, {boundary}");
        let moved = all_or_nothing(&db, &name, &before, &after, &when)?;
        match answer {
            // A backend may have tried the page again by itself.
            Ok(_) => ensure!(moved, "apply answered {when}, and nothing is there"),
            Err(error) => {
                let unknown = matches!(error.kind(), ErrorKind::UnknownOutcome);
                ensure_eq!(
                    moved,
                    boundary == COMMITTED,
                    "whether the page is there {when}"
                );
                ensure!(
                    unknown || !moved,
                    "the page is there, and the error is {error}"
                );
            }
        }
        // The same handle goes on, and the page ends as it would have.
        match space.apply(page()) {
            Ok(_) => ensure!(!moved, "the page was applied twice {when}"),
            Err(error) => ensure!(
                moved && matches!(error.kind(), ErrorKind::Conflict(_)),
                "the second attempt {when} ended with {error}"
            ),
        }
        ensure!(
            all_or_nothing(&db, &name, &before, &after, &when)?,
            "the page is not there after its second attempt {when}"
        );
    }
    fail!("an apply that passes {BOUNDARIES} boundaries")
}

/// The task of a process that ends at the boundary of the number it is given.
pub(crate) const DIE: &str = "die";

pub(crate) fn die<H: Harness>(db: &Db<'_, H>, argument: &str) -> Verdict {
    let Ok(k) = argument.parse() else {
        fail!("the number of a boundary, not {argument:?}");
    };
    let fault = Arc::new(Fault::default());
    let hook = fault.hook(|| std::process::abort());
    let space = db
        .connect_with_boundaries(hook)?
        .open(&format!("boundary-{k}"))?;
    fault.arm(k);
    let _ = space.apply(page())?;
    say("alive");
    Ok(())
}

pub(crate) fn a_process_killed_at_any_boundary_leaves_all_or_nothing<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let after = applied(&db)?;
    let mut moves = Vec::new();
    for k in 0..BOUNDARIES {
        let name = format!("boundary-{k}");
        let before = prepare(&db.connect()?.open(&name)?)?;
        let (said, status, complaint) = Worker::start(&db, DIE, k.to_string())?.end()?;
        if said == ["alive"] {
            ensure!(status.success(), "the writer failed: {status}: {complaint}");
            let kept = moves.iter().filter(|moved| **moved).count();
            ensure_eq!(
                kept,
                1,
                "boundaries after which the page is there: the one behind the commit"
            );
            ensure_eq!(moves.last(), Some(&true), "whether that is the last of {k}");
            return Ok(());
        }
        ensure!(!status.success(), "the writer said {said:?} and ended well");
        let when = format!("of the process at boundary {k}");
        moves.push(all_or_nothing(&db, &name, &before, &after, &when)?);
        // What the dead process held must not be in the way of the next one.
        let space = db.connect()?.open(&name)?;
        let _ = space.apply(page_of(60..61))?;
        space.audit()?;
    }
    fail!("an apply that passes {BOUNDARIES} boundaries")
}

pub(crate) fn a_failing_commit_is_an_error_and_the_handle_goes_on<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let broken: Arc<AtomicBool> = Arc::default();
    let hook: BoundaryHook = {
        let broken = Arc::clone(&broken);
        Arc::new(move |boundary| {
            if boundary == COMMIT && broken.load(Ordering::SeqCst) {
                return broken_connection();
            }
            Ok(())
        })
    };
    let space = db.connect_with_boundaries(hook)?.open("space")?;
    let _ = space.apply(page_of(0..5))?;
    let before = space.dump()?;
    broken.store(true, Ordering::SeqCst);
    // More often than any pool has connections.
    for _ in 0..50 {
        ensure!(
            space.apply(page_of(5..9)).is_err(),
            "a page whose commit failed was answered"
        );
        ensure_eq!(space.dump()?, before, "everything after a failed commit");
    }
    broken.store(false, Ordering::SeqCst);
    let applied = space.apply(page_of(5..9))?;
    ensure_eq!(
        applied.totals().inserted,
        4,
        "rows of the page that failed before"
    );
    space.audit()
}

pub(crate) fn a_lost_answer_is_an_error_of_its_own_and_a_guarded_retry_is_safe<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let lost: Arc<AtomicBool> = Arc::default();
    let hook: BoundaryHook = {
        let lost = Arc::clone(&lost);
        Arc::new(move |boundary| {
            if boundary == COMMITTED && lost.swap(false, Ordering::SeqCst) {
                return broken_connection();
            }
            Ok(())
        })
    };
    let space = db.connect_with_boundaries(hook)?.open("space")?;
    prepare(&space)?;
    ensure!(
        page().is_retry_safe(),
        "the case needs a page that may be sent again"
    );
    lost.store(true, Ordering::SeqCst);
    let kind = match space.apply(page()) {
        Ok(_) => fail!("a page whose answer was lost was answered"),
        Err(error) => {
            ensure_eq!(error.retry(), Retry::IfSafe, "whether a retry helps");
            error.kind().clone()
        }
    };
    ensure_eq!(
        kind,
        ErrorKind::UnknownOutcome,
        "the error of a lost answer"
    );
    let once = space.dump()?;
    match space.apply(page()) {
        Ok(_) => fail!("the page was applied twice"),
        Err(error) => ensure!(
            matches!(error.kind(), ErrorKind::Conflict(_)),
            "the retry ended with {error}"
        ),
    }
    ensure_eq!(space.dump()?, once, "everything after the retry");

    // Plain upserts and backfills may be sent again as they are.
    let plain = || page_of(70..75).backfill(id(8), order(8));
    lost.store(true, Ordering::SeqCst);
    ensure!(
        space.apply(plain()).is_err(),
        "a page whose answer was lost was answered"
    );
    let once = space.dump()?;
    let again = space.apply(plain())?.totals();
    ensure_eq!(
        (again.unchanged, again.inserted, again.ordered),
        (6, 0, 0),
        "totals of the retry"
    );
    ensure_eq!(space.dump()?, once, "everything after the retry");
    space.audit()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
