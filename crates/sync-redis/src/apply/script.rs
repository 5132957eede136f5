//! A page in one script, which decides by itself: whatever the page holds.

use std::sync::Arc;

use redis::{Cmd, Value};
use sync_core::{
    Applied, BackfillOutcome, Bytes, DeleteOutcome, Digest, Epoch, Error, ErrorKind, LiftOutcome,
    Mismatch, Object, Operation, Page, Result, Seq, SeqRange, SyncOrder, UpsertOutcome,
};
use sync_kit::{Written, digests};

use super::{LARGE, weight};
use crate::command::Reply;
use crate::error::{Failure, corrupt};
use crate::layout::{INLINE, array, be8, object_prefix, optional, pack_row, position};
use crate::names;
use crate::reply::{Parts, number, optional_bytes, unexpected};
use crate::scripts::Script;
use crate::servers::Access;
use crate::space::Space;

/// The command of a page, with the page's digests where they are not given: of a large page beside
/// the thread that asks.
pub(super) async fn prepare(
    space: &Space,
    page: &Arc<Page>,
    digests: Option<Arc<[Digest]>>,
) -> Result<(Arc<[Digest]>, Cmd)> {
    let (of, packed) = (space.clone(), Arc::clone(page));
    let preparing = move || {
        let digests = digests.unwrap_or_else(|| digests::of(&packed).into());
        let command = pack(&of, &packed, &digests, false)?;
        Ok((digests, command))
    };
    if weight(page) < LARGE {
        preparing()
    } else {
        space.engine.driver.compute(preparing).await.flatten()
    }
}

/// Sends the page, and once more where its space is to be listed first.
pub(super) async fn apply(
    space: &Space,
    page: &Page,
    digests: &[Digest],
    command: Cmd,
) -> Result<Written> {
    let faults = space.engine.faults();
    faults.way("script");
    let mut command = command;
    for registered in [false, true] {
        faults.boundary("commit")?;
        let answer = space.send(Script::Apply, Access::Page, &command).await;
        match Reply::of(answer.map_err(Failure::of_a_write)?)? {
            Reply::Done(parts) => {
                let written = unpack(page, parts)?;
                if written.changed {
                    faults.committed()?;
                }
                space.local().streak.learn(&written.applied);
                return Ok(written);
            }
            Reply::Not("register", _) if !registered => {
                faults.boundary("register")?;
                names::register(&space.engine.servers, space.shared.name()).await?;
                command = pack(space, page, digests, true)?;
            }
            Reply::Not("conflict", parts) => return Err(conflict(page, parts)?),
            Reply::Not("exhausted", _) => return Err(Error::new(ErrorKind::Exhausted)),
            Reply::Not(..) => break,
        }
    }
    Err(unexpected())
}

/// The page's arguments, in the order that `scripts/apply.lua` names. `registered` says that the list
/// of spaces has the name already.
fn pack(space: &Space, page: &Page, digests: &[Digest], registered: bool) -> Result<Cmd> {
    let epoch = Epoch::random()?;
    let has_objects = page
        .upserts
        .iter()
        .any(|operation| operation.object.is_some());
    let mut command = space.command(Script::Apply, arguments(page), size(page));
    let flags: String = [
        registered,
        page.reset,
        page.replace,
        page.revive,
        has_objects,
    ]
    .map(|flag| if flag { '1' } else { '0' })
    .into_iter()
    .collect();
    let is_large = |operation: &&Operation| operation.payload.len() > INLINE;
    command
        .arg(epoch.as_bytes())
        .arg(&space.keys().channel)
        .arg(flags)
        .arg(page.preconditions.len())
        .arg(page.lifts.len())
        .arg(page.deletes.len())
        .arg(page.upserts.len())
        .arg(page.upserts.iter().filter(is_large).count())
        .arg(page.backfills.len())
        .arg(page.state.len());
    let mut scratch = Vec::new();
    for precondition in &page.preconditions {
        command.arg(precondition.key.as_str());
    }
    for precondition in &page.preconditions {
        command.arg(value(&mut scratch, precondition.expected.as_ref()));
    }
    for id in &page.lifts {
        command.arg(id.as_bytes());
    }
    pack_deletes(page, &mut command, &mut scratch);
    pack_upserts(page, digests, has_objects, &mut command, &mut scratch);
    for backfill in &page.backfills {
        command.arg(backfill.id.as_bytes());
    }
    for backfill in &page.backfills {
        command.arg(&be8(backfill.sync_order));
    }
    for change in &page.state {
        command.arg(change.key.as_str());
    }
    for change in &page.state {
        command.arg(value(&mut scratch, change.value.as_ref()));
    }
    Ok(command)
}

