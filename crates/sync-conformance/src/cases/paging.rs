//! Walks: by time, by order, by object.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use sync_core::{
    Batch, FeedCursor, Limit, OpId, Operation, OrderKey, Page, Payloads, Result, Row, Seq,
    StateKey, TimeKey, TimeRange, Ts, limits,
};

use crate::data::{id, ids, key, object, op, ops, order, page_of, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::rig::{Rig, Space};
use crate::walk::weight;

const MANY: Limit = Limit::rows(1_000);

/// One walk of the four, seen as ids.
trait Walk {
    type Cursor: Copy;

    const NAME: &'static str;

    fn page<H: Harness>(
        space: &Space<'_, H>,
        after: Option<Self::Cursor>,
        limit: Limit,
    ) -> Result<Batch<OpId, Self::Cursor>>;
}

struct ByTime;
struct Keys;
struct ByOrder;
struct ByObject;

impl Walk for ByTime {
    type Cursor = TimeKey;

    const NAME: &'static str = "scan_time";

    fn page<H: Harness>(
        space: &Space<'_, H>,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<OpId, TimeKey>> {
        space
            .scan_time(TimeRange::ALL, after, limit)
            .map(|batch| ids_of(batch, |row| row.operation.id))
    }
}

impl Walk for Keys {
    type Cursor = TimeKey;

    const NAME: &'static str = "scan_keys";

    fn page<H: Harness>(
        space: &Space<'_, H>,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<OpId, TimeKey>> {
        space
            .scan_keys(TimeRange::ALL, after, limit)
            .map(|batch| ids_of(batch, |key| key.id))
    }
}

impl Walk for ByOrder {
    type Cursor = OrderKey;

    const NAME: &'static str = "scan_order";

    fn page<H: Harness>(
        space: &Space<'_, H>,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<OpId, OrderKey>> {
        space
            .scan_order(after, limit)
            .map(|batch| ids_of(batch, |row| row.operation.id))
    }
}

impl Walk for ByObject {
    type Cursor = Seq;

    const NAME: &'static str = "scan_object";

    fn page<H: Harness>(
        space: &Space<'_, H>,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<OpId, Seq>> {
        space
            .scan_object(&object("walked"), after, limit)
            .map(|batch| ids_of(batch, |row| row.operation.id))
    }
}

fn ids_of<Item, Cursor>(
    batch: Batch<Item, Cursor>,
    id_of: impl Fn(&Item) -> OpId,
) -> Batch<OpId, Cursor> {
    Batch {
        items: batch.items.iter().map(id_of).collect(),
        next: batch.next,
    }
}

/// Rows come before, at and behind the cursor and others go, between any two pages.
pub(crate) fn a_walk_sees_every_row_that_stands_once_whatever_is_written<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    // By rows; and by bytes, so that a page ends before its limit.
    let walks = [
        Limit::rows(1),
        Limit::rows(2),
        Limit::rows(7),
        MANY.bytes(0),
        MANY.bytes(40),
    ];
    for (n, limit) in walks.into_iter().enumerate() {
        walk_while_written::<H, ByTime>(&connection.open(&format!("time-{n}"))?, limit)?;
        walk_while_written::<H, ByOrder>(&connection.open(&format!("order-{n}"))?, limit)?;
        walk_while_written::<H, ByObject>(&connection.open(&format!("object-{n}"))?, limit)?;
        // A key is 40 bytes, and no budget ends its page.
        if limit.max_bytes() == limits::READ_BYTES {
            walk_while_written::<H, Keys>(&connection.open(&format!("keys-{n}"))?, limit)?;
        }
    }
    Ok(())
}

