//! What one transaction does: the page on the model, and where it goes wrong.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use sync_conformance::model::{Model, Tombstone};
use sync_core::{
    Applied, Backfill, BackfillOutcome, Delete, Error, ErrorKind, Known, Limit, OpId, Operation,
    Page, Pruned, Result, Seq, SeqRange, StateKey, TimeRange, TombstoneReason, UpsertOutcome,
};

use crate::disk::Disk;
use crate::fault::Fault;

/// Seqs taken outside the transaction: the one before the first.
pub(crate) fn reserve(disk: &Disk, page: &Page) -> Option<u64> {
    if !disk.has(Fault::SequenceTakenBeforeTheCommit) {
        return None;
    }
    let most = page.deletes.len() + 2 * page.upserts.len();
    let first = disk.sequence.fetch_add(most as u64, Ordering::SeqCst);
    // Another page may be committed in between, with higher seqs.
    thread::sleep(Duration::from_micros(100));
    Some(first)
}

/// Applies the page. Whatever is done to the model here becomes visible at once or not at all,
/// unless it says otherwise.
pub(crate) fn act(
    disk: &Disk,
    model: &mut Model,
    page: &Page,
    reserved: Option<u64>,
) -> Result<Applied> {
    let mut page = page.clone();
    let before = model.stats();
    let refused = refused(model);
    let lifts = page.lifts.len();
    let backfills = page.backfills.len();
    prepare(disk, model, &mut page)?;
    if let Some(reserved) = reserved {
        model.set_head(seq(reserved));
    }
    let applied = match disk.fault {
        Some(Fault::PreconditionCheckedAfterTheRows) => {
            let mut unchecked = page.clone();
            unchecked.preconditions.clear();
            let applied = model.clone().apply(&page);
            let _ = model.apply(&unchecked)?;
            applied
        }
        Some(Fault::PreconditionCheckedAfterTheReset) if page.reset => {
            let mut copy = model.clone();
            let _ = copy.apply(&Page::new().reset())?;
            copy.apply(&page).inspect(|_| *model = copy.clone())
        }
        Some(Fault::DeletesActAfterInserts) => {
            let deletes = std::mem::take(&mut page.deletes);
            let mut copy = model.clone();
            let mut applied = copy.apply(&page)?;
            let late = Page {
                deletes,
                ..Page::new()
            };
            join(&mut applied, copy.apply(&late)?);
            *model = copy;
            Ok(applied)
        }
        Some(Fault::OwnTombstoneStands) if !page.deletes.is_empty() => {
            let upserts = std::mem::take(&mut page.upserts);
            let mut copy = model.clone();
            let mut applied = copy.apply(&page)?;
            let late = Page {
                upserts,
                replace: page.replace,
                revive: page.revive,
                ..Page::new()
            };
            join(&mut applied, copy.apply(&late)?);
            *model = copy;
            Ok(applied)
        }
        Some(Fault::SeqWraps) => model.apply(&page).or_else(|error| {
            if !matches!(error.kind(), ErrorKind::Exhausted) {
                return Err(error);
            }
            model.set_head(Seq::ZERO);
            model.apply(&page)
        }),
        Some(Fault::TooLargePageStoresTheRest) => model.apply(&page).inspect_err(|error| {
            if let ErrorKind::TooLarge(at) = error.kind() {
                page.upserts.truncate(at.index);
                let _ = model.apply(&page);
            }
        }),
        Some(Fault::ConflictNamesOneKey) => {
            model.apply(&page).map_err(|error| match error.kind() {
                ErrorKind::Conflict(found) => Error::conflict(found[..1].to_vec()),
                _ => error,
            })
        }
        Some(Fault::ConflictNamesAKeyTwice) => {
            model.apply(&page).map_err(|error| match error.kind() {
                ErrorKind::Conflict(found) => {
                    let of = |key: &StateKey| found.iter().find(|named| named.key == *key);
                    let named = page.preconditions.iter().filter_map(|precondition| {
                        let mismatch = of(&precondition.key)?;
                        (mismatch.found != precondition.expected).then(|| mismatch.clone())
                    });
                    Error::conflict(named.collect())
                }
                _ => error,
            })
        }
        Some(Fault::RefusedPageCreatesTheSpace) => model.apply(&page).or_else(|error| {
            if before.epoch.is_none() {
                // Not rolled back: the error comes from a second transaction.
                model.set_epoch(sync_core::Epoch::random()?);
            }
            Err(error)
        }),
        _ => model.apply(&page),
    };
    let mut applied = applied?;
    applied.lifts.truncate(lifts);
    applied.backfills.truncate(backfills);
    if reserved.is_some() {
        model.set_head(before.head.max(model.stats().head));
    }
    settle(disk, model, &page, (&before, &refused), &mut applied)?;
    Ok(applied)
}

