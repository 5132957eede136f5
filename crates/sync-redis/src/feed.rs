//! The feed: live rows and tombstones, merged by seq.

use sync_core::{
    Epoch, Error, ErrorKind, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Payloads, Result,
    Seq, Stats,
};

use crate::error::corrupt;
use crate::layout::{Stored, Tombstone, array, be8};
use crate::reply::{Parts, stats};
use crate::scan::number;
use crate::scripts::Script;
use crate::space::Space;

/// Why a cursor is not accepted, or where its reader goes on: the seq to read after, and the floor
/// the reader began with.
fn check(space: Option<&Stats>, after: FeedCursor) -> Result<(Seq, Seq), ErrorKind> {
    let FeedCursor::After { epoch, floor, seq } = after else {
        return Ok((Seq::ZERO, space.map_or(Seq::ZERO, |space| space.floor)));
    };
    let current = space.and_then(|space| space.epoch);
    match space {
        Some(space) if current == Some(epoch) => {
            if seq > space.head {
                Err(ErrorKind::AheadOfLog { head: space.head })
            } else if seq < space.floor && space.floor > floor {
                Err(ErrorKind::Pruned { floor: space.floor })
            } else {
                Ok((seq, floor))
            }
        }
        _ => Err(ErrorKind::WrongEpoch { current }),
    }
}

/// Whether `feed` would answer anything but an empty page.
pub(crate) async fn would_answer(space: &Space, after: FeedCursor) -> Result<bool> {
    let looked = read(space, "changed", after, Limit::rows(1), Payloads::Skip).await?;
    Ok(looked.map_or(true, |page| !page.entries.is_empty()))
}

pub(crate) async fn feed(
    space: &Space,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<FeedPage> {
    read(space, "feed", after, limit, payloads)
        .await?
        .map_err(Error::new)
}

/// Reads a page of the feed, or says why the cursor is refused.
async fn read(
    space: &Space,
    operation: &'static str,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<Result<FeedPage, ErrorKind>> {
    // Above every member of the seq itself, and below the next one's.
    let min = [&b"["[..], &(after.seq().value() + 1).to_be_bytes()].concat();
    let (rows, bytes) = (number(limit.max_rows()), number(limit.max_bytes()));
    let payloads: &[u8] = match payloads {
        Payloads::Skip => b"0",
        Payloads::Include => b"1",
    };
    let arguments = [&min[..], rows.as_bytes(), bytes.as_bytes(), payloads];
    let mut answer = space.look(operation, Script::Feed, &arguments).await?;
    let found = stats(answer.value()?)?;
    let (seq, floor) = match check(found.as_ref(), after) {
        Ok(place) => place,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(Stats {
        epoch: Some(epoch),
        head,
        ..
    }) = found
    else {
        return Ok(Ok(FeedPage {
            entries: Vec::new(),
            next: after,
            more: false,
        }));
    };
    let entries = entries(answer.parts()?, payloads == b"1")?;
    let more = answer.flag()?;
    let seen = if more {
        entries.last().map_or(seq, |entry| entry.seq)
    } else {
        head
    };
    Ok(Ok(FeedPage {
        entries,
        next: cursor(epoch, floor, seen),
        more,
    }))
}

fn cursor(epoch: Epoch, floor: Seq, seq: Seq) -> FeedCursor {
    FeedCursor::After { epoch, floor, seq }
}

fn entries(mut found: Parts, with_payloads: bool) -> Result<Vec<FeedEntry>> {
    let mut entries = Vec::with_capacity(found.len() / 4);
    while found.len() > 0 {
        let kind = found.bytes()?;
        let (member, row, blob) = (found.bytes()?, found.bytes()?, found.bytes()?);
        entries.push(match &kind[..] {
            b"L" => live_entry(&member, row, blob, with_payloads)?,
            b"T" => dead_entry(Tombstone::unpack(member)?),
            _ => return Err(corrupt("an answer that has no meaning")),
        });
    }
    Ok(entries)
}

fn live_entry(member: &[u8], row: Vec<u8>, blob: Vec<u8>, with_payload: bool) -> Result<FeedEntry> {
    let id = sync_core::OpId::new(array(member, 8..40)?);
    let stored = Stored::unpack(row)?;
    if array(member, 0..8)? != be8(stored.seq) {
        return Err(corrupt(format!("{id} is in the feed under another seq")));
    }
    let (seq, ts, sync_order) = (stored.seq, stored.ts, stored.sync_order);
    let (object, payload) = if with_payload {
        let row = stored.into_row(id, blob)?;
        (row.operation.object, Some(row.operation.payload))
    } else {
        (stored.object, None)
    };
    Ok(FeedEntry {
        seq,
        id,
        ts: Some(ts),
        object,
        kind: FeedKind::Live {
            sync_order,
            payload,
        },
    })
}

fn dead_entry(tombstone: Tombstone) -> FeedEntry {
    FeedEntry {
        seq: tombstone.seq,
        id: tombstone.id,
        ts: tombstone.ts,
        object: tombstone.object,
        kind: FeedKind::Tombstone {
            reason: tombstone.reason,
            source_seq: tombstone.source_seq,
            lifted: tombstone.lifted,
        },
    }
}
