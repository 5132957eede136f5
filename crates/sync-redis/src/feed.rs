//! The feed: live rows and tombstones, merged by seq.

use sync_core::{FeedCursor, FeedEntry, FeedKind, Limit, OpId, Payloads, Result, Stats};

use crate::error::corrupt;
use crate::layout::{Stored, Tombstone, array, be8};
use crate::reply::{Parts, stats, unexpected};
use crate::scan::number;
use crate::scripts::Script;
use crate::space::Space;

/// The space, its entries after the cursor's seq, and whether some are left.
pub(crate) async fn entries(
    space: &Space,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<(Option<Stats>, Vec<FeedEntry>, bool)> {
    // Above every member of the seq itself, and below the next one's.
    let min = [&b"["[..], &(after.seq().value() + 1).to_be_bytes()].concat();
    let (rows, bytes) = (number(limit.max_rows()), number(limit.max_bytes()));
    let with_payloads = payloads == Payloads::Include;
    let payloads: &[u8] = if with_payloads { b"1" } else { b"0" };
    let arguments = [&min[..], rows.as_bytes(), bytes.as_bytes(), payloads];
    let mut answer = space.look(Script::Feed, &arguments).await?;
    let space = stats(answer.value()?)?;
    let entries = unpack(answer.parts()?, with_payloads)?;
    Ok((space, entries, answer.flag()?))
}

fn unpack(mut found: Parts, with_payloads: bool) -> Result<Vec<FeedEntry>> {
    let mut entries = Vec::with_capacity(found.len() / 4);
    while found.len() > 0 {
        let kind = found.bytes()?;
        let (member, row, blob) = (found.bytes()?, found.bytes()?, found.bytes()?);
        entries.push(match &kind[..] {
            b"L" => live_entry(&member, row, blob, with_payloads)?,
            b"T" => tombstone_entry(Tombstone::unpack(member)?),
            _ => return Err(unexpected()),
        });
    }
    Ok(entries)
}

fn live_entry(member: &[u8], row: Vec<u8>, blob: Vec<u8>, with_payload: bool) -> Result<FeedEntry> {
    let id = OpId::new(array(member, 8..40)?);
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

fn tombstone_entry(tombstone: Tombstone) -> FeedEntry {
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
