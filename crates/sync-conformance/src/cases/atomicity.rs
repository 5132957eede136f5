//! A page is applied wholly or not at all, and its preconditions hold while it is.

use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use sync_core::{
    ErrorKind, FeedCursor, Known, Limit, List, Mismatch, Operation, Page, Payloads, Retry,
    SyncStore, TooLarge, Ts, limits,
};

use crate::data::{id, ids, key, op, ops, order, page_of, removed};
use crate::failure::{Verdict, ensure, ensure_eq, ensure_err, fail};
use crate::harness::Harness;
use crate::rig::{Rig, Space, finish, together};
use crate::walk::text;

const MANY: Limit = Limit::rows(1_000);

/// Every refusal a page can meet, on a space that exists and on one that does not.
pub(crate) fn a_refused_page_leaves_no_trace<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let large = || Bytes::from(vec![0; limits::PAYLOAD_BYTES + 1]);
    let rest = || {
        Page::new()
            .upserts(ops(50..60))
            .delete(removed(id(1)))
            .delete(removed(id(99)).reject())
            .backfill(id(2), order(2))
            .set(key("cursor"), "after")
            .set(key("new"), "value")
    };
    let refused = [
        rest().expect(key("cursor"), Some("never")),
        rest().expect(key("cursor"), Some("")).reset(),
        rest().expect(key("cursor"), Some("before ")),
        rest().expect(key("new"), Some("value")),
        rest().upsert(Operation::new(id(70), Ts::ZERO, large())),
        rest().set(key("large"), vec![0; limits::STATE_VALUE_BYTES + 1]),
        rest()
            .lift(id(0))
            .upserts((0..limits::PAGE_OPERATIONS as u64).map(op)),
    ];
    let absent = db.connect()?.open("absent")?;
    let _ = space.apply(page_of(0..10).set(key("cursor"), "before"))?;
    let _ = space.apply(Page::new().delete(removed(id(0))))?;
    let before = space.dump()?;
    for (n, page) in refused.into_iter().enumerate() {
        for space in [&space, &absent] {
            match space.apply(page.clone()) {
                Err(error) => ensure!(
                    matches!(
                        error.kind(),
                        ErrorKind::Conflict(_) | ErrorKind::TooLarge(_)
                    ),
                    "page {n} was refused with {error}"
                ),
                Ok(_) => fail!("page {n} was applied"),
            }
        }
        ensure_eq!(space.dump()?, before, "everything after refused page {n}");
        let known = space.known(&[id(99), id(50), id(1)])?;
        ensure_eq!(
            known.first(),
            Some(&Known::Unknown),
            "an id a refused page rejects"
        );
        ensure_eq!(
            absent.stats()?,
            sync_core::Stats::default(),
            "a space no page created"
        );
    }
    ensure_eq!(db.connect()?.spaces(None, 10)?.len(), 1, "spaces");
    let applied = space.apply(rest())?;
    ensure_eq!(
        applied.totals().inserted,
        10,
        "rows inserted once nothing refuses the page"
    );
    space.audit()
}

pub(crate) fn of_two_moves_of_one_cursor_exactly_one_wins<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const ROUNDS: u64 = 100;
    let db = rig.fresh()?;
    let movers = [db.space()?, db.space()?];
    let mut won = Vec::new();
    for round in 0..ROUNDS {
        // Neither goes on before both were answered, or one of them failed.
        won.push(move_once(&movers, round)?.concat());
    }
    let mut rows = won.concat();
    rows.sort_unstable();
    ensure_eq!(rows.len() as u64, ROUNDS, "pages that won, one a round");
    let mut expected: Vec<_> = rows.into_iter().map(id).collect();
    expected.sort_unstable();
    let space = db.space()?;
    let stored = space.rows_by_time(sync_core::TimeRange::ALL, MANY)?;
    let mut stored: Vec<_> = stored.iter().map(|row| row.operation.id).collect();
    stored.sort_unstable();
    ensure_eq!(stored, expected, "rows, those of the winners");
    space.audit()
}

