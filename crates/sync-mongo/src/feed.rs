//! The feed: live rows and tombstones, merged by seq.

use mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::bson::rawdoc;
use sync_core::{
    ErrorKind, FeedCursor, FeedEntry, FeedKind, FeedPage, Limit, Payloads, Result, Seq,
};

use crate::documents::{Fields, TombstoneKey};
use crate::scan::{Budget, limited};
use crate::snapshot::{Found, Snapshot};
use crate::space::Space;

/// Why a cursor is not accepted, or where its reader goes on: the seq to read after, and the floor
/// the reader began with.
pub(crate) fn check(space: Option<&Space>, after: FeedCursor) -> Result<(Seq, Seq), ErrorKind> {
    let FeedCursor::After { epoch, floor, seq } = after else {
        return Ok((Seq::ZERO, space.map_or(Seq::ZERO, |space| space.floor)));
    };
    let current = space.map(|space| space.epoch);
    match space {
        Some(space) if space.epoch == epoch => {
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
pub(crate) async fn would_answer(
    snapshot: &mut Snapshot,
    space: Option<&Space>,
    after: FeedCursor,
) -> Result<bool> {
    let Ok((after, _)) = check(space, after) else {
        return Ok(true);
    };
    let Some(space) = space.filter(|space| space.head > after) else {
        return Ok(false);
    };
    let one = Limit::rows(1);
    let mut feed = Entries::begin(snapshot, space, after, one, Payloads::Skip).await?;
    Ok(feed.next().await?.is_some())
}

pub(crate) async fn feed(
    snapshot: &mut Snapshot,
    space: Option<&Space>,
    after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<Result<FeedPage, ErrorKind>> {
    let (seq, floor) = match check(space, after) {
        Ok(place) => place,
        Err(refused) => return Ok(Err(refused)),
    };
    let Some(space) = space else {
        return Ok(Ok(FeedPage {
            entries: Vec::new(),
            next: after,
            more: false,
        }));
    };
    let (entries, more) = if space.head > seq {
        let mut feed = Entries::begin(snapshot, space, seq, limit, payloads).await?;
        feed.take(limit).await?
    } else {
        (Vec::new(), false)
    };
    let seen = if more {
        entries.last().map_or(seq, |entry| entry.seq)
    } else {
        space.head
    };
    let next = FeedCursor::After {
        epoch: space.epoch,
        floor,
        seq: seen,
    };
    Ok(Ok(FeedPage {
        entries,
        next,
        more,
    }))
}

/// The entries after a seq: two walks of one snapshot.
struct Entries {
    live: Found<FeedEntry>,
    dead: Option<Found<FeedEntry>>,
    next_live: Option<FeedEntry>,
    next_dead: Option<FeedEntry>,
}

impl Entries {
    async fn begin(
        snapshot: &mut Snapshot,
        space: &Space,
        after: Seq,
        limit: Limit,
        payloads: Payloads,
    ) -> Result<Self> {
        let command = limited(live(snapshot, space, after, payloads), limit);
        let mut live = snapshot.find(command, live_entry).await?;
        let mut dead = None;
        if space.counters.tombstones > 0 {
            let command = limited(tombstones(snapshot, space, after), limit);
            dead = Some(snapshot.find(command, dead_entry).await?);
        }
        Ok(Self {
            next_live: live.next().await?,
            next_dead: match &mut dead {
                Some(dead) => dead.next().await?,
                None => None,
            },
            live,
            dead,
        })
    }

    /// The entries up to the limit, and whether some are left.
    async fn take(&mut self, limit: Limit) -> Result<(Vec<FeedEntry>, bool)> {
        let mut entries = Vec::new();
        let mut budget = Budget::new(limit.max_bytes());
        while let Some(entry) = self.next().await? {
            if entries.len() == limit.max_rows() || !budget.takes(size(&entry)) {
                return Ok((entries, true));
            }
            entries.push(entry);
        }
        Ok((entries, false))
    }

    async fn next(&mut self) -> Result<Option<FeedEntry>> {
        let first_is_live = match (&self.next_live, &self.next_dead) {
            (Some(live), Some(dead)) => live.seq < dead.seq,
            (live, _) => live.is_some(),
        };
        if first_is_live {
            let next = self.live.next().await?;
            return Ok(std::mem::replace(&mut self.next_live, next));
        }
        let next = match &mut self.dead {
            Some(dead) if self.next_dead.is_some() => dead.next().await?,
            _ => None,
        };
        Ok(std::mem::replace(&mut self.next_dead, next))
    }
}

fn live(snapshot: &Snapshot, space: &Space, after: Seq, payloads: Payloads) -> RawDocumentBuf {
    let mut command = rawdoc! {
        "find": snapshot.database.collections.operations.as_str(),
        "filter": { "inc": space.incarnation, "seq": { "$gt": after.as_i64() } },
        "sort": { "seq": 1 },
        "hint": "operation_seq",
    };
    if payloads == Payloads::Skip {
        let fields = rawdoc! { "payload": 0, "digest": 0 };
        command.append(mongodb::bson::raw::cstr!("projection"), fields);
    }
    command
}

fn tombstones(snapshot: &Snapshot, space: &Space, after: Seq) -> RawDocumentBuf {
    let after = TombstoneKey::new(space.incarnation, after);
    let last = TombstoneKey::new(space.incarnation, Seq::MAX);
    rawdoc! {
        "find": snapshot.database.collections.tombstones.as_str(),
        "filter": { "_id": { "$gt": after.binary(), "$lte": last.binary() } },
        "sort": { "_id": 1 },
        "hint": { "_id": 1 },
    }
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
        id: fields.buried()?,
        ts: fields.optional_ts()?,
        object: fields.object()?,
        kind: FeedKind::Tombstone {
            reason: fields.reason()?,
            source_seq: fields.source_seq()?,
            lifted: fields.lifted(),
        },
    })
}

/// What the byte budget counts of an entry: its object, and its payload where it carries one.
fn size(entry: &FeedEntry) -> usize {
    let payload = match &entry.kind {
        FeedKind::Live {
            payload: Some(payload),
            ..
        } => payload.len(),
        FeedKind::Live { .. } | FeedKind::Tombstone { .. } => 0,
    };
    payload
        + entry
            .object
            .as_ref()
            .map_or(0, |object| object.as_bytes().len())
}
