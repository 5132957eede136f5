use std::ops::Bound;

use sync_core::{
    Error, ErrorKind, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Object, Payloads, Result,
    Seq,
};

use crate::batch::take;
use crate::space::{Entry, Space};

/// One page of the feed of a space, or of one that does not exist.
pub(crate) fn feed(
    space: Option<&Space>,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<FeedPage> {
    let floor = check_cursor(space, after)?;
    let Some(space) = space else {
        return Ok(FeedPage {
            entries: Vec::new(),
            next: after,
            more: false,
        });
    };
    let entries = space
        .log
        .range((Bound::Excluded(after.seq()), Bound::Unbounded))
        .filter_map(|(seq, entry)| show(space, *seq, entry, payloads));
    let (entries, more) = take(entries, limit, size);
    let seq = match entries.last() {
        Some(last) if more => last.seq,
        _ => space.head,
    };
    let epoch = space.epoch;
    Ok(FeedPage {
        entries,
        next: FeedCursor::After { epoch, floor, seq },
        more,
    })
}

/// Whether [`feed`] would answer anything but an empty page.
pub(crate) fn has_news(space: Option<&Space>, after: FeedCursor) -> bool {
    check_cursor(space, after).is_err()
        || space.is_some_and(|space| {
            let newest = space.log.get_max();
            newest.is_some_and(|(seq, _)| *seq > after.seq())
        })
}

/// The floor when the reader began, or why its cursor is refused.
fn check_cursor(space: Option<&Space>, after: FeedCursor) -> Result<Seq> {
    let FeedCursor::After { epoch, floor, seq } = after else {
        return Ok(space.map_or(Seq::ZERO, |space| space.floor));
    };
    let refusal = match space {
        None => ErrorKind::WrongEpoch { current: None },
        Some(space) if space.epoch != epoch => ErrorKind::WrongEpoch {
            current: Some(space.epoch),
        },
        Some(space) if seq > space.head => ErrorKind::AheadOfLog { head: space.head },
        Some(space) if seq < space.floor && space.floor > floor => {
            ErrorKind::Pruned { floor: space.floor }
        }
        Some(_) => return Ok(floor),
    };
    Err(Error::new(refusal))
}

fn show(space: &Space, seq: Seq, entry: &Entry, payloads: Payloads) -> Option<FeedEntry> {
    Some(match entry {
        Entry::Live(id) => {
            let operation = &space.rows.get(id)?.row.operation;
            FeedEntry {
                seq,
                id: *id,
                ts: Some(operation.ts),
                object: operation.object.clone(),
                kind: FeedKind::Live {
                    sync_order: operation.sync_order,
                    payload: match payloads {
                        Payloads::Include => Some(operation.payload.clone()),
                        Payloads::Skip => None,
                    },
                },
            }
        }
        Entry::Tombstone(tombstone) => FeedEntry {
            seq,
            id: tombstone.id,
            ts: tombstone.ts,
            object: tombstone.object.clone(),
            kind: FeedKind::Tombstone {
                reason: tombstone.reason,
                source_seq: tombstone.source_seq,
                lifted: tombstone.lifted,
            },
        },
    })
}

fn size(entry: &FeedEntry) -> usize {
    let payload = match &entry.kind {
        FeedKind::Live {
            payload: Some(payload),
            ..
        } => payload.len(),
        FeedKind::Live { payload: None, .. } | FeedKind::Tombstone { .. } => 0,
    };
    payload
        + entry
            .object
            .as_ref()
            .map_or(0, |object: &Object| object.as_bytes().len())
}