/// Both move the cursor from the same value; the rows of those that won.
fn move_once<H: Harness>(movers: &[Space<'_, H>; 2], round: u64) -> Verdict<Vec<Vec<u64>>> {
    let start = Barrier::new(movers.len());
    together(movers, |mover, space| {
        // The first round expects absence, every other one the value of the round before.
        let expected = (round > 0).then(|| format!("round {}", round - 1));
        let row = 2 * round + mover;
        let page = page_of(row..row + 1)
            .expect(key("cursor"), expected)
            .expect(key("other"), None::<Bytes>)
            .set(key("cursor"), format!("round {round}"));
        start.wait();
        let found = match space.apply(page) {
            Ok(_) => return Ok(vec![row]),
            Err(error) => match error.kind() {
                ErrorKind::Conflict(found) => found.clone(),
                _ => fail!("the loser of round {round} was answered {error}"),
            },
        };
        let expected = [Mismatch {
            key: key("cursor"),
            found: Some(Bytes::from(format!("round {round}"))),
        }];
        ensure_eq!(found, expected, "what the loser is told");
        Ok(Vec::new())
    })
}

pub(crate) fn a_conflict_names_every_key_that_does_not_hold<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let page = Page::new()
        .set(key("a"), "1")
        .set(key("empty"), "")
        .set(key("bytes"), &b"\x00\xff"[..]);
    let _ = space.apply(page)?;
    let page = page_of(0..1)
        .expect(key("a"), Some("1"))
        .expect(key("a"), None::<Bytes>)
        .expect(key("empty"), None::<Bytes>)
        .expect(key("absent"), Some(""))
        .expect(key("bytes"), Some(&b"\x00\xfe"[..]))
        .expect(key("nothing"), None::<Bytes>)
        .set(key("a"), "2");
    let mut found = ensure_err!(
        space.apply(page),
        ErrorKind::Conflict(found) => found.clone(),
        "a page with four preconditions that do not hold"
    );
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let mismatch = |name: &str, found: Option<&'static [u8]>| Mismatch {
        key: key(name),
        found: found.map(Bytes::from_static),
    };
    let expected = [
        mismatch("a", Some(b"1")),
        mismatch("absent", None),
        mismatch("bytes", Some(b"\x00\xff")),
        mismatch("empty", Some(b"")),
    ];
    ensure_eq!(found, expected, "the mismatches, by key");
    ensure_eq!(
        space.load(&key("a"))?,
        Some(text("1")),
        "a key the refused page would set"
    );
    Ok(())
}

pub(crate) fn preconditions_read_the_state_before_the_reset<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(Page::new().set(key("a"), "1").set(key("b"), "2"))?;
    let page = Page::new()
        .expect(key("a"), Some("1"))
        .reset()
        .set(key("a"), "3");
    let _ = space.apply(page)?;
    ensure_eq!(
        space.load(&key("a"))?,
        Some(text("3")),
        "a key set behind a reset"
    );
    ensure_eq!(space.load(&key("b"))?, None, "a key a reset took away");
    let absent = Page::new().expect(key("a"), None::<Bytes>).reset();
    let found = ensure_err!(
        space.apply(absent),
        ErrorKind::Conflict(found) => found.clone(),
        "a page that expects what its own reset would leave"
    );
    let expected = [Mismatch {
        key: key("a"),
        found: Some(text("3")),
    }];
    ensure_eq!(found, expected, "the mismatch");
    Ok(())
}

/// Whichever of the two does not hold, and where neither does the key is named once.
pub(crate) fn two_preconditions_on_one_key_are_both_checked<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(Page::new().set(key("a"), "1").set(key("b"), "2"))?;
    let mismatch = |name: &str, found: Option<&'static str>| Mismatch {
        key: key(name),
        found: found.map(Bytes::from),
    };
    let a = || vec![mismatch("a", Some("1"))];
    let absent = || vec![mismatch("absent", None)];
    let refused = [
        ("the second does not hold", [("a", "1"), ("a", "2")], a()),
        ("the first does not hold", [("a", "2"), ("a", "1")], a()),
        ("neither holds", [("a", "2"), ("a", "3")], a()),
        ("both ask for the same", [("a", "2"), ("a", "2")], a()),
        (
            "the key is absent",
            [("absent", "1"), ("absent", "2")],
            absent(),
        ),
    ];
    for (what, expected, named) in refused {
        let page = expected.iter().fold(page_of(0..1), |page, (name, value)| {
            page.expect(key(name), Some(*value))
        });
        let page = page.expect(key("b"), Some("2")).set(key("a"), "9");
        let found = ensure_err!(
            space.apply(page),
            ErrorKind::Conflict(found) => found.clone(),
            "two preconditions of which {what}"
        );
        ensure_eq!(found, named, "the mismatches where {what}");
    }
    // With another key between and after them, each key is named once all the same.
    let page = page_of(0..1)
        .expect(key("a"), None::<Bytes>)
        .expect(key("b"), Some("1"))
        .expect(key("a"), Some("3"))
        .expect(key("b"), None::<Bytes>);
    let mut found = ensure_err!(
        space.apply(page),
        ErrorKind::Conflict(found) => found.clone(),
        "two preconditions on each of two keys"
    );
    found.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = [mismatch("a", Some("1")), mismatch("b", Some("2"))];
    ensure_eq!(found, expected, "the mismatches of two keys, by key");
    ensure_eq!(
        (space.load(&key("a"))?, space.stats()?.total),
        (Some(text("1")), 0),
        "(the key, rows) that refused pages would have written"
    );
    let page = page_of(0..1)
        .expect(key("a"), Some("1"))
        .expect(key("a"), Some("1"))
        .set(key("a"), "9");
    let _ = space.apply(page)?;
    ensure_eq!(
        space.load(&key("a"))?,
        Some(text("9")),
        "the key after a page with two preconditions that hold"
    );
    Ok(())
}

