//! Walks: by time, by order, by object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use sync_core::{
    Batch, FeedCursor, Limit, OpId, Operation, OrderKey, Page, Payloads, Result, Row, Seq, TimeKey,
    TimeRange, Ts, limits,
};

use crate::data::{id, ids, key, object, op, ops, order, removed, ts};
use crate::failure::{Verdict, ensure, ensure_eq};
use crate::harness::Harness;
use crate::rig::{Rig, Space, finish, together};
use crate::walk::{row_of, weight};

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
    let mut pages = 0;
    loop {
        let batch = W::page(space, after, limit)?;
        pages += 1;
        for id in batch.items {
            *seen.entry(id).or_insert(0) += 1;
        }
        let Some(cursor) = batch.next else { break };
        ensure!(pages < 10_000, "{} does not end", W::NAME);
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
            .get_within(&wanted, Limit::rows(wanted.len()).bytes(budget))?
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
            .part(&wanted, Limit::rows(wanted.len()).bytes(budget))?
            .rows
            .into_iter()
            .flatten()
            .collect();
        within(&part, budget)?;
    }
    let part = space.part(&wanted, Limit::rows(2))?;
    ensure_eq!(
        (part.rows.len(), part.next),
        (2, Some(2)),
        "ids answered and the next one of a get of two ids at most"
    );
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

/// The number of the odd versions is far above that of the even ones, in ts and order.
const FAR: u64 = 10_000;

/// A row whose ts, order, object and payload all say the same version.
fn version(n: u64, number: u64) -> Operation {
    let odd = !number.is_multiple_of(2);
    let place = number + if odd { FAR } else { 0 };
    let payload = vec![number as u8; 2_000 + number as usize];
    Operation::new(id(n), ts(place), payload)
        .about(object(if odd { "odd" } else { "even" }))
        .at(order(place))
}

/// Rows that are replaced all the time, every second time by one at another place: what is read in
/// two pieces says two, or is where it does not belong.
pub(crate) fn a_row_is_returned_as_one_version<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    const ROWS: u64 = 8;
    const VERSIONS: u64 = 200;
    const LOOKS: usize = 150;
    let (db, writer) = rig.space()?;
    let _ = writer.apply(Page::new().upserts((0..ROWS).map(|n| version(n, 0))))?;
    let readers: Vec<Space<'_, H>> = (0..2).map(|_| db.space()).collect::<Result<_>>()?;
    let (done, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            // As long as somebody looks, however slow the one or the other is.
            for number in (0..VERSIONS).cycle().skip(1) {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                let rows = (0..ROWS).map(|n| version(n, number));
                let _ = writer.apply(Page::new().upserts(rows).replacing())?;
                written.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        // Readers that are done before the writer has begun have seen nothing.
        let enough = |looks| {
            let versions = written.load(Ordering::SeqCst);
            looks >= LOOKS && (versions >= 50 || writing.is_finished())
        };
        let looked = together(&readers, |reader, space| {
            let mut cursor = FeedCursor::Beginning;
            for looks in 0.. {
                if enough(looks) {
                    break;
                }
                let part = space.part(&ids(0..ROWS), Limit::rows(usize::MAX))?;
                one_version("get", part.rows.into_iter().flatten(), |_| true)?;
                if reader == 0 {
                    look_at_places(space)?;
                } else {
                    let page = space.feed(cursor, MANY, Payloads::Include)?;
                    one_version("feed", page.entries.iter().filter_map(row_of), |_| true)?;
                    cursor = page.next;
                    look_at_objects(space)?;
                }
            }
            Ok(())
        });
        done.store(true, Ordering::SeqCst);
        finish(writing)?;
        looked.map(drop)
    })
}

fn look_at_places<H: Harness>(space: &Space<'_, H>) -> Verdict {
    let near = TimeRange {
        from: ts(0),
        to: ts(FAR - 1),
    };
    let far = TimeRange {
        from: ts(FAR),
        to: Ts::MAX,
    };
    for range in [near, far] {
        let rows = space.scan_time(range, None, MANY)?.items;
        one_version("scan_time", rows, |row| {
            row.ts >= range.from && row.ts <= range.to
        })?;
    }
    let after = OrderKey {
        sync_order: order(FAR),
        id: OpId::new([0; 32]),
    };
    let rows = space.scan_order(Some(after), MANY)?.items;
    one_version("scan_order", rows, |row| {
        row.sync_order > Some(after.sync_order)
    })
}

fn look_at_objects<H: Harness>(space: &Space<'_, H>) -> Verdict {
    for name in ["even", "odd"] {
        let name = object(name);
        let rows = space.scan_object(&name, None, MANY)?.items;
        one_version("scan_object", rows, |row| {
            row.object.as_ref() == Some(&name)
        })?;
    }
    Ok(())
}

/// Every row agrees with itself and belongs to the answer. The rows of one answer need not be of
/// one version.
fn one_version(
    call: &str,
    rows: impl IntoIterator<Item = Row>,
    belongs: impl Fn(&Operation) -> bool,
) -> Verdict {
    for Row { operation, .. } in rows {
        let number = operation.ts.value() % FAR;
        let n = (0..8).find(|n| id(*n) == operation.id).unwrap_or_default();
        ensure!(
            operation == version(n, number),
            "{call} answers a row with the ts {}, the order {:?}, {:?}, and {} bytes of payload",
            operation.ts,
            operation.sync_order,
            operation.object,
            operation.payload.len()
        );
        ensure!(
            belongs(&operation),
            "{call} answers a row that does not belong there: ts {}, order {:?}, {:?}",
            operation.ts,
            operation.sync_order,
            operation.object
        );
    }
    Ok(())
}