/// What a broken store does to the model, or makes of the page, before it applies it.
#[expect(clippy::too_many_lines, reason = "an arm for each fault")]
fn prepare(disk: &Disk, model: &mut Model, page: &mut Page) -> Result<()> {
    let Some(fault) = disk.fault else {
        return Ok(());
    };
    let standing = |id: OpId| match model.known(id) {
        Known::Tombstoned {
            reason, source_seq, ..
        } => Some((reason, source_seq)),
        _ => None,
    };
    let live = |id: OpId| model.row(id).map(|row| row.operation.clone());
    match fault {
        Fault::MaxPlusOneSequence => {
            let newest = newest(model);
            model.set_head(newest);
        }
        Fault::ReviveIgnoresTheSourceSeq if page.revive => {
            let passing = page.upserts.iter().map(|operation| operation.id);
            let passing = passing.filter(|id| {
                standing(*id).is_some_and(|(reason, _)| reason != TombstoneReason::Operator)
            });
            page.lifts.extend(passing.collect::<Vec<_>>());
        }
        Fault::OperatorTombstonesAreRevived if page.revive => {
            let passing = page.upserts.iter().map(|operation| operation.id);
            let passing = passing.filter(|id| {
                standing(*id).is_some_and(|(reason, _)| reason == TombstoneReason::Operator)
            });
            page.lifts.extend(passing.collect::<Vec<_>>());
        }
        Fault::AnyUpsertRevives => {
            let passing = page.upserts.iter().map(|operation| operation.id);
            page.lifts.extend(
                passing
                    .filter(|id| standing(*id).is_some())
                    .collect::<Vec<_>>(),
            );
        }
        Fault::DivergentRecordSetsTheOrder if !page.replace => {
            for operation in &page.upserts {
                if let (Some(row), Some(order)) = (live(operation.id), operation.sync_order)
                    && row.digest() != operation.digest()
                {
                    page.backfills.push(Backfill {
                        id: operation.id,
                        sync_order: order,
                    });
                }
            }
        }
        Fault::DeletesIgnoreTheObject => {
            for delete in &mut page.deletes {
                if live(delete.id).is_some() {
                    delete.object = None;
                }
            }
        }
        Fault::DeletesIgnoreTheOrder => {
            let below: Vec<_> = page.deletes.clone();
            for (n, delete) in below.into_iter().enumerate().rev() {
                let superseded =
                    live(delete.id).is_some_and(|row| row.sync_order >= delete.source_seq);
                if superseded && delete.source_seq.is_some() {
                    page.deletes[n].source_seq = None;
                }
            }
        }
        Fault::RepeatedDeleteIsForgotten => {
            for delete in &mut page.deletes {
                if standing(delete.id).is_some() {
                    delete.source_seq = None;
                }
            }
        }
        Fault::BackfillInserts => {
            for backfill in &page.backfills {
                if model.known(backfill.id) == Known::Unknown {
                    let operation = Operation::new(backfill.id, sync_core::Ts::ZERO, "");
                    page.upserts.push(operation.at(backfill.sync_order));
                }
            }
        }
        Fault::BackfillOverwrites => {
            for backfill in &page.backfills {
                model.move_order(backfill.id, backfill.sync_order);
            }
        }
        Fault::AnOrderIsMoved => {
            for operation in &page.upserts {
                if let Some(order) = operation.sync_order
                    && model
                        .row(operation.id)
                        .is_some_and(|row| row.operation.digest() == operation.digest())
                {
                    model.move_order(operation.id, order);
                }
            }
        }
        Fault::DuplicateIdIsAnError => {
            let mut ids: Vec<_> = page.upserts.iter().map(|operation| operation.id).collect();
            ids.sort_unstable();
            if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(
                    Error::new(ErrorKind::Failed).with_message("cannot affect row a second time")
                );
            }
        }
        Fault::ResetKeepsTheState if page.reset => {
            let kept = model
                .state()
                .iter()
                .fold(Page::new(), |kept, (key, value)| {
                    kept.set(key.clone(), value.clone())
                });
            page.state.splice(0..0, kept.state);
        }
        _ => {}
    }
    Ok(())
}