fn walk_while_written<H: Harness, W: Walk>(space: &Space<'_, H>, limit: Limit) -> Verdict {
    let walked = |n: u64, place: u64| {
        let mut operation = op(n).at(order(place)).about(object("walked"));
        operation.ts = ts(place);
        operation
    };
    // 60 rows at places 10, 10, 20, 20, …: every place is shared by two ids.
    let _ = space.apply(Page::new().upserts((0..60).map(|n| walked(n, 10 + n / 2 * 10))))?;
    let mut standing: BTreeSet<OpId> = ids(0..60).into_iter().collect();
    let mut random = fastrand::Rng::with_seed(0x0c32);
    let mut seen = BTreeMap::new();
    let mut next = 1_000;
    let mut after = None;
    loop {
        let batch = W::page(space, after, limit)?;
        for id in batch.items {
            *seen.entry(id).or_insert(0) += 1;
        }
        let Some(cursor) = batch.next else { break };
        ensure!(seen.len() < 10_000, "{} does not end", W::NAME);
        after = Some(cursor);
        // Ten steps on average to the end of the first 60, so new rows come on both sides.
        let mut page = Page::new();
        for _ in 0..2 {
            page = page.upsert(walked(next, random.u64(0..400)));
            next += 1;
        }
        let gone = id(random.u64(0..60));
        if random.bool() {
            standing.remove(&gone);
            page = page.delete(removed(gone));
        }
        // Few enough that the walk gets ahead of the writer.
        if next < 1_200 {
            let _ = space.apply(page)?;
        }
    }
    for (id, times) in &seen {
        ensure!(*times == 1, "{} shows {id} {times} times", W::NAME);
    }
    for id in &standing {
        ensure!(
            seen.contains_key(id),
            "{} with {limit:?} never shows {id}, which stood throughout",
            W::NAME
        );
    }
    Ok(())
}

/// A byte budget ends pages and never the walk; one row is always answered.
pub(crate) fn a_byte_budget_ends_a_page_and_never_the_walk<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let sizes = [0_usize, 10, 1_000, 5, 300_000, 0, 0, 7, 1_000_000, 3, 3, 3];
    let large = Bytes::from(vec![b'x'; 1_000_000]);
    let operations = (0..).zip(sizes).map(|(n, size)| {
        Operation::new(id(n), ts(n), large.slice(..size))
            .at(order(n))
            .about(object("a"))
    });
    let page = Page::new().upserts(operations);
    let state = (0..).zip(sizes).fold(page, |page, (n, size)| {
        page.set(
            key(&format!("key {n:02}")),
            large.slice(..size.min(limits::STATE_VALUE_BYTES)),
        )
    });
    let _ = space.apply(state)?;
    let all = space.rows_by_time(TimeRange::ALL, MANY)?;
    ensure_eq!(all.len(), sizes.len(), "rows");
    let feed = space.entries(FeedCursor::Beginning, MANY)?;
    let wanted = ids(0..sizes.len() as u64);
    let entries = space.state_with("", MANY)?;
    for budget in [0, 1, 4, 12, 1_100, 400_000, 2_000_000] {
        let limit = MANY.bytes(budget);
        ensure_eq!(
            space.rows_by_time(TimeRange::ALL, limit)?,
            all,
            "scan_time within {budget}"
        );
        ensure_eq!(
            space.rows_by_order(limit)?,
            all,
            "scan_order within {budget}"
        );
        ensure_eq!(
            space.rows_of_object(&object("a"), limit)?,
            all,
            "scan_object within {budget}"
        );
        ensure_eq!(
            space.entries(FeedCursor::Beginning, limit)?,
            feed,
            "the feed within {budget}"
        );
        ensure_eq!(
            space.state_with("", limit)?,
            entries,
            "list within {budget}"
        );
        let got: Vec<Row> = space
            .get_within(&wanted, budget)?
            .into_iter()
            .flatten()
            .collect();
        ensure_eq!(got, all, "get within {budget}");
        ensure_eq!(
            space.keys_by_time(TimeRange::ALL, limit)?.len(),
            all.len(),
            "scan_keys"
        );
        let mut after = None;
        loop {
            let batch = space.scan_time(TimeRange::ALL, after, limit)?;
            within(&batch.items, budget)?;
            after = batch.next;
            if after.is_none() {
                break;
            }
        }
        let part: Vec<Row> = space
            .part(&wanted, budget)?
            .rows
            .into_iter()
            .flatten()
            .collect();
        within(&part, budget)?;
    }
    let page = space.feed(FeedCursor::Beginning, MANY.bytes(0), Payloads::Skip)?;
    ensure!(
        !page.entries.is_empty(),
        "a feed page without payloads and without entries"
    );
    Ok(())
}

/// What is beyond the first row fits the budget.
fn within(rows: &[Row], budget: usize) -> Verdict {
    let bytes: usize = rows.iter().skip(1).map(weight).sum();
    ensure!(
        bytes <= budget,
        "{bytes} bytes beyond the first row, {budget} were asked for"
    );
    Ok(())
}

