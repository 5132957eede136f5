//! The walks: by time, by order, by object and through the state.

use std::cmp::Ordering;

use sync_conformance::model::Model;
use sync_core::{
    Batch, Limit, Object, OpId, OrderKey, Row, Seq, StateEntry, StateKey, TimeKey, TimeRange, Ts,
};

use crate::disk::Disk;
use crate::fault::Fault;
use crate::input::folded;

const ALL: Limit = Limit::rows(usize::MAX).bytes(usize::MAX);

pub(crate) fn time(
    disk: &Disk,
    model: &Model,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Batch<Row, TimeKey> {
    let range = bounds(disk.fault, range);
    let key = |row: &Row| row.operation.time_key();
    if let Some(compare) = order_of_ids(disk.fault) {
        let compare = |a: &TimeKey, b: &TimeKey| a.ts.cmp(&b.ts).then(compare(&a.id, &b.id));
        let rows = model.scan_time(range, None, ALL).items;
        return sorted(rows, after.as_ref(), limit, key, compare);
    }
    let after = cursor(disk.fault, after);
    let batch = model.scan_time(range, after, asked(disk.fault, limit));
    let batch = ended(disk.fault, batch, limit, |after| {
        model
            .scan_time(range, Some(after), Limit::rows(1))
            .items
            .first()
            .map(key)
    });
    hidden(disk.fault, batch)
}

pub(crate) fn keys(
    disk: &Disk,
    model: &Model,
    range: TimeRange,
    after: Option<TimeKey>,
    limit: Limit,
) -> Batch<TimeKey, TimeKey> {
    let range = bounds(disk.fault, range);
    if let Some(compare) = order_of_ids(disk.fault) {
        let compare = |a: &TimeKey, b: &TimeKey| a.ts.cmp(&b.ts).then(compare(&a.id, &b.id));
        let keys = model.scan_keys(range, None, ALL).items;
        return sorted(keys, after.as_ref(), limit, |key| *key, compare);
    }
    let after = cursor(disk.fault, after);
    let mut batch = model.scan_keys(range, after, asked(disk.fault, limit));
    if disk.has(Fault::KeysOfDeletedRowsStay) && after.is_none() && batch.next.is_none() {
        let gone = model
            .tombstones()
            .filter(|(_, tombstone)| model.row(tombstone.id).is_none());
        let gone = gone.filter_map(|(_, tombstone)| Some((tombstone.ts?, tombstone.id)));
        batch.items.extend(gone.map(|(ts, id)| TimeKey { ts, id }));
        batch.items.sort();
        batch.items.dedup();
    }
    batch
}

pub(crate) fn order(
    fault: Option<Fault>,
    model: &Model,
    after: Option<OrderKey>,
    limit: Limit,
) -> Batch<Row, OrderKey> {
    let key = |row: &Row| OrderKey {
        sync_order: row.operation.sync_order.unwrap_or_default(),
        id: row.operation.id,
    };
    if let Some(compare) = order_of_ids(fault) {
        let compare = |a: &OrderKey, b: &OrderKey| {
            a.sync_order.cmp(&b.sync_order).then(compare(&a.id, &b.id))
        };
        let rows = model.scan_order(None, ALL).items;
        return sorted(rows, after.as_ref(), limit, key, compare);
    }
    match fault {
        Some(Fault::OrderWalkShowsUnorderedRows) => {
            let mut rows = model.scan_time(TimeRange::ALL, None, ALL).items;
            rows.retain(|row| after.is_none_or(|after| key(row) > after));
            sorted(rows, after.as_ref(), limit, key, Ord::cmp)
        }
        Some(Fault::OrderCursorIsTheOrderAlone) => {
            let last = OpId::new([0xff; 32]);
            let after = after.map(|after| OrderKey { id: last, ..after });
            model.scan_order(after, limit)
        }
        _ => {
            let batch = model.scan_order(after, asked(fault, limit));
            ended(fault, batch, limit, |after| {
                model
                    .scan_order(Some(after), Limit::rows(1))
                    .items
                    .first()
                    .map(key)
            })
        }
    }
}

pub(crate) fn object(
    fault: Option<Fault>,
    model: &Model,
    object: &Object,
    after: Option<Seq>,
    limit: Limit,
) -> Batch<Row, Seq> {
    let fits = |row: &Row| {
        let Some(found) = &row.operation.object else {
            return false;
        };
        match fault {
            Some(Fault::ObjectIsAPrefix) => found.as_bytes().starts_with(object.as_bytes()),
            Some(Fault::ObjectIsText) => folded(found) == folded(object),
            Some(Fault::ObjectIsCut) => {
                let cut = |object: &Object| {
                    object.as_bytes()[..object.as_bytes().len().min(255)].to_vec()
                };
                cut(found) == cut(object)
            }
            _ => found == object,
        }
    };
    match fault {
        Some(Fault::ObjectIsAPrefix | Fault::ObjectIsText | Fault::ObjectIsCut) => {
            let mut rows = model.scan_time(TimeRange::ALL, None, ALL).items;
            rows.retain(fits);
            sorted(rows, after.as_ref(), limit, |row| row.seq, Ord::cmp)
        }
        Some(Fault::ObjectWalkIsByTime) => {
            let mut rows = model.scan_time(TimeRange::ALL, None, ALL).items;
            rows.retain(|row| fits(row) && after.is_none_or(|after| row.seq > after));
            let next = rows.get(limit.max_rows()).map(|row| row.seq);
            rows.truncate(limit.max_rows());
            Batch { items: rows, next }
        }
        _ => {
            let batch = model.scan_object(object, after, asked(fault, limit));
            ended(fault, batch, limit, |after| {
                let rest = model.scan_object(object, Some(after), Limit::rows(1));
                rest.items.first().map(|row| row.seq)
            })
        }
    }
}

pub(crate) fn list(
    fault: Option<Fault>,
    model: &Model,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Batch<StateEntry, StateKey> {
    let key = |entry: &StateEntry| entry.key.clone();
    let by_bytes = |a: &StateKey, b: &StateKey| a.cmp(b);
    let all = || model.list("", None, ALL).items;
    match fault {
        Some(Fault::PrefixIsAPattern) => {
            let mut entries = all();
            entries.retain(|entry| like(prefix, entry.key.as_str()));
            sorted(entries, after, limit, key, by_bytes)
        }
        Some(Fault::PrefixIsAGlob) => {
            let pattern = prefix.replace('*', "%").replace('?', "_");
            let mut entries = all();
            entries.retain(|entry| like(&pattern, entry.key.as_str()));
            sorted(entries, after, limit, key, by_bytes)
        }
        Some(Fault::KeysIgnoreCase) => model.list(&prefix.to_lowercase(), after, limit),
        Some(Fault::KeysSortByLocale) => {
            let mut entries = all();
            entries.retain(|entry| entry.key.as_str().starts_with(prefix));
            let fold = |key: &StateKey| (key.as_str().to_lowercase(), key.clone());
            sorted(entries, after, limit, key, |a, b| fold(a).cmp(&fold(b)))
        }
        Some(Fault::EmptyPrefixIsNothing) if prefix.is_empty() => Batch {
            items: Vec::new(),
            next: None,
        },
        _ => {
            let batch = model.list(prefix, after, asked(fault, limit));
            ended(fault, batch, limit, |after| {
                let rest = model.list(prefix, Some(&after), Limit::rows(1));
                rest.items.into_iter().next().map(|entry| entry.key)
            })
        }
    }
}

/// SQL's `LIKE`, with anything behind the pattern.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => true,
        Some('%') => text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .any(|at| like(rest.as_str(), &text[at..])),
        Some(wanted) => {
            let mut found = text.chars();
            let fits = found
                .next()
                .is_some_and(|found| wanted == '_' || wanted == found);
            fits && like(rest.as_str(), found.as_str())
        }
    }
}

