//! What becomes of an answer on its way out of the store.

use std::sync::atomic::Ordering;

use sync_conformance::model::Model;
use sync_core::{
    Bytes, Error, ErrorKind, FeedCursor, FeedKind, FeedPage, GetPart, Known, Limit, OpId, Payloads,
    Result, Row, Seq, StateKey, Stats,
};

use crate::disk::Disk;
use crate::fault::Fault;
use crate::input::lower;
use crate::transaction::seq;

pub(crate) fn load(fault: Option<Fault>, model: &Model, keys: &[StateKey]) -> Vec<Option<Bytes>> {
    let mut keys = keys.to_vec();
    match fault {
        Some(Fault::KeysIgnoreCase) => keys.iter_mut().for_each(|key| *key = lower(key)),
        Some(Fault::RepeatsAreAnsweredOnce) => keys.dedup(),
        Some(Fault::AnswersComeInKeyOrder) => keys.sort(),
        _ => {}
    }
    let values = keys.iter().map(|key| model.load(key));
    match fault {
        Some(Fault::AbsentIsLeftOut) => values.flatten().map(Some).collect(),
        _ => values.collect(),
    }
}

pub(crate) fn get(
    fault: Option<Fault>,
    model: &Model,
    ids: &[OpId],
    limit: Limit,
) -> Result<GetPart> {
    let mut ids = ids.to_vec();
    let mut limit = limit;
    match fault {
        Some(Fault::LargeGetIsRefused) if ids.len() > 65_535 => {
            return Err(Error::new(ErrorKind::Failed).with_message("too many SQL variables"));
        }
        Some(Fault::RepeatsAreAnsweredOnce) => ids.dedup(),
        Some(Fault::AnswersComeInKeyOrder) => ids.sort(),
        Some(Fault::ByteBudgetIsIgnored) => limit = limit.bytes(usize::MAX),
        _ => {}
    }
    let mut part = model.get(&ids, limit);
    match fault {
        Some(Fault::AbsentIsLeftOut) => part.rows.retain(Option::is_some),
        Some(Fault::EmptyPayloadIsAbsent) => {
            for row in &mut part.rows {
                if row
                    .as_ref()
                    .is_some_and(|row| row.operation.payload.is_empty())
                {
                    *row = None;
                }
            }
        }
        Some(Fault::ByteBudgetSkipsARow) => part.next = part.next.map(|next| next + 1),
        Some(Fault::ShortPageIsTheEnd) => part.next = None,
        Some(Fault::TooLargeForTheBudgetIsNothing) => {
            let fits = |row: &Option<Row>| {
                row.as_ref()
                    .is_none_or(|row| row.operation.payload.len() <= limit.max_bytes())
            };
            part.rows.retain(fits);
        }
        Some(Fault::DeletedRowsAreStillGot) => {
            for (id, row) in ids.iter().zip(&mut part.rows) {
                if row.is_none() && matches!(model.known(*id), Known::Tombstoned { .. }) {
                    *row = ghost(*id, model);
                }
            }
        }
        _ => {}
    }
    Ok(part)
}

/// A row whose delete only hid it from some reads.
fn ghost(id: OpId, model: &Model) -> Option<Row> {
    let (seq, tombstone) = model
        .tombstones()
        .find(|(_, tombstone)| tombstone.id == id)?;
    let operation = sync_core::Operation::new(id, tombstone.ts?, "");
    Some(Row { operation, seq })
}

pub(crate) fn known(fault: Option<Fault>, model: &Model, id: OpId) -> Known {
    match (fault, model.known(id)) {
        (Some(Fault::KnownOnlyOfRows), Known::Tombstoned { .. }) => Known::Unknown,
        (Some(Fault::KnownCallsEverythingLive), Known::Tombstoned { seq, .. }) => Known::Live {
            ts: sync_core::Ts::ZERO,
            seq,
            sync_order: None,
        },
        (_, known) => known,
    }
}

