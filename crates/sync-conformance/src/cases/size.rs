//! Large pages, large spaces, and what must not cost more in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sync_core::{
    DeleteOutcome, FeedCursor, Known, Limit, OpId, Operation, Page, Payloads, Result,
    UpsertOutcome, limits,
};

use crate::data::{id, ids, key, order, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq};
use crate::harness::{Harness, Work, WorkSink};
use crate::rig::{Rig, Space};
use crate::walk::{Follower, weight};

/// Operations with one small payload, which they share: no time goes into making them.
fn small(range: std::ops::Range<u64>) -> impl Iterator<Item = Operation> {
    let payload = Bytes::from_static(b"payload");
    range.map(move |n| Operation::new(id(n), ts(n), payload.clone()))
}

/// On both sides of what drivers bind, unpack or put in a message.
pub(crate) fn pages_of_any_size_are_one_transaction<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    for size in [1_u64, 999, 8_000, 32_766, 32_767, 65_535, 65_536, 100_000] {
        let connection = db.connect()?;
        let name = format!("size-{size}");
        let space = connection.open(&name)?;
        let wanted = ids(0..size);
        // Preconditions are part of the same transaction, so a failing one undoes all of it.
        let failing = Page::new()
            .upserts(small(0..size))
            .expect(key("k"), Some("never"));
        ensure!(
            space.apply(failing).is_err(),
            "a page with a failing precondition"
        );
        ensure_eq!(
            space.stats()?.total,
            0,
            "rows of a page of {size} that was refused"
        );
        let applied = space.apply(Page::new().upserts(small(0..size)))?;
        let inserted = applied
            .upserts
            .iter()
            .all(|outcome| *outcome == UpsertOutcome::Inserted);
        ensure!(
            inserted,
            "a page of {size} new ids with other outcomes than Inserted"
        );
        ensure_eq!(applied.upserts.len() as u64, size, "outcomes");
        let minted = applied.seqs.map(|range| (range.count(), range.last));
        ensure_eq!(
            minted,
            Some((size, space.stats()?.head)),
            "(seqs minted, head)"
        );
        let page = space.feed(
            FeedCursor::Beginning,
            Limit::rows(size as usize),
            Payloads::Skip,
        )?;
        let found: Vec<OpId> = page.entries.iter().map(|entry| entry.id).collect();
        ensure_eq!(found, wanted, "the feed's entries, in input order");
        let live = space.known(&wanted)?;
        let live = live
            .iter()
            .filter(|known| matches!(known, Known::Live { .. }))
            .count();
        ensure_eq!(live as u64, size, "ids known as live");

        // The same again, then every second one gets its order, then all go.
        let applied = space.apply(Page::new().upserts(small(0..size)))?;
        ensure_eq!(applied.totals().unchanged, size, "the same page again");
        let backfills = (0..size).fold(Page::new(), |page, n| page.backfill(id(n), order(n / 2)));
        let applied = space.apply(backfills)?;
        ensure_eq!(applied.totals().ordered, size, "backfills");
        let deletes = (0..size).fold(Page::new(), |page, n| page.delete(removed(id(n))));
        let applied = space.apply(deletes)?;
        let deleted = applied
            .deletes
            .iter()
            .all(|outcome| *outcome == DeleteOutcome::Deleted);
        ensure!(
            deleted && applied.deletes.len() as u64 == size,
            "deletes of every row"
        );
        let stats = space.stats()?;
        ensure_eq!(
            (stats.total, stats.ordered, stats.tombstones),
            (0, 0, size),
            "counters"
        );
        ensure!(
            connection.drop_space(&name)?,
            "the space is there to be dropped"
        );
    }
    Ok(())
}

/// All four lists share one page of the largest size.
pub(crate) fn a_page_of_every_list_reaches_the_limit<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let quarter = limits::PAGE_OPERATIONS as u64 / 4;
    let rejects = (0..quarter).fold(Page::new(), |page, n| page.delete(removed(id(n)).reject()));
    let _ = space.apply(rejects.upserts(small(quarter..3 * quarter)))?;
    // Lifts of the first quarter, deletes of the second, upserts of the first, orders for the third.
    let page = (0..quarter).fold(Page::new(), |page, n| {
        page.lift(id(n))
            .delete(removed(id(quarter + n)))
            .backfill(id(2 * quarter + n), order(n))
    });
    let applied = space.apply(page.upserts(small(0..quarter)))?;
    let totals = applied.totals();
    ensure_eq!(
        (
            totals.lifted,
            totals.deleted,
            totals.inserted,
            totals.ordered
        ),
        (quarter, quarter, quarter, quarter),
        "(lifted, deleted, inserted, ordered)"
    );
    let stats = space.stats()?;
    ensure_eq!(
        (stats.total, stats.ordered, stats.tombstones),
        (2 * quarter, quarter, 2 * quarter),
        "counters"
    );
    Ok(())
}