/// What a broken store does to the model, or to its answer, after it applied the page.
fn settle(
    disk: &Disk,
    model: &mut Model,
    page: &Page,
    (before, refused): (&sync_core::Stats, &[OpId]),
    applied: &mut Applied,
) -> Result<()> {
    match disk.fault {
        Some(Fault::ResetKeepsTheEpoch) if page.reset => {
            if let Some(epoch) = before.epoch {
                model.set_epoch(epoch);
            }
        }
        Some(Fault::ResetBeginsAtZero) if page.reset => {
            let _ = model.apply(&Page::new().reset())?;
            model.set_head(Seq::ZERO);
            let mut page = page.clone();
            page.preconditions.clear();
            page.reset = false;
            *applied = model.apply(&page)?;
        }
        Some(Fault::EmptyPageCreatesTheSpace) if before.epoch.is_none() => {
            model.set_epoch(sync_core::Epoch::random()?);
        }
        Some(Fault::CountersDrift) => {
            disk.drift
                .fetch_add(applied.totals().replaced, Ordering::SeqCst);
        }
        Some(Fault::BackfillMintsASeq) if applied.backfills.contains(&BackfillOutcome::Ordered) => {
            let minted = seq(model.stats().head.value() + 1);
            model.set_head(minted);
            applied
                .seqs
                .get_or_insert(SeqRange {
                    first: minted,
                    last: minted,
                })
                .last = minted;
        }
        Some(Fault::UnchangedMintsASeq) if applied.upserts.contains(&UpsertOutcome::Unchanged) => {
            let minted = seq(model.stats().head.value() + 1);
            model.set_head(minted);
            applied
                .seqs
                .get_or_insert(SeqRange {
                    first: minted,
                    last: minted,
                })
                .last = minted;
        }
        Some(Fault::OutcomesAreGrouped) => {
            applied
                .upserts
                .sort_by_key(|outcome| *outcome == UpsertOutcome::Unchanged);
            applied.deletes.sort_by_key(|outcome| *outcome as u8);
        }
        Some(Fault::UnknownDeletesHaveNoOutcome) => {
            applied
                .deletes
                .retain(|outcome| *outcome != sync_core::DeleteOutcome::Unknown);
        }
        Some(Fault::ResetKeepsOperatorsTombstones) if page.reset => {
            let kept = refused.iter().fold(Page::new(), |kept, id| {
                kept.delete(Delete::new(*id, TombstoneReason::Operator).reject())
            });
            let _ = model.apply(&kept)?;
        }
        _ => {}
    }
    Ok(())
}

/// The ids that an operator refuses.
fn refused(model: &Model) -> Vec<OpId> {
    let tombstones = model.tombstones();
    let refused = tombstones.filter(|(_, tombstone)| {
        tombstone.reason == TombstoneReason::Operator && !tombstone.lifted
    });
    refused.map(|(_, tombstone)| tombstone.id).collect()
}

