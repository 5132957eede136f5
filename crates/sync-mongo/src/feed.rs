//! The feed: live rows and tombstones of one snapshot, by seq.

use mongodb::bson::raw::{RawDocument, RawDocumentBuf, cstr};
use mongodb::bson::rawdoc;
use sync_core::{FeedCursor, FeedEntry, FeedKind, Limit, Payloads, Result, Seq, feed};
use sync_kit::Answer;

use crate::documents::{Fields, TombstoneKey};
use crate::scan::limited;
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;

/// The entries after `after`, up to the limit.
pub(crate) async fn entries(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<Answer> {
    let (mut rows, mut tombstones) = (Vec::new(), Vec::new());
    if let Some(after) = unseen(space, after) {
        let command = limited(live(snapshot, space, after, payloads), limit);
        let found = snapshot.find(command, live_entry).await?;
        let (first, cut) = found.take(limit, FeedEntry::weight).await?;
        // The page ends before the first row that does not fit, and so do its tombstones.
        let last = cut.as_ref().map_or(space.head, |row| row.seq);
        rows = first;
        rows.extend(cut);
        tombstones = dead(snapshot, space, after, last, limit).await?;
    }
    let (rows, tombstones) = (rows.into_iter().map(Ok), tombstones.into_iter().map(Ok));
    Answer::feed(space.stats(), rows, tombstones, limit)
}

/// Whether there is an entry after `after`.
pub(crate) async fn any(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    after: FeedCursor,
) -> Result<Answer> {
    let mut any = false;
    if let Some(after) = unseen(space, after) {
        let one = Limit::rows(1);
        let command = limited(live(snapshot, space, after, Payloads::Skip), one);
        let live = snapshot.find(command, live_entry).await?.next().await?;
        any = live.is_some()
            || !dead(snapshot, space, after, space.head, one)
                .await?
                .is_empty();
    }
    let space = Some(space.stats());
    Ok(Answer::Any { space, any })
}

/// The seq after which the reader has entries to see; `None` where its cursor is refused, or at the
/// head.
fn unseen(space: &SpaceDocument, after: FeedCursor) -> Option<Seq> {
    let span = feed::position(Some(&space.stats()), after).ok()?;
    (!span.is_at_head()).then(|| span.after())
}

fn live(
    snapshot: &Snapshot,
    space: &SpaceDocument,
    after: Seq,
    payloads: Payloads,
) -> RawDocumentBuf {
    let mut command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": { "inc": space.incarnation, "seq": { "$gt": after.as_i64() } },
        "sort": { "seq": 1 },
        "hint": "operation_seq",
    };
    if payloads == Payloads::Skip {
        command.append(cstr!("projection"), rawdoc! { "payload": 0, "digest": 0 });
    }
    command
}

/// The tombstones after one seq and up to another, and one more than the limit.
async fn dead(
    snapshot: &mut Snapshot,
    space: &SpaceDocument,
    after: Seq,
    last: Seq,
    limit: Limit,
) -> Result<Vec<FeedEntry>> {
    if space.counters.tombstones == 0 {
        return Ok(Vec::new());
    }
    let after = TombstoneKey::new(space.incarnation, after);
    let last = TombstoneKey::new(space.incarnation, last);
    let command = rawdoc! {
        "find": snapshot.database.collections.tombstones.as_str(),
        "filter": { "_id": { "$gt": after.binary(), "$lte": last.binary() } },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
    };
    let dead = snapshot.find(limited(command, limit), dead_entry).await?;
    let (mut dead, cut) = dead.take(limit, FeedEntry::weight).await?;
    dead.extend(cut);
    Ok(dead)
}

fn live_entry(document: &RawDocument) -> Result<FeedEntry> {
    let fields = Fields::of(document)?;
    Ok(FeedEntry {
        seq: fields.seq()?,
        id: fields.id()?,
        ts: fields.optional_ts()?,
        object: fields.object()?,
        kind: FeedKind::Live {
            sync_order: fields.order()?,
            payload: fields.optional_payload(),
        },
    })
}

fn dead_entry(document: &RawDocument) -> Result<FeedEntry> {
    let fields = Fields::of(document)?;
    Ok(FeedEntry {
        seq: fields.seq()?,
        id: fields.deleted_id()?,
        ts: fields.optional_ts()?,
        object: fields.object()?,
        kind: FeedKind::Tombstone {
            reason: fields.reason()?,
            source_seq: fields.source_seq()?,
            lifted: fields.lifted(),
        },
    })
}