pub(crate) fn a_get_of_100_000_ids_comes_in_bounded_parts<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const LARGE: u64 = 400;
    const ASKED: u64 = 100_000;
    let (_db, space) = rig.space()?;
    let payload = Bytes::from(vec![b'x'; 128 << 10]);
    for from in (0..LARGE).step_by(200) {
        let operations = (from..from + 200).map(|n| Operation::new(id(n), ts(n), payload.clone()));
        let _ = space.apply(Page::new().upserts(operations))?;
    }
    // Large rows, strangers, and every id many times over.
    let wanted: Vec<OpId> = (0..ASKED).map(|n| id(n * 7 % (2 * LARGE))).collect();
    for (asked, budget) in [
        (ASKED as usize, 4 << 20),
        (2_000, 1),
        (2_000, limits::READ_BYTES),
    ] {
        let mut answered = 0;
        // The first parts; all of them would be gigabytes.
        for _ in 0..20 {
            let rest = wanted.get(answered..asked).unwrap_or_default();
            let part = space.part(rest, budget)?;
            ensure!(!part.rows.is_empty(), "a part of a get answered nothing");
            let rows = part.rows.iter().flatten();
            let bytes: usize = rows.clone().skip(1).map(weight).sum();
            ensure!(
                bytes <= budget,
                "a part of {bytes} bytes beyond its first row, asked were {budget}"
            );
            for (id, row) in rest.iter().zip(&part.rows) {
                let found = row.as_ref().map(|row| row.operation.id);
                let live = space_holds(*id, LARGE);
                ensure_eq!(found, live.then_some(*id), "the row a get answers for {id}");
            }
            answered += part.rows.len();
            if part.next.is_none() {
                break;
            }
        }
        ensure!(answered > 0, "nothing was answered");
    }
    let one = id(1);
    for asked in [
        vec![],
        vec![one],
        vec![one; 5],
        vec![id(LARGE)],
        ids(LARGE..LARGE + 70_000),
    ] {
        let got = space.get(&asked)?;
        let found: Vec<Option<OpId>> = got
            .into_iter()
            .map(|row| row.map(|row| row.operation.id))
            .collect();
        let expected: Vec<Option<OpId>> =
            asked.iter().map(|id| (*id == one).then_some(*id)).collect();
        ensure_eq!(found, expected, "a get of {} ids", asked.len());
    }
    let known = space.known(&wanted)?;
    ensure_eq!(known.len(), wanted.len(), "answers of known to 100,000 ids");
    for (id, known) in wanted.iter().zip(known) {
        let live = matches!(known, Known::Live { .. });
        ensure_eq!(
            live,
            space_holds(*id, LARGE),
            "whether {id} is known as live"
        );
    }
    Ok(())
}

fn space_holds(wanted: OpId, rows: u64) -> bool {
    thread_local! {
        static LIVE: std::cell::RefCell<BTreeMap<OpId, u64>> = const { std::cell::RefCell::new(BTreeMap::new()) };
    }
    LIVE.with_borrow_mut(|live| {
        if live.is_empty() {
            live.extend((0..rows).map(|n| (id(n), n)));
        }
        live.contains_key(&wanted)
    })
}

/// The statements of one call, by their text: how many rows the most expensive one of them read.
type Cost = BTreeMap<String, (u64, u64)>;

/// Runs calls and says what each of their statements cost.
struct Meter {
    heard: Arc<Mutex<Vec<Work>>>,
}

impl Meter {
    fn new() -> (Self, WorkSink) {
        let heard: Arc<Mutex<Vec<Work>>> = Arc::default();
        let sink = Arc::clone(&heard);
        let sink: WorkSink = Arc::new(move |work| lock(&sink).push(work));
        (Self { heard }, sink)
    }

    fn measure<T>(&self, call: impl FnOnce() -> Result<T>) -> Verdict<Cost> {
        lock(&self.heard).clear();
        call()?;
        let mut cost = Cost::new();
        for work in lock(&self.heard).drain(..) {
            let most = cost.entry(work.statement).or_default();
            *most = (most.0.max(work.read), most.1.max(work.written));
        }
        Ok(cost)
    }
}