pub(crate) fn prune(fault: Option<Fault>, model: &mut Model, up_to: Seq) -> Pruned {
    if fault == Some(Fault::PruneReachesAboveTheFloor) {
        model.forget_tombstones();
    }
    if fault == Some(Fault::PruneRaisesNoFloor) {
        let floor = model.stats().floor;
        model.forget_tombstones();
        return Pruned { floor, dropped: 0 };
    }
    if fault == Some(Fault::PruneTakesRows) {
        let rows = model.scan_time(TimeRange::ALL, None, Limit::rows(usize::MAX));
        let below = rows.items.iter().filter(|row| row.seq <= up_to);
        let page = below.fold(Page::new(), |page, row| {
            page.delete(Delete::new(row.operation.id, TombstoneReason::Removed))
        });
        // Nothing refuses a page of deletes.
        let _ = model.apply(&page);
    }
    let before: Vec<(Seq, Tombstone)> = model
        .tombstones()
        .map(|(seq, tombstone)| (seq, tombstone.clone()))
        .collect();
    let pruned = model.prune(up_to);
    let below = before.into_iter().filter(|(seq, _)| *seq <= pruned.floor);
    match fault {
        Some(Fault::PruneTakesOperatorsTombstones) => {
            let left = model.stats().tombstones;
            below.for_each(|(seq, _)| model.forget_tombstone(seq));
            let dropped = pruned.dropped + left - model.stats().tombstones;
            Pruned { dropped, ..pruned }
        }
        Some(Fault::PruneSparesLiftedTombstones) => {
            let lifted = below.filter(|(_, tombstone)| {
                tombstone.lifted && tombstone.reason == TombstoneReason::Operator
            });
            let mut dropped = pruned.dropped;
            for (seq, tombstone) in lifted {
                model.put_tombstone(seq, tombstone);
                dropped -= 1;
            }
            Pruned { dropped, ..pruned }
        }
        _ => pruned,
    }
}

/// The page in pieces of at most `rows` operations, the state in the last.
pub(crate) fn chunks(page: Page, rows: usize) -> Vec<Page> {
    let Page {
        preconditions,
        reset,
        lifts,
        deletes,
        upserts,
        backfills,
        state,
        replace,
        revive,
    } = page;
    let mut parts = vec![Page {
        preconditions,
        reset,
        lifts,
        ..Page::new()
    }];
    for deletes in deletes.chunks(rows) {
        parts.push(Page {
            deletes: deletes.to_vec(),
            ..Page::new()
        });
    }
    for upserts in upserts.chunks(rows) {
        let upserts = upserts.to_vec();
        parts.push(Page {
            upserts,
            replace,
            revive,
            ..Page::new()
        });
    }
    for backfills in backfills.chunks(rows) {
        parts.push(Page {
            backfills: backfills.to_vec(),
            ..Page::new()
        });
    }
    parts.push(Page {
        state,
        ..Page::new()
    });
    parts
}

/// One answer for a page that was applied in pieces.
pub(crate) fn join(whole: &mut Applied, part: Applied) {
    whole.lifts.extend(part.lifts);
    whole.deletes.extend(part.deletes);
    whole.upserts.extend(part.upserts);
    whole.backfills.extend(part.backfills);
    whole.seqs = match (whole.seqs, part.seqs) {
        (Some(SeqRange { first, .. }), Some(SeqRange { last, .. })) => {
            Some(SeqRange { first, last })
        }
        (whole, part) => whole.or(part),
    };
}

/// The highest seq that a row or tombstone has.
fn newest(model: &Model) -> Seq {
    let rows = model.scan_time(
        TimeRange::ALL,
        None,
        Limit::rows(usize::MAX).bytes(usize::MAX),
    );
    let rows = rows.items.iter().map(|row| row.seq);
    let tombstones = model.tombstones().map(|(seq, _)| seq);
    rows.chain(tombstones).max().unwrap_or(Seq::ZERO)
}

pub(crate) fn seq(value: u64) -> Seq {
    Seq::new(value).unwrap_or(Seq::MAX)
}