pub(crate) fn ten_thousand_rows_of_one_place_are_paged_exactly<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    const ROWS: u64 = 10_000;
    let (_db, space) = rig.space()?;
    let operations = ops(0..ROWS).map(|mut operation| {
        operation.ts = ts(77);
        operation.at(order(5))
    });
    let _ = space.apply(Page::new().upserts(operations))?;
    let mut expected = ids(0..ROWS);
    expected.sort_unstable();
    for limit in [1, 2, 3, 999, 1_000] {
        let limit = Limit::rows(limit);
        let keys = space.keys_by_time(TimeRange::ALL, limit)?;
        let found: Vec<OpId> = keys.iter().map(|key| key.id).collect();
        ensure_eq!(found, expected, "ids of one ts with {limit:?}");
        let rows = space.rows_by_order(limit)?;
        let found: Vec<OpId> = rows.iter().map(|row| row.operation.id).collect();
        ensure_eq!(found, expected, "ids of one sync order with {limit:?}");
    }
    let rows = space.rows_by_time(TimeRange::ALL, Limit::rows(999))?;
    let found: Vec<OpId> = rows.iter().map(|row| row.operation.id).collect();
    ensure_eq!(found, expected, "rows of one ts");
    Ok(())
}

/// No collation: what a text would sort together or aside stays where its bytes are.
pub(crate) fn byte_order_is_unsigned_everywhere<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let words = [
        "a",
        "A",
        "b",
        "B",
        "Z",
        "z",
        "_",
        "-",
        ".",
        "ä",
        "a\u{308}",
        "é",
        "ß",
        "ss",
        "æ",
        "ae",
        "ﬀ",
        "ff",
        "İ",
        "i",
        "ı",
        "0",
        "1",
        "10",
        "2",
        " ",
        "  ",
        "ab",
        "a b",
        "a-b",
        "a.b",
        "\u{10000}",
        "\u{ffff}",
        "\u{e000}",
        "я",
        "日本",
        "😀",
        "~",
        "\u{7f}",
        "\u{80}",
    ];
    let mut keys: Vec<StateKey> = words.into_iter().map(key).collect();
    let page = keys
        .iter()
        .fold(Page::new(), |page, key| page.set(key.clone(), "v"));
    let mut wanted: Vec<OpId> = (0..=255_u8)
        .map(|byte| {
            let mut bytes = [0x41; 32];
            if let Some(first) = bytes.first_mut() {
                *first = byte;
            }
            OpId::new(bytes)
        })
        .collect();
    fastrand::Rng::with_seed(0x0c34).shuffle(&mut wanted);
    let operations = wanted
        .iter()
        .map(|id| Operation::new(*id, ts(1), "x").at(order(1)));
    let _ = space.apply(page.upserts(operations))?;
    wanted.sort_unstable();
    keys.sort_unstable_by(|a, b| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
    for limit in [1, 3, 1_000] {
        let limit = Limit::rows(limit);
        let found = space.keys_by_time(TimeRange::ALL, limit)?;
        let found: Vec<OpId> = found.iter().map(|key| key.id).collect();
        ensure_eq!(found, wanted, "ids by time");
        let found: Vec<OpId> = space
            .rows_by_order(limit)?
            .iter()
            .map(|row| row.operation.id)
            .collect();
        ensure_eq!(found, wanted, "ids by order");
        let found: Vec<StateKey> = space
            .state_with("", limit)?
            .into_iter()
            .map(|entry| entry.key)
            .collect();
        ensure_eq!(found, keys, "state keys");
    }
    let connection = db.connect()?;
    let mut names = [
        "b", "a", "a.b", "a-b", "a_b", "ab", "0", "9", "10", "_", "-", ".", "space",
    ];
    for name in names {
        let _ = connection.open(name)?.apply(page_of(0..1))?;
    }
    names.sort_unstable();
    for limit in [1, 2, 100] {
        let mut found: Vec<String> = Vec::new();
        let mut after = None;
        loop {
            let page = connection.spaces(after.as_ref(), limit)?;
            ensure!(
                page.len() <= limit,
                "{} spaces where {limit} were asked for",
                page.len()
            );
            let Some(last) = page.last() else { break };
            if after.as_ref().is_some_and(|after| last <= after) {
                fail!("spaces after {after:?} goes back to {last}");
            }
            after = Some(last.clone());
            found.extend(page.iter().map(ToString::to_string));
        }
        ensure_eq!(found, names, "spaces, {limit} at a time");
    }
    Ok(())
}