/// Requires that no statement of the call costs more in the large space than in the small one, but
/// for what a deeper index costs.
fn same_cost(what: &str, small: &Cost, large: &Cost) -> Verdict {
    ensure!(
        !large.is_empty(),
        "{what} ran no statement that the backend counted"
    );
    let most = |cost: &Cost| {
        let read = cost
            .values()
            .map(|(read, _)| *read)
            .max()
            .unwrap_or_default();
        let written = cost
            .values()
            .map(|(_, written)| *written)
            .max()
            .unwrap_or_default();
        (read, written)
    };
    for (statement, (read, written)) in large {
        // A statement that only the large space runs is held to the dearest of the small one.
        let (before, wrote) = small.get(statement).copied().unwrap_or_else(|| most(small));
        ensure!(
            *read <= 2 * before + 50 && *written <= 2 * wrote + 50,
            "{what}: {statement} reads {read} and writes {written} in the large space, \
             {before} and {wrote} in the small one"
        );
    }
    Ok(())
}

/// Fills a space with so many rows, some of them gone, without payloads to speak of.
fn fill<H: Harness>(space: &Space<'_, H>, rows: u64) -> Verdict {
    for from in (0..rows).step_by(100_000) {
        let to = rows.min(from + 100_000);
        let _ = space.apply(Page::new().upserts(small(from..to)))?;
    }
    let _ = space.apply(
        Page::new()
            .delete(removed(id(0)))
            .backfill(id(1), order(1))
            .set(key("k"), "v"),
    )?;
    Ok(())
}

const FEW: u64 = 1_000;
const MOST: u64 = 200_000;

pub(crate) fn opening_counting_and_the_head_of_the_feed_do_not_grow_with_the_space<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let (meter, sink) = Meter::new();
    let connection = db.connect_counting(sink)?;
    let mut costs = Vec::new();
    for (name, rows) in [("few", FEW), ("many", MOST)] {
        let space = db.connect()?.open(name)?;
        fill(&space, rows)?;
        let cursor = space.cursor()?;
        let space = connection.open(name)?;
        // Statements are prepared and caches filled before anything is measured.
        let _ = (
            space.stats()?,
            space.load(&key("k"))?,
            space.known(&[id(1)])?,
        );
        let _ = (
            space.part(&[id(1)], 1)?,
            space.feed(cursor, Limit::rows(10), Payloads::Skip)?,
        );
        let one = |n: u64| Page::new().upserts(small(n..n + 1));
        costs.push([
            ("open", meter.measure(|| connection.open(name))?),
            ("stats", meter.measure(|| space.stats())?),
            (
                "feed at the head",
                meter.measure(|| space.feed(cursor, Limit::rows(10), Payloads::Include))?,
            ),
            ("load", meter.measure(|| space.load(&key("k")))?),
            ("known", meter.measure(|| space.known(&[id(1), id(0)]))?),
            ("get", meter.measure(|| space.part(&[id(1)], 1))?),
            (
                "apply of one row",
                meter.measure(|| space.apply(one(MOST + 1)))?,
            ),
            (
                "apply of one known row",
                meter.measure(|| space.apply(one(5)))?,
            ),
        ]);
    }
    let [few, many] = costs.as_slice() else {
        crate::failure::fail!("two spaces were measured");
    };
    for ((what, few), (_, many)) in few.iter().zip(many) {
        // A backend may open a space without asking its database anything.
        if *what == "open" && many.is_empty() {
            continue;
        }
        same_cost(what, few, many)?;
    }
    Ok(())
}

pub(crate) fn a_reset_costs_the_same_whatever_it_leaves_behind<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let (meter, sink) = Meter::new();
    let connection = db.connect_counting(sink)?;
    let mut costs = Vec::new();
    for (name, rows) in [("few", FEW), ("many", MOST)] {
        fill(&db.connect()?.open(name)?, rows)?;
        let space = connection.open(name)?;
        let _ = space.stats()?;
        costs.push(meter.measure(|| space.apply(Page::new().reset().set(key("k"), "v")))?);
        ensure_eq!(space.stats()?.total, 0, "rows after the reset");
        let mut follower = Follower::new(FeedCursor::Beginning);
        ensure!(
            !follower.step(&space, Limit::rows(10), Payloads::Skip)?,
            "entries after the reset"
        );
    }
    let [few, many] = costs.as_slice() else {
        crate::failure::fail!("two spaces were measured");
    };
    same_cost("a reset", few, many)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
