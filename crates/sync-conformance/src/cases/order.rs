//! The orders rows are walked in, and where a walk begins and ends.

use bytes::Bytes;
use sync_core::{
    FeedCursor, Limit, OpId, Operation, OrderKey, Page, Payloads, Row, Seq, StateKey, SyncOrder,
    TimeKey, TimeRange, Ts,
};

use crate::data::{id, ids, key, object, op, ops, order, page_of, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::rig::{Db, Rig};

const MANY: Limit = Limit::rows(1_000);

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
    spaces_are_listed_by_their_bytes(&db)
}

fn spaces_are_listed_by_their_bytes<H: Harness>(db: &Db<'_, H>) -> Verdict {
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

/// More than a database's own integers hold, as a limit and as a budget, is no limit at all.
pub(crate) fn the_largest_limit_is_a_limit<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let connection = db.connect()?;
    let space = connection.open("space")?;
    let rows = (0..20).map(|n| op(n).at(order(n)).about(object("a")));
    let page = (0..20).fold(Page::new(), |page, n| {
        page.set(key(&format!("key {n:02}")), "v")
    });
    let _ = space.apply(page.upserts(rows))?;
    let most = Limit::rows(usize::MAX).bytes(usize::MAX);
    let whole = |found: usize, ends: bool, call: &str| -> Verdict {
        ensure_eq!(
            (found, ends),
            (20, true),
            "(items, whether it ends) of {call}"
        );
        Ok(())
    };
    let batch = space.scan_time(TimeRange::ALL, None, most)?;
    whole(batch.items.len(), batch.next.is_none(), "scan_time")?;
    let batch = space.scan_keys(TimeRange::ALL, None, most)?;
    whole(batch.items.len(), batch.next.is_none(), "scan_keys")?;
    let batch = space.scan_order(None, most)?;
    whole(batch.items.len(), batch.next.is_none(), "scan_order")?;
    let batch = space.scan_object(&object("a"), None, most)?;
    whole(batch.items.len(), batch.next.is_none(), "scan_object")?;
    let batch = space.list("", None, most)?;
    whole(batch.items.len(), batch.next.is_none(), "list")?;
    let page = space.feed(FeedCursor::Beginning, most, Payloads::Include)?;
    whole(page.entries.len(), !page.more, "feed")?;
    let part = space.part(&ids(0..20), Limit::rows(20).bytes(usize::MAX))?;
    whole(
        part.rows.iter().flatten().count(),
        part.next.is_none(),
        "get",
    )?;
    ensure_eq!(connection.spaces(None, usize::MAX)?.len(), 1, "spaces");
    let _ = space.apply(Page::new().reset())?;
    ensure!(
        !connection.sweep(usize::MAX)?.more,
        "a sweep without limit leaves something"
    );
    // Right behind the last place there is.
    let last = TimeKey {
        ts: Ts::MAX,
        id: OpId::new([0xff; 32]),
    };
    let batch = space.scan_keys(TimeRange::ALL, Some(last), most)?;
    ensure!(
        batch.items.is_empty() && batch.next.is_none(),
        "keys behind the last place"
    );
    let last = OrderKey {
        sync_order: SyncOrder::MAX,
        id: OpId::new([0xff; 32]),
    };
    let batch = space.scan_order(Some(last), most)?;
    ensure!(
        batch.items.is_empty() && batch.next.is_none(),
        "rows behind the last order"
    );
    let batch = space.scan_object(&object("a"), Some(Seq::MAX), most)?;
    ensure!(
        batch.items.is_empty() && batch.next.is_none(),
        "rows behind the last seq"
    );
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