pub(crate) fn who_lost_the_lease_writes_nothing<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let (first, second) = (db.space()?, db.space()?);
    let lease = || key("lease");
    let _ = first.apply(
        Page::new()
            .expect(lease(), None::<Bytes>)
            .set(lease(), "first 1"),
    )?;
    let _ = first.apply(page_of(0..5).expect(lease(), Some("first 1")))?;
    let takeover = Page::new()
        .expect(lease(), Some("first 1"))
        .set(lease(), "second 2");
    let _ = second.apply(takeover)?;
    let before = second.dump()?;
    let stale = [
        page_of(5..9),
        Page::new().delete(removed(id(0))),
        Page::new().backfill(id(0), order(1)),
        Page::new().set(key("cursor"), "9"),
        Page::new().reset(),
        Page::new().lift(id(0)),
        Page::new(),
    ];
    for page in stale {
        let found = ensure_err!(
            first.apply(page.expect(lease(), Some("first 1"))),
            ErrorKind::Conflict(found) => found.clone(),
            "a page of the holder that lost the lease"
        );
        let holder = found.first().and_then(|mismatch| mismatch.found.clone());
        ensure_eq!(
            holder,
            Some(text("second 2")),
            "the holder a conflict names"
        );
        ensure_eq!(second.dump()?, before, "everything after a stale page");
    }
    let _ = second.apply(page_of(5..9).expect(lease(), Some("second 2")))?;
    second.audit()
}

pub(crate) fn what_is_too_large_is_named_and_nothing_is_stored<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let _ = space.apply(page_of(0..1))?;
    let before = space.dump()?;
    let large = Bytes::from(vec![7; limits::PAYLOAD_BYTES + 1]);
    for k in [0, 1, 4, 9] {
        let mut operations: Vec<Operation> = ops(10..20).collect();
        if let Some(operation) = operations.get_mut(k) {
            operation.payload = large.clone();
        }
        let page = Page::new().upserts(operations).set(key("k"), "v");
        let found = ensure_err!(
            space.apply(page),
            ErrorKind::TooLarge(found) => *found,
            "a page whose payload {k} is too large"
        );
        let expected = TooLarge {
            list: List::Upserts,
            index: k,
            limit: limits::PAYLOAD_BYTES,
        };
        ensure_eq!(found, expected, "what is too large");
        ensure_eq!(space.dump()?, before, "everything after the refusal");
    }
    Ok(())
}

/// Dropped before it was polled, after each of its first polls, and after a while: the page is
/// there or not, and the handle works.
pub(crate) fn a_dropped_apply_leaves_all_or_nothing<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const ROWS: u64 = 200;
    let db = rig.fresh()?;
    for round in 0..24_u64 {
        let name = format!("round-{round}");
        let space = db.connect()?.open(&name)?;
        let page = page_of(0..ROWS).set(key("cursor"), "after");
        if round < 8 {
            rig.run.call("apply", async {
                let mut apply = pin!(space.store.apply(page));
                let mut polls = 0;
                poll_fn(|context| {
                    if polls == round {
                        return Poll::Ready(());
                    }
                    polls += 1;
                    apply.as_mut().poll(context).map(|_| ())
                })
                .await;
            });
        } else {
            let patience = Duration::from_micros(50 * (round - 8));
            let _ = space.within(patience, space.store.apply(page));
        }
        let _ = space.apply(Page::new().upsert(op(ROWS + round)))?;
        for space in [space, db.connect()?.open(&name)?] {
            let page = space.feed(FeedCursor::Beginning, MANY, Payloads::Skip)?;
            let of_page = page
                .entries
                .iter()
                .filter(|entry| entry.id != id(ROWS + round))
                .count() as u64;
            ensure!(
                of_page == 0 || of_page == ROWS,
                "{of_page} of {ROWS} rows of a dropped apply are there"
            );
            let after = space.load(&key("cursor"))?;
            // The page may be committed between the two reads, never the other way round.
            ensure!(
                of_page == 0 || after == Some(text("after")),
                "rows of a dropped apply without its cursor: {after:?}"
            );
        }
        let space = db.connect()?.open(&name)?;
        space.audit()?;
    }
    Ok(())
}