pub(crate) fn range_bounds_are_inclusive_and_limits_are_kept<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let places = [
        0,
        0,
        1,
        5,
        5,
        5,
        9,
        Ts::MAX.value() - 1,
        Ts::MAX.value(),
        Ts::MAX.value(),
    ];
    let operations: Vec<Operation> = (0..)
        .zip(places)
        .map(|(n, place)| Operation::new(id(n), ts(place), "x"))
        .collect();
    let _ = space.apply(Page::new().upserts(operations.clone()))?;
    let mut all: Vec<TimeKey> = operations.iter().map(Operation::time_key).collect();
    all.sort_unstable();
    let bounds = [0, 1, 2, 5, 6, 9, 10, Ts::MAX.value() - 1, Ts::MAX.value()];
    for from in bounds {
        for to in bounds {
            let range = TimeRange {
                from: ts(from),
                to: ts(to),
            };
            let inside: Vec<TimeKey> = all
                .iter()
                .copied()
                .filter(|key| key.ts >= range.from && key.ts <= range.to)
                .collect();
            for limit in [0, 1, 2, inside.len(), inside.len() + 1, usize::MAX] {
                let limit = Limit::rows(limit);
                ensure_eq!(
                    space.keys_by_time(range, limit)?,
                    inside,
                    "keys in {range:?}"
                );
                let rows = space.rows_by_time(range, limit)?;
                let found: Vec<TimeKey> = rows.iter().map(|row| row.operation.time_key()).collect();
                ensure_eq!(found, inside, "rows in {range:?} with {limit:?}");
            }
            // A cursor from outside the range, before and behind it.
            for after in &all {
                let rest: Vec<TimeKey> = inside.iter().copied().filter(|key| key > after).collect();
                let batch = space.scan_keys(range, Some(*after), MANY)?;
                ensure_eq!(batch.items, rest, "keys in {range:?} after {after:?}");
                let batch = space.scan_time(range, Some(*after), MANY)?;
                let found: Vec<TimeKey> = batch
                    .items
                    .iter()
                    .map(|row| row.operation.time_key())
                    .collect();
                ensure_eq!(found, rest, "rows in {range:?} after {after:?}");
            }
        }
    }
    // A cursor need not be a row that is there.
    let between = TimeKey {
        ts: ts(5),
        id: OpId::new([0; 32]),
    };
    let batch = space.scan_keys(TimeRange::ALL, Some(between), MANY)?;
    let rest: Vec<TimeKey> = all.iter().copied().filter(|key| *key > between).collect();
    ensure_eq!(batch.items, rest, "keys after a place where no row is");
    Ok(())
}

/// Nothing promises that a claimed time is near the present one.
pub(crate) fn any_claimed_time_is_stored_and_listed<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let times = [
        0,
        1,
        1_231_006_505,
        4_102_444_800,
        253_402_300_800,
        u64::from(u32::MAX) + 1,
        Ts::MAX.value(),
    ];
    let operations = (0..)
        .zip(times)
        .map(|(n, time)| Operation::new(id(n), ts(time), "x"));
    let _ = space.apply(Page::new().upserts(operations))?;
    drop(space);
    let space = db.space()?;
    let rows = space.rows_by_time(TimeRange::ALL, Limit::rows(2))?;
    let mut expected = times;
    expected.sort_unstable();
    let found: Vec<u64> = rows.iter().map(|row| row.operation.ts.value()).collect();
    ensure_eq!(found, expected, "claimed times");
    for (n, time) in (0..).zip(times) {
        let range = TimeRange {
            from: ts(time),
            to: ts(time),
        };
        let found = space.keys_by_time(range, MANY)?;
        ensure_eq!(
            found,
            [TimeKey {
                ts: ts(time),
                id: id(n)
            }],
            "the keys of one claimed time"
        );
    }
    space.audit()
}

