//! Large pages, large spaces, and what must not cost more in them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_core::{
    DeleteOutcome, FeedCursor, Known, Limit, OpId, Operation, Page, Payloads, Result,
    UpsertOutcome, limits,
};

use crate::data::{id, ids, key, order, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::{Harness, WorkMeter};
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
        let all_gone = (0..size).fold(Page::new(), |page, n| page.delete(removed(id(n))));
        let applied = space.apply(all_gone)?;
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
    let stored: BTreeSet<OpId> = (0..LARGE).map(id).collect();
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
            let part = space.part(rest, Limit::rows(rest.len()).bytes(budget))?;
            ensure!(!part.rows.is_empty(), "a part of a get answered nothing");
            let rows = part.rows.iter().flatten();
            let bytes: usize = rows.clone().skip(1).map(weight).sum();
            ensure!(
                bytes <= budget,
                "a part of {bytes} bytes beyond its first row, asked were {budget}"
            );
            for (id, row) in rest.iter().zip(&part.rows) {
                let found = row.as_ref().map(|row| row.operation.id);
                let expected = stored.contains(id).then_some(*id);
                ensure_eq!(found, expected, "the row a get answers for {id}");
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
        ensure_eq!(live, stored.contains(id), "whether {id} is known as live");
    }
    Ok(())
}

/// The statements of one call, by their text: how many rows they touched.
pub(crate) type Cost = BTreeMap<String, u64>;

/// What the statements of one call cost.
pub(crate) fn measure<T>(meter: &WorkMeter, call: impl FnOnce() -> Result<T>) -> Verdict<Cost> {
    // What came before the call is not its cost.
    drop(meter());
    call()?;
    let mut cost = Cost::new();
    for work in meter() {
        *cost.entry(work.statement).or_default() += work.rows;
    }
    Ok(cost)
}

/// Requires that no statement of the call costs more in the large space than in the small one, but
/// for what a deeper index costs.
fn same_cost(what: &str, small: &Cost, large: &Cost, sweeping: &BTreeSet<String>) -> Verdict {
    ensure!(
        !large.is_empty(),
        "{what} ran no statement that the backend counted"
    );
    // A statement that only the large space runs is held to the dearest of the small one.
    let dearest = small.values().max().copied().unwrap_or_default();
    for (statement, rows) in large {
        let before = small.get(statement).copied().unwrap_or(dearest);
        // A sweep that the backend runs on its own may fall into the measurement, and is bounded.
        let slack = if sweeping.contains(statement) {
            MOST / 2
        } else {
            50
        };
        ensure!(
            *rows <= 2 * before + slack,
            "{what}: {statement} touches {rows} rows in the large space, {before} in the small one"
        );
    }
    Ok(())
}

/// Fills a space with so many rows and a tenth as many tombstones, without payloads to speak of.
fn fill<H: Harness>(space: &Space<'_, H>, rows: u64) -> Verdict {
    for from in (0..rows).step_by(100_000) {
        let to = rows.min(from + 100_000);
        let _ = space.apply(Page::new().upserts(small(from..to)))?;
    }
    let page = (0..rows / 10).fold(Page::new(), |page, n| page.delete(removed(id(n))));
    let known = id(rows / 2);
    let _ = space.apply(page.backfill(known, order(1)).set(key("k"), "v"))?;
    Ok(())
}

const FEW: u64 = 1_000;
const MOST: u64 = 200_000;

pub(crate) fn opening_counting_and_the_head_of_the_feed_do_not_grow_with_the_space<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let (connection, meter) = db.connect_counting()?;
    let mut costs = Vec::new();
    for (name, rows) in [("few", FEW), ("many", MOST)] {
        let space = db.connect()?.open(name)?;
        fill(&space, rows)?;
        let cursor = space.cursor()?;
        let space = connection.open(name)?;
        let (live, dead, stranger) = (rows - 1, id(0), MOST + 1);
        let one = |n: u64| Page::new().upserts(small(n..n + 1));
        let ten = Limit::rows(10);
        let calls = || -> Verdict<_> {
            Ok([
                ("open", measure(&meter, || connection.open(name))?),
                ("stats", measure(&meter, || space.stats())?),
                (
                    "feed",
                    measure(&meter, || space.feed(cursor, ten, Payloads::Include))?,
                ),
                ("load", measure(&meter, || space.load(&key("k")))?),
                (
                    "known",
                    measure(&meter, || space.known(&[id(live), dead, id(stranger)]))?,
                ),
                (
                    "get",
                    measure(&meter, || {
                        space.part(&[id(live), dead], Limit::rows(2).bytes(1))
                    })?,
                ),
                (
                    "apply of a known row",
                    measure(&meter, || space.apply(one(live)))?,
                ),
                (
                    "apply of a tombstoned row",
                    measure(&meter, || space.apply(one(0)))?,
                ),
            ])
        };
        // Once before anything counts: statements are prepared then, and caches filled.
        calls()?;
        let new = measure(&meter, || space.apply(one(stranger)))?;
        let gone = Page::new().delete(removed(id(stranger)));
        let gone = measure(&meter, || space.apply(gone))?;
        costs.push((calls()?, [("apply of a new row", new), ("delete", gone)]));
    }
    let [(few_calls, few_pages), (many_calls, many_pages)] = costs.as_slice() else {
        fail!("two spaces were measured");
    };
    let few = few_calls.iter().chain(few_pages);
    for ((what, few), (_, many)) in few.zip(many_calls.iter().chain(many_pages)) {
        // A backend may open a space without asking its database anything.
        if *what != "open" || !many.is_empty() {
            same_cost(what, few, many, &BTreeSet::new())?;
        }
    }
    Ok(())
}

pub(crate) fn a_reset_costs_the_same_whatever_it_leaves_behind<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let (connection, meter) = db.connect_counting()?;
    // What a sweep runs, from one that is asked for.
    let swept = connection.open("swept")?;
    fill(&swept, FEW)?;
    let _ = swept.apply(Page::new().reset())?;
    let mut sweeping = BTreeSet::new();
    while {
        let mut more = false;
        let cost = measure(&meter, || {
            connection.sweep(100).map(|swept| more = swept.more)
        })?;
        sweeping.extend(cost.into_keys());
        more
    } {}
    let mut costs = Vec::new();
    for (name, rows) in [("few", FEW), ("many", MOST)] {
        fill(&db.connect()?.open(name)?, rows)?;
        let space = connection.open(name)?;
        let _ = space.stats()?;
        costs.push(measure(&meter, || {
            space.apply(Page::new().reset().set(key("k"), "v"))
        })?);
        ensure_eq!(space.stats()?.total, 0, "rows after the reset");
        let mut follower = Follower::new(FeedCursor::Beginning);
        ensure!(
            !follower.step(&space, Limit::rows(10), Payloads::Skip)?,
            "entries after the reset"
        );
    }
    let [few, many] = costs.as_slice() else {
        fail!("two spaces were measured");
    };
    same_cost("a reset", few, many, &sweeping)
}