/// A reader that runs all the time sees a page's rows, deletes and state together or not at all.
pub(crate) fn no_reader_sees_half_a_page<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const LOOKS: usize = 200;
    let db = rig.fresh()?;
    let (writer, reader) = (db.space()?, db.space()?);
    let _ = writer.apply(page_of(0..ROWS))?;
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut round = 0;
            // As long as somebody looks, however slow the one or the other is.
            while !done.load(Ordering::SeqCst) {
                let (gone, next) = (round % SETS * ROWS, (round + 1) % SETS * ROWS);
                round += 1;
                let page = (gone..gone + ROWS).fold(page_of(next..next + ROWS), |page, n| {
                    page.delete(removed(id(n)))
                });
                let _ = writer.apply(page.reviving().set(key("round"), round.to_string()))?;
                written.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        // A reader that is done before the writer has begun has seen nothing.
        let mut looks = 0;
        let looked = loop {
            let rounds = written.load(Ordering::SeqCst);
            if looks >= LOOKS && (rounds >= 50 || writing.is_finished()) {
                break Ok(());
            }
            looks += 1;
            if let Err(failure) = look(&reader) {
                break Err(failure);
            }
        };
        done.store(true, Ordering::SeqCst);
        finish(writing)?;
        looked
    })?;
    reader.audit()
}

/// Rows of one set, which come and go together.
const ROWS: u64 = 50;
/// Sets that take turns: of each round one is there.
const SETS: u64 = 20;

/// One look at a space that holds exactly one of the sets at any time.
fn look<H: Harness>(reader: &Space<'_, H>) -> Verdict {
    let wanted = ids(0..SETS * ROWS);
    let before = round_of(reader)?;
    let rows = reader.part(&wanted, Limit::rows(wanted.len()))?.rows;
    let live: Vec<u64> = (0..)
        .zip(rows)
        .filter_map(|(n, row)| row.map(|_| n))
        .collect();
    let set = live.first().map_or(0, |first| first / ROWS);
    let expected: Vec<u64> = (set * ROWS..(set + 1) * ROWS).collect();
    ensure_eq!(live, expected, "the live rows of one get");
    // State that moves before the rows, or behind them, is seen on one side or the other.
    let after = round_of(reader)?;
    ensure!(
        (before..=after).any(|round| round % SETS == set),
        "the rows of set {set}, between states of rounds {before} and {after}"
    );
    let known = reader.known(&wanted)?;
    let live = known
        .iter()
        .filter(|known| matches!(known, Known::Live { .. }));
    ensure_eq!(live.count() as u64, ROWS, "the live rows of one known");
    let total = reader.stats()?.total;
    ensure_eq!(
        total,
        ROWS,
        "the counter of rows between pages that keep it"
    );
    Ok(())
}

/// The round that the state says.
fn round_of<H: Harness>(reader: &Space<'_, H>) -> Verdict<u64> {
    let Some(round) = reader.load(&key("round"))? else {
        return Ok(0);
    };
    match String::from_utf8_lossy(&round).parse() {
        Ok(round) => Ok(round),
        Err(_) => fail!("the round {round:?}"),
    }
}

/// What a test of preconditions would miss: the check belongs to the transaction that writes.
pub(crate) fn many_counters_moved_by_compare_and_set_lose_no_step<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    const WRITERS: usize = 6;
    const STEPS: u64 = 40;
    let db = rig.fresh()?;
    let spaces: Vec<Space<'_, H>> = (0..WRITERS).map(|_| db.space()).collect::<Result<_, _>>()?;
    together(&spaces, |_, space| {
        let (mut steps, mut refusals) = (0, 0);
        while steps < STEPS {
            // Who is refused was overtaken by a step of another, and there are so many of them.
            ensure!(
                refusals < 100 * STEPS * WRITERS as u64,
                "a counter that {refusals} pages could not move"
            );
            let found = space.load(&key("counter"))?;
            let text = found.as_deref().map(String::from_utf8_lossy);
            let next = text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) + 1;
            let page = Page::new()
                .expect(key("counter"), found)
                .set(key("counter"), next.to_string());
            match space.apply(page) {
                Ok(_) => steps += 1,
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => refusals += 1,
                Err(error) if error.retry() == Retry::Later => refusals += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })?;
    let counter = db.space()?.load(&key("counter"))?;
    let expected = Bytes::from((WRITERS as u64 * STEPS).to_string());
    ensure_eq!(counter, Some(expected), "the counter after every step");
    Ok(())
}