fn pack_deletes(page: &Page, command: &mut Cmd, scratch: &mut Vec<u8>) {
    for delete in &page.deletes {
        command.arg(delete.id.as_bytes());
    }
    for delete in &page.deletes {
        scratch.clear();
        scratch.push(delete.reason.code());
        scratch.push(if delete.reject { b'1' } else { b'0' });
        scratch.extend_from_slice(&optional(delete.source_seq));
        scratch.extend_from_slice(&optional(delete.ts));
        command.arg(&scratch[..]);
    }
    for delete in &page.deletes {
        command.arg(delete.object.as_ref().map_or(&[][..], Object::as_bytes));
    }
}

fn pack_upserts(
    page: &Page,
    digests: &[Digest],
    has_objects: bool,
    command: &mut Cmd,
    scratch: &mut Vec<u8>,
) {
    for operation in &page.upserts {
        command.arg(operation.id.as_bytes());
    }
    for (operation, digest) in page.upserts.iter().zip(digests) {
        scratch.clear();
        pack_row(operation, operation.sync_order, digest, scratch);
        command.arg(&scratch[..]);
    }
    let member = |scratch: &mut Vec<u8>, position: [u8; 8], operation: &Operation| {
        scratch.clear();
        scratch.extend_from_slice(&position);
        scratch.extend_from_slice(operation.id.as_bytes());
    };
    for operation in &page.upserts {
        member(scratch, be8(operation.ts), operation);
        command.arg(&scratch[..]);
    }
    for operation in &page.upserts {
        scratch.clear();
        if let Some(order) = operation.sync_order {
            member(scratch, be8(order), operation);
        }
        command.arg(&scratch[..]);
    }
    if has_objects {
        for operation in &page.upserts {
            scratch.clear();
            if let Some(object) = &operation.object {
                object_prefix(object, scratch);
            }
            command.arg(&scratch[..]);
        }
    }
    let large = || {
        let numbered = (1_usize..).zip(&page.upserts);
        numbered.filter(|(_, operation)| operation.payload.len() > INLINE)
    };
    for (number, _) in large() {
        command.arg(number);
    }
    for (_, operation) in large() {
        command.arg(&operation.payload[..]);
    }
}

/// A value that may be absent: an empty one is not.
fn value<'a>(scratch: &'a mut Vec<u8>, value: Option<&Bytes>) -> &'a [u8] {
    scratch.clear();
    match value {
        Some(value) => {
            scratch.push(b'=');
            scratch.extend_from_slice(value);
        }
        None => scratch.push(b'-'),
    }
    scratch
}

fn arguments(page: &Page) -> usize {
    10 + 2 * page.preconditions.len()
        + page.lifts.len()
        + 3 * page.deletes.len()
        + 7 * page.upserts.len()
        + 2 * page.backfills.len()
        + 2 * page.state.len()
}

/// About as many bytes as the page's arguments have.
fn size(page: &Page) -> usize {
    let upserts = page.upserts.iter().map(|operation| {
        let object = operation.object.as_ref().map_or(0, |o| o.as_bytes().len());
        operation.payload.len() + 2 * object + 176
    });
    let state = page.state.iter().map(|change| {
        let value = change.value.as_ref().map_or(0, Bytes::len);
        value + change.key.as_str().len()
    });
    upserts.sum::<usize>()
        + state.sum::<usize>()
        + 320 * page.deletes.len()
        + 40 * (page.lifts.len() + page.backfills.len())
}