pub(crate) fn an_objects_operations_are_walked_by_seq<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let names: Vec<Bytes> = [
        &b"a"[..],
        b"ab",
        b"abc",
        b"A",
        b"\0",
        b"\0\0",
        b"a\0",
        b"\xff",
        b"\xff\xff",
        b"%",
        b"_",
        b"*",
        b"[a]",
        b"'",
        b"{}",
        b"\xc3\xa4",
        b"a ",
        b" a",
    ]
    .into_iter()
    .map(Bytes::from_static)
    .chain([
        Bytes::from(vec![b'a'; 255]),
        Bytes::from(vec![b'a'; 256]),
        Bytes::from(vec![0xff; 256]),
    ])
    .collect();
    let count = names.len() as u64;
    // Three operations of each object, among each other, and some without.
    let operations = (0..3 * count).map(|n| {
        let name = names.get((n % count) as usize).cloned().unwrap_or_default();
        op(n).about(object(name))
    });
    let _ = space.apply(Page::new().upserts(operations).upserts(ops(500..510)))?;
    for (n, name) in (0..).zip(&names) {
        let object = object(name.clone());
        let expected = ids_at([n, n + count, n + 2 * count]);
        for limit in [1, 2, 3, 100] {
            let rows = space.rows_of_object(&object, Limit::rows(limit))?;
            let found: Vec<OpId> = rows.iter().map(|row| row.operation.id).collect();
            ensure_eq!(
                found,
                expected,
                "operations of {object:?}, {limit} at a time"
            );
            ensure!(
                rows.iter()
                    .all(|row| row.operation.object.as_ref() == Some(&object)),
                "a row of another object among those of {object:?}"
            );
        }
    }
    // Deletes are followed; a replaced row moves to the end, or to another object.
    let moved = op(count).about(object("b"));
    let mut renewed = op(0).about(object("a"));
    renewed.ts = ts(3);
    let page = Page::new()
        .delete(removed(id(2 * count)))
        .upserts([moved, renewed])
        .replacing();
    let _ = space.apply(page)?;
    let _ = space.apply(Page::new().upsert(op(600).about(object("a"))))?;
    let rows = space.rows_of_object(&object("a"), Limit::rows(1))?;
    let found: Vec<OpId> = rows.iter().map(|row| row.operation.id).collect();
    ensure_eq!(
        found,
        ids_at([0, 600]),
        "operations of an object after changes"
    );
    let first = rows.first().map(|row| row.seq);
    let batch = space.scan_object(&object("a"), first, MANY)?;
    ensure_eq!(batch.items.len(), 1, "operations after the first");
    let found = space.rows_of_object(&object("b"), MANY)?;
    ensure_eq!(found.len(), 1, "operations of the object a row moved to");
    ensure_eq!(
        space.rows_of_object(&object("absent"), MANY)?.len(),
        0,
        "operations of a stranger"
    );
    space.audit()
}

fn ids_at(numbers: impl IntoIterator<Item = u64>) -> Vec<OpId> {
    numbers.into_iter().map(id).collect()
}

pub(crate) fn keys_are_rows_without_payloads_and_orders_only_the_ordered<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let mut random = fastrand::Rng::with_seed(0x0c37);
    let operations = (0..500).map(|n| {
        let mut operation = op(n);
        operation.ts = ts(random.u64(0..50));
        if random.bool() {
            operation.at(order(random.u64(0..50)))
        } else {
            operation
        }
    });
    let _ = space.apply(Page::new().upserts(operations))?;
    let rows = space.rows_by_time(TimeRange::ALL, Limit::rows(17))?;
    let keys: Vec<TimeKey> = rows.iter().map(|row| row.operation.time_key()).collect();
    ensure_eq!(
        space.keys_by_time(TimeRange::ALL, Limit::rows(13))?,
        keys,
        "the keys of all rows"
    );
    let mut ordered: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.operation.sync_order.is_some())
        .collect();
    ordered.sort_by_key(|row| (row.operation.sync_order, row.operation.id));
    ensure_eq!(
        space.rows_by_order(Limit::rows(11))?,
        ordered,
        "the ordered rows"
    );
    ensure_eq!(
        space.stats()?.ordered,
        ordered.len() as u64,
        "the counter of ordered rows"
    );
    Ok(())
}

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