fn bounds(fault: Option<Fault>, range: TimeRange) -> TimeRange {
    let TimeRange { from, to } = range;
    match fault {
        Some(Fault::RangeEndIsExclusive) => TimeRange {
            from,
            to: Ts::new(to.value().wrapping_sub(1)).unwrap_or(to),
        },
        Some(Fault::InvertedRangeIsTurned) if from > to => TimeRange { from: to, to: from },
        _ => range,
    }
}

fn cursor(fault: Option<Fault>, after: Option<TimeKey>) -> Option<TimeKey> {
    match fault {
        Some(Fault::TimeCursorIsTheTimeAlone) => after.map(|after| TimeKey {
            id: OpId::new([0xff; 32]),
            ..after
        }),
        Some(Fault::TimeCursorIsInclusive) => after.map(|after| TimeKey {
            ts: Ts::new(after.ts.value().wrapping_sub(1)).unwrap_or(after.ts),
            id: OpId::new([0xff; 32]),
        }),
        _ => after,
    }
}

fn asked(fault: Option<Fault>, limit: Limit) -> Limit {
    match fault {
        Some(Fault::OneRowTooMany) => {
            Limit::rows(limit.max_rows().saturating_add(1)).bytes(limit.max_bytes())
        }
        Some(Fault::ByteBudgetIsIgnored) => limit.bytes(usize::MAX),
        _ => limit,
    }
}