/// What the script says it did.
fn unpack(page: &Page, mut parts: Parts) -> Result<Written> {
    let changed = parts.flag()?;
    let first = Seq::try_from(parts.number()?).ok();
    let last = Seq::try_from(parts.number()?).map_err(corrupt)?;
    let mut outcomes = || parts.bytes();
    let [lifts, deletes, upserts, backfills] = [outcomes()?, outcomes()?, outcomes()?, outcomes()?];
    let mut upsert_orders = Orders(outcomes()?, 0);
    let mut backfill_orders = Orders(outcomes()?, 0);
    let applied = Applied {
        lifts: each(&lifts, page.lifts.len(), |code| match code {
            b'L' => Ok(LiftOutcome::Lifted),
            b'N' => Ok(LiftOutcome::NotTombstoned),
            _ => Err(no_outcome()),
        })?,
        deletes: each(&deletes, page.deletes.len(), |code| match code {
            b'O' => Ok(DeleteOutcome::OtherObject),
            b'S' => Ok(DeleteOutcome::Superseded),
            b'D' => Ok(DeleteOutcome::Deleted),
            b'A' => Ok(DeleteOutcome::AlreadyDeleted),
            b'R' => Ok(DeleteOutcome::Rejected),
            b'U' => Ok(DeleteOutcome::Unknown),
            _ => Err(no_outcome()),
        })?,
        upserts: each(&upserts, page.upserts.len(), |code| match code {
            b'V' => Ok(UpsertOutcome::Divergent),
            b'P' => Ok(UpsertOutcome::Replaced),
            b'U' => Ok(UpsertOutcome::Unchanged),
            b'O' => Ok(UpsertOutcome::Ordered),
            b'C' => upsert_orders
                .next()
                .map(|stored| UpsertOutcome::OrderConflict { stored }),
            b'T' => Ok(UpsertOutcome::Tombstoned),
            b'I' => Ok(UpsertOutcome::Inserted),
            _ => Err(no_outcome()),
        })?,
        backfills: each(&backfills, page.backfills.len(), |code| match code {
            b'U' => Ok(BackfillOutcome::Unchanged),
            b'O' => Ok(BackfillOutcome::Ordered),
            b'C' => backfill_orders
                .next()
                .map(|stored| BackfillOutcome::OrderConflict { stored }),
            b'T' => Ok(BackfillOutcome::Tombstoned),
            b'N' => Ok(BackfillOutcome::Unknown),
            _ => Err(no_outcome()),
        })?,
        seqs: first
            .filter(|first| *first <= last)
            .map(|first| SeqRange { first, last }),
    };
    Ok(Written {
        applied,
        changed,
        garbage: false,
    })
}

fn each<Outcome>(
    codes: &[u8],
    inputs: usize,
    mut outcome: impl FnMut(u8) -> Result<Outcome>,
) -> Result<Vec<Outcome>> {
    if codes.len() != inputs {
        return Err(no_outcome());
    }
    let mut outcomes = Vec::with_capacity(inputs);
    for code in codes {
        outcomes.push(outcome(*code)?);
    }
    Ok(outcomes)
}

/// The orders that conflicted, eight bytes each.
struct Orders(Vec<u8>, usize);

impl Orders {
    fn next(&mut self) -> Result<SyncOrder> {
        let order = position(array(&self.0, self.1..self.1 + 8)?)?;
        self.1 += 8;
        Ok(order)
    }
}

/// The error of a page whose preconditions do not hold: pairs of a place in the list and the value.
fn conflict(page: &Page, mut parts: Parts) -> Result<Error> {
    let mut mismatches = Vec::new();
    while let Some(place) = parts.next() {
        let place = usize::try_from(number(&place)?).map_err(corrupt)?;
        let precondition = page.preconditions.get(place).ok_or_else(no_outcome)?;
        let found: Value = parts.value()?;
        mismatches.push(Mismatch {
            key: precondition.key.clone(),
            found: optional_bytes(found)?,
        });
    }
    Ok(Error::conflict(mismatches))
}

fn no_outcome() -> Error {
    corrupt("the outcomes of a page are not those of its lists")
}
