//! One page of a walk: as many items as its limit allows.

use sync_core::{Batch, Limit, Row};

/// The first items that fit `limit`, at least one, and whether some are left.
pub(crate) fn take<T>(
    items: impl Iterator<Item = T>,
    limit: Limit,
    size: impl Fn(&T) -> usize,
) -> (Vec<T>, bool) {
    let mut items = items.peekable();
    let mut taken = Vec::new();
    let mut bytes = 0;
    while let Some(item) = items.next_if(|item| {
        let fits = taken.len() < limit.max_rows() && bytes + size(item) <= limit.max_bytes();
        fits || taken.is_empty()
    }) {
        bytes += size(&item);
        taken.push(item);
    }
    (taken, items.peek().is_some())
}

/// One page of a walk: [`take`], and the last item's cursor where some are left.
pub(crate) fn batch<Item, Cursor>(
    items: impl Iterator<Item = Item>,
    limit: Limit,
    size: impl Fn(&Item) -> usize,
    cursor: impl Fn(&Item) -> Cursor,
) -> Batch<Item, Cursor> {
    let (items, more) = take(items, limit, size);
    let next = items.last().filter(|_| more).map(cursor);
    Batch { items, next }
}

pub(crate) fn keyed<Cursor>(batch: Batch<(Cursor, Row), Cursor>) -> Batch<Row, Cursor> {
    Batch {
        items: batch.items.into_iter().map(|(_, row)| row).collect(),
        next: batch.next,
    }
}

pub(crate) fn nothing<Item, Cursor>() -> Batch<Item, Cursor> {
    Batch {
        items: Vec::new(),
        next: None,
    }
}

/// What a row counts towards a byte budget.
pub(crate) fn size(row: &Row) -> usize {
    let object = row.operation.object.as_ref();
    row.operation.payload.len() + object.map_or(0, |object| object.as_bytes().len())
}