pub(crate) fn feed(
    disk: &Disk,
    model: &Model,
    mut after: FeedCursor,
    limit: Limit,
    payloads: Payloads,
) -> Result<FeedPage> {
    let stats = model.stats();
    let mut limit = limit;
    if let FeedCursor::After {
        epoch,
        floor,
        seq: seen,
    } = &mut after
    {
        match disk.fault {
            Some(Fault::AnyEpochIsAccepted) => *epoch = stats.epoch.unwrap_or(*epoch),
            Some(Fault::AheadOfTheLogIsAccepted) => *seen = (*seen).min(stats.head),
            Some(Fault::AheadOfTheLogBeginsAgain) if *seen > stats.head => *seen = Seq::ZERO,
            Some(Fault::PrunedCursorIsAccepted) => *floor = stats.floor,
            Some(Fault::FloorOfTheReaderIsForgotten) => *floor = Seq::ZERO,
            Some(Fault::CursorIsInclusive) => *seen = seq(seen.value().saturating_sub(1)),
            _ => {}
        }
    }
    match disk.fault {
        Some(Fault::OneRowTooMany) => {
            limit = Limit::rows(limit.max_rows().saturating_add(1)).bytes(limit.max_bytes());
        }
        Some(Fault::ByteBudgetIsIgnored) => limit = limit.bytes(usize::MAX),
        Some(Fault::PayloadsAlwaysCome) => {
            return model.feed(after, limit, Payloads::Include);
        }
        _ => {}
    }
    let mut page = model.feed(after, limit, payloads)?;
    let live = |id: OpId| model.row(id);
    match disk.fault {
        Some(Fault::ReviveTakesTheTombstone) => page.entries.retain(|entry| {
            matches!(entry.kind, FeedKind::Live { .. }) || live(entry.id).is_none()
        }),
        Some(Fault::TombstoneHasTheNewTs) => {
            for entry in &mut page.entries {
                entry.ts = live(entry.id).map(|row| row.operation.ts).or(entry.ts);
            }
        }
        Some(Fault::FeedHidesTombstones) => {
            page.entries
                .retain(|entry| matches!(entry.kind, FeedKind::Live { .. }));
        }
        Some(Fault::EmptyPageBeginsAgain) if page.entries.is_empty() => {
            page.next = FeedCursor::Beginning;
        }
        Some(Fault::CursorStopsAtTheLastEntry) => {
            if let FeedCursor::After { seq, .. } = &mut page.next {
                *seq = page.entries.last().map_or(after.seq(), |entry| entry.seq);
            }
        }
        Some(Fault::ByteBudgetSkipsARow) if page.more && page.entries.len() < limit.max_rows() => {
            if let FeedCursor::After { seq: next, .. } = &mut page.next {
                *next = seq(next.value() + 1);
            }
        }
        Some(Fault::ShortPageIsTheEnd) if page.entries.len() < limit.max_rows() => {
            page.more = false;
        }
        Some(Fault::FeedStopsAtTheOldestTransaction)
            if disk.strangers.load(Ordering::SeqCst) > 0 =>
        {
            let horizon = seq(disk.head_of_strangers.load(Ordering::SeqCst)).max(after.seq());
            if page.next.seq() > horizon {
                page.entries.retain(|entry| entry.seq <= horizon);
                page.more = false;
                if let FeedCursor::After { seq, .. } = &mut page.next {
                    *seq = horizon;
                }
            }
        }
        _ => {}
    }
    Ok(page)
}

pub(crate) fn stats(disk: &Disk, model: &Model, base: &Stats) -> Stats {
    let mut stats = model.stats();
    match disk.fault {
        Some(Fault::CountersKeptInMemory) => {
            stats.total = stats.total.saturating_sub(base.total);
            stats.ordered = stats.ordered.saturating_sub(base.ordered);
            stats.tombstones = stats.tombstones.saturating_sub(base.tombstones);
        }
        Some(Fault::CountersDrift) => stats.total += disk.drift.load(Ordering::SeqCst),
        _ => {}
    }
    stats
}