/// How a page that ends before the walk does says so.
fn ended<Item, Cursor: Clone>(
    fault: Option<Fault>,
    mut batch: Batch<Item, Cursor>,
    limit: Limit,
    following: impl Fn(Cursor) -> Option<Cursor>,
) -> Batch<Item, Cursor> {
    let short = batch.items.len() < limit.max_rows();
    match fault {
        Some(Fault::ShortPageIsTheEnd) if short => batch.next = None,
        Some(Fault::LimitsAre32Bit) if i32::try_from(limit.max_rows()).is_err() => {
            batch.items.clear();
            batch.next = None;
        }
        Some(Fault::ByteBudgetSkipsARow) if short => {
            batch.next = batch
                .next
                .map(|next| following(next.clone()).unwrap_or(next));
        }
        _ => {}
    }
    batch
}

fn hidden(fault: Option<Fault>, mut batch: Batch<Row, TimeKey>) -> Batch<Row, TimeKey> {
    if fault == Some(Fault::OldRowsAreNotListed) {
        batch.items.retain(|row| row.operation.ts.value() >= 1_000);
    }
    batch
}

/// How broken stores compare ids, where it is not by their unsigned bytes.
fn order_of_ids(fault: Option<Fault>) -> Option<fn(&OpId, &OpId) -> Ordering> {
    match fault {
        Some(Fault::IdsCompareAsSignedBytes) => Some(|a, b| {
            let signed = |id: &OpId| id.as_bytes().map(u8::cast_signed);
            signed(a).cmp(&signed(b))
        }),
        Some(Fault::IdsCompareByTheirFirstBytes) => {
            Some(|a, b| a.as_bytes()[..16].cmp(&b.as_bytes()[..16]))
        }
        _ => None,
    }
}

/// A page of a walk in the given order.
fn sorted<Item, Cursor>(
    mut items: Vec<Item>,
    after: Option<&Cursor>,
    limit: Limit,
    cursor_of: impl Fn(&Item) -> Cursor,
    compare: impl Fn(&Cursor, &Cursor) -> Ordering,
) -> Batch<Item, Cursor> {
    items.retain(|item| {
        after.is_none_or(|after| compare(&cursor_of(item), after) == Ordering::Greater)
    });
    items.sort_by(|a, b| compare(&cursor_of(a), &cursor_of(b)));
    let more = items.len() > limit.max_rows();
    items.truncate(limit.max_rows());
    let next = items.last().filter(|_| more).map(cursor_of);
    Batch { items, next }
}
