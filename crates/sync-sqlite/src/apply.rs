//! The one write: a page, in one transaction.

use rusqlite::types::ValueRef;
use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Transaction, TransactionBehavior, params,
};
use sync_core::rules::{self, Deletable, Grave, Policy, Record, Standing};
use sync_core::{
    Applied, Backfill, BackfillOutcome, Bytes, Delete, DeleteOutcome, Digest, Error, ErrorKind,
    LiftOutcome, Mismatch, Object, OpId, Operation, Page, Precondition, Result, Seq, SeqRange,
    SpaceName, StateChange, SyncOrder, TombstoneReason, Ts, UpsertOutcome,
};

use crate::digests::{self, Digests};
use crate::error::{corrupt, failed};
use crate::space::{Space, optional_position, position};
use crate::{NAME, SqliteConfig};

/// What the writer did with a page.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Something was committed.
    pub(crate) changed: bool,
    /// Rows were left behind for the sweep.
    pub(crate) garbage: bool,
}

/// Applies `page` to the space called `name`, all or nothing.
pub(crate) fn apply(
    connection: &mut Connection,
    config: &SqliteConfig,
    name: &SpaceName,
    page: &Page,
) -> Result<Written> {
    boundary(config, "begin")?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed("apply"))?;
    let mut writing = Writing::begin(&transaction, config, name)?;
    let applied = digests::beside(&page.upserts, |digests| writing.page(page, digests))?;
    let changed = writing.changed;
    if changed {
        boundary(config, "space")?;
        writing.save()?;
        drop(writing);
        boundary(config, "commit")?;
        commit(transaction)?;
        boundary(config, "committed").map_err(|source| {
            Error::new(ErrorKind::UnknownOutcome)
                .with_source(source)
                .of_backend(NAME)
        })?;
    }
    Ok(Written {
        applied,
        changed,
        garbage: changed && page.reset,
    })
}

/// Applies `page` inside the caller's transaction.
pub(crate) fn apply_in(
    transaction: &Transaction<'_>,
    config: &SqliteConfig,
    name: &SpaceName,
    page: &Page,
) -> Result<Applied> {
    let mut writing = Writing::begin(transaction, config, name)?;
    let applied = digests::beside(&page.upserts, |digests| writing.page(page, digests))?;
    if writing.changed {
        writing.save()?;
    }
    Ok(applied)
}

/// Commits. Where SQLite could not write, nobody can say whether a later recovery finds the
/// transaction whole in the log; where it says why it refused, nothing was written.
fn commit(transaction: Transaction<'_>) -> Result<()> {
    transaction.commit().map_err(|source| {
        let error = failed("apply")(source);
        match error.kind() {
            ErrorKind::Busy | ErrorKind::Full | ErrorKind::ReadOnly => error,
            _ => Error::new(ErrorKind::UnknownOutcome)
                .with_source(error)
                .of_backend(NAME)
                .during("apply"),
        }
    })
}

#[cfg(feature = "fault-injection")]
pub(crate) fn boundary(config: &SqliteConfig, name: &'static str) -> Result<()> {
    config
        .on_boundary
        .as_ref()
        .map_or(Ok(()), |hook| hook(name))
}

#[cfg(not(feature = "fault-injection"))]
#[expect(
    clippy::unnecessary_wraps,
    clippy::inline_always,
    reason = "the twin of the hook above"
)]
#[inline(always)]
pub(crate) fn boundary(_: &SqliteConfig, _: &'static str) -> Result<()> {
    Ok(())
}

/// A transaction that applies a page.
struct Writing<'t> {
    transaction: &'t Transaction<'t>,
    config: &'t SqliteConfig,
    name: &'t SpaceName,
    /// Absent until something is written to a space that did not exist.
    space: Option<Space>,
    /// The head before the page: tombstones above it are the page's own.
    head_before: Seq,
    changed: bool,
    statements: Statements<'t>,
    /// The last id was present: look first next time, instead of trying to insert.
    expect_present: bool,
}

/// The statements that run once for each operation.
struct Statements<'t> {
    insert: CachedStatement<'t>,
    look_up: CachedStatement<'t>,
    grave: CachedStatement<'t>,
    set_order: CachedStatement<'t>,
}

/// A row, as far as an upsert or backfill asks for it.
struct Present {
    rid: i64,
    digest: Digest,
    sync_order: Option<SyncOrder>,
}

impl<'t> Writing<'t> {
    fn begin(
        transaction: &'t Transaction<'t>,
        config: &'t SqliteConfig,
        name: &'t SpaceName,
    ) -> Result<Self> {
        let begin = || {
            Ok(Self {
                transaction,
                config,
                name,
                space: Space::load(transaction, name)?,
                head_before: Seq::ZERO,
                changed: false,
                statements: Statements::prepare(transaction)?,
                expect_present: false,
            })
        };
        let mut writing = begin().map_err(failed("apply"))?;
        writing.head_before = writing.space.as_ref().map_or(Seq::ZERO, |space| space.head);
        Ok(writing)
    }

    fn page(&mut self, page: &Page, mut digests: Digests<'_>) -> Result<Applied> {
        self.check_preconditions(&page.preconditions)?;
        if page.reset {
            self.boundary("reset")?;
            let transaction = self.transaction;
            // A space that is created by this page has nothing to leave behind.
            if self.space.is_some() {
                self.space_mut()?.reset(transaction)?;
            } else {
                self.space_mut()?;
            }
            self.changed = true;
        }
        let policy = Policy::from(page);
        let lifts = page
            .lifts
            .iter()
            .map(|id| self.lift(*id))
            .collect::<Result<_>>()?;
        let deletes = page
            .deletes
            .iter()
            .map(|delete| self.delete(delete))
            .collect::<Result<_>>()?;
        let upserts = page
            .upserts
            .iter()
            .map(|operation| self.upsert(operation, digests.next_of(operation), policy))
            .collect::<Result<_>>()?;
        let backfills = page
            .backfills
            .iter()
            .map(|backfill| self.backfill(*backfill))
            .collect::<Result<_>>()?;
        for change in &page.state {
            self.change_state(change)?;
        }
        Ok(Applied {
            lifts,
            deletes,
            upserts,
            backfills,
            seqs: self.minted(),
        })
    }

    fn save(&mut self) -> Result<()> {
        let (transaction, durability) = (self.transaction, self.config.durability);
        self.space_mut()?.save(transaction, durability)
    }

    fn minted(&self) -> Option<SeqRange> {
        let last = self.space.as_ref()?.head;
        let first = self.head_before.next()?;
        (first <= last).then_some(SeqRange { first, last })
    }

    /// The space, created where this is the first write to it.
    fn space_mut(&mut self) -> Result<&mut Space> {
        if self.space.is_none() {
            boundary(self.config, "create")?;
            self.space = Some(Space::create(self.transaction, self.name)?);
        }
        self.space
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Failed))
    }

    fn boundary(&self, name: &'static str) -> Result<()> {
        boundary(self.config, name)
    }

    fn check_preconditions(&self, preconditions: &[Precondition]) -> Result<()> {
        let mut mismatches = Vec::new();
        for precondition in preconditions {
            self.boundary("precondition")?;
            let found = match &self.space {
                Some(space) => load_state(self.transaction, space, precondition.key.as_str())
                    .map_err(failed("apply"))?,
                None => None,
            };
            if found != precondition.expected {
                mismatches.push(Mismatch {
                    key: precondition.key.clone(),
                    found,
                });
            }
        }
        if mismatches.is_empty() {
            Ok(())
        } else {
            Err(Error::conflict(mismatches))
        }
    }

    fn lift(&mut self, id: OpId) -> Result<LiftOutcome> {
        self.boundary("lift")?;
        let standing = match self.find(id).map_err(failed("apply"))? {
            Some(_) => Standing::Live(()),
            None => self
                .grave(id)
                .map_err(failed("apply"))?
                .map_or(Standing::Unknown, Standing::Tombstoned),
        };
        let outcome = rules::lift(&standing);
        if outcome == LiftOutcome::Lifted {
            let incarnation = self.space_mut()?.incarnation;
            self.changed = true;
            self.transaction
                .prepare_cached(
                    "UPDATE tombstone SET lifted = 1 WHERE incarnation = ?1 AND seq =
                       (SELECT max(seq) FROM tombstone WHERE incarnation = ?1 AND id = ?2)",
                )
                .and_then(|mut lift| lift.execute(params![incarnation, id.as_bytes()]))
                .map_err(failed("apply"))?;
        }
        Ok(outcome)
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome> {
        self.boundary("delete")?;
        let row = self.find_whole(delete.id).map_err(failed("apply"))?;
        let standing = match &row {
            Some(row) => Standing::Live(Deletable {
                object: row.object.as_ref().map(Object::as_bytes),
                sync_order: row.sync_order,
            }),
            None => self
                .grave(delete.id)
                .map_err(failed("apply"))?
                .map_or(Standing::Unknown, Standing::Tombstoned),
        };
        let outcome = rules::delete(&standing, delete);
        match (outcome, &row) {
            (DeleteOutcome::Deleted, Some(row)) => {
                self.remove_row(delete.id, row, delete.reason, delete.source_seq)?;
            }
            (DeleteOutcome::Rejected, _) => {
                let Delete {
                    id,
                    reason,
                    source_seq,
                    ..
                } = *delete;
                self.add_tombstone(id, delete.ts, delete.object.as_ref(), reason, source_seq)?;
            }
            (DeleteOutcome::AlreadyDeleted, _) => self.raise_source_seq(delete, &standing)?,
            _ => {}
        }
        Ok(outcome)
    }

    /// Deletes a row and leaves its tombstone.
    fn remove_row(
        &mut self,
        id: OpId,
        row: &WholeRow,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        self.boundary("delete row")?;
        self.transaction
            .prepare_cached("DELETE FROM operation WHERE rid = ?1")
            .and_then(|mut delete| delete.execute([row.rid]))
            .map_err(failed("apply"))?;
        let space = self.space_mut()?;
        space.total -= 1;
        space.ordered -= u64::from(row.sync_order.is_some());
        self.add_tombstone(id, Some(row.ts), row.object.as_ref(), reason, source_seq)
    }

    fn add_tombstone(
        &mut self,
        id: OpId,
        ts: Option<Ts>,
        object: Option<&Object>,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        self.boundary("tombstone")?;
        let space = self.space_mut()?;
        let seq = space.mint()?;
        space.tombstones += 1;
        let incarnation = space.incarnation;
        self.changed = true;
        self.transaction
            .prepare_cached(
                "INSERT INTO tombstone
                   (incarnation, seq, id, ts, object, reason, source_seq, lifted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
            )
            .and_then(|mut insert| {
                insert.execute(params![
                    incarnation,
                    seq.as_i64(),
                    id.as_bytes(),
                    ts.map(Ts::as_i64),
                    object.map(Object::as_bytes),
                    reason.code(),
                    source_seq.map(SyncOrder::as_i64),
                ])
            })
            .map(drop)
            .map_err(failed("apply"))
    }

    fn raise_source_seq(
        &mut self,
        delete: &Delete,
        standing: &Standing<Deletable<'_>>,
    ) -> Result<()> {
        let Standing::Tombstoned(grave) = standing else {
            return Ok(());
        };
        let merged = rules::merged_source_seq(grave.source_seq, delete.source_seq);
        if merged == grave.source_seq {
            return Ok(());
        }
        self.boundary("source seq")?;
        let incarnation = self.space_mut()?.incarnation;
        self.changed = true;
        self.transaction
            .prepare_cached(
                "UPDATE tombstone SET source_seq = ?3 WHERE incarnation = ?1 AND seq =
                   (SELECT max(seq) FROM tombstone WHERE incarnation = ?1 AND id = ?2)",
            )
            .and_then(|mut raise| {
                let merged = merged.map(SyncOrder::as_i64);
                raise.execute(params![incarnation, delete.id.as_bytes(), merged])
            })
            .map(drop)
            .map_err(failed("apply"))
    }

    fn upsert(
        &mut self,
        operation: &Operation,
        digest: Digest,
        policy: Policy,
    ) -> Result<UpsertOutcome> {
        self.boundary("upsert")?;
        let input = Record {
            digest,
            sync_order: operation.sync_order,
        };
        // Without tombstones the insert itself tells whether the id is present, which saves the
        // look-up while new operations come, and costs it once when they stop being new.
        let tombstones = self.space_mut()?.tombstones > 0;
        if !tombstones && !self.expect_present && self.insert(operation, input.digest)? {
            return Ok(UpsertOutcome::Inserted);
        }
        let present = self.find(operation.id).map_err(failed("apply"))?;
        self.expect_present = present.is_some();
        let standing = match &present {
            Some(row) => Standing::Live(Record {
                digest: row.digest,
                sync_order: row.sync_order,
            }),
            None if tombstones => self
                .grave(operation.id)
                .map_err(failed("apply"))?
                .map_or(Standing::Unknown, Standing::Tombstoned),
            None => Standing::Unknown,
        };
        let outcome = rules::upsert(&standing, input, policy);
        match (outcome, present) {
            (UpsertOutcome::Inserted, _) => {
                self.insert(operation, input.digest)?;
            }
            (UpsertOutcome::Ordered, Some(row)) => self.set_order(&row, operation.sync_order)?,
            (UpsertOutcome::Replaced, Some(row)) => self.replace(operation, &row, input.digest)?,
            _ => {}
        }
        Ok(outcome)
    }

    /// Inserts a row, unless its id is present.
    fn insert(&mut self, operation: &Operation, digest: Digest) -> Result<bool> {
        self.boundary("insert")?;
        let Some(space) = &mut self.space else {
            return Err(Error::new(ErrorKind::Failed));
        };
        let seq = space
            .head
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Exhausted))?;
        let inserted = self
            .statements
            .insert
            .execute(params![
                space.incarnation,
                operation.id.as_bytes(),
                operation.ts.as_i64(),
                operation.sync_order.map(SyncOrder::as_i64),
                seq.as_i64(),
                digest.as_bytes(),
                operation.object.as_ref().map(Object::as_bytes),
                &operation.payload[..],
            ])
            .map_err(failed("apply"))?;
        if inserted == 0 {
            return Ok(false);
        }
        space.head = seq;
        space.total += 1;
        space.ordered += u64::from(operation.sync_order.is_some());
        self.changed = true;
        Ok(true)
    }

    fn replace(&mut self, operation: &Operation, row: &Present, digest: Digest) -> Result<()> {
        let old = self.find_whole(operation.id).map_err(failed("apply"))?;
        let old = old.ok_or_else(|| Error::new(ErrorKind::Corrupt))?;
        self.remove_row(operation.id, &old, TombstoneReason::Removed, None)?;
        let sync_order = rules::replaced_order(row.sync_order, operation.sync_order);
        self.insert(
            &Operation {
                sync_order,
                ..operation.clone()
            },
            digest,
        )
        .map(drop)
    }

    fn set_order(&mut self, row: &Present, sync_order: Option<SyncOrder>) -> Result<()> {
        self.boundary("order")?;
        self.statements
            .set_order
            .execute(params![row.rid, sync_order.map(SyncOrder::as_i64)])
            .map_err(failed("apply"))?;
        self.space_mut()?.ordered += 1;
        self.changed = true;
        Ok(())
    }

    fn backfill(&mut self, backfill: Backfill) -> Result<BackfillOutcome> {
        self.boundary("backfill")?;
        let present = self.find(backfill.id).map_err(failed("apply"))?;
        let standing = match &present {
            Some(row) => Standing::Live(row.sync_order),
            None => self
                .grave(backfill.id)
                .map_err(failed("apply"))?
                .map_or(Standing::Unknown, Standing::Tombstoned),
        };
        let outcome = rules::backfill(&standing, backfill.sync_order);
        if let (BackfillOutcome::Ordered, Some(row)) = (outcome, present) {
            self.set_order(&row, Some(backfill.sync_order))?;
        }
        Ok(outcome)
    }

    fn change_state(&mut self, change: &StateChange) -> Result<()> {
        self.boundary("state")?;
        let key = change.key.as_str();
        let stored = match &self.space {
            Some(space) => load_state(self.transaction, space, key).map_err(failed("apply"))?,
            None => None,
        };
        if stored == change.value {
            return Ok(());
        }
        let incarnation = self.space_mut()?.incarnation;
        self.changed = true;
        let write = || match &change.value {
            Some(value) => self
                .transaction
                .prepare_cached(
                    "INSERT INTO state (incarnation, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (incarnation, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![incarnation, key, &value[..]]),
            None => self
                .transaction
                .prepare_cached("DELETE FROM state WHERE incarnation = ?1 AND key = ?2")?
                .execute(params![incarnation, key]),
        };
        write().map(drop).map_err(failed("apply"))
    }

    fn find(&mut self, id: OpId) -> rusqlite::Result<Option<Present>> {
        let Some(space) = &self.space else {
            return Ok(None);
        };
        self.statements
            .look_up
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                Ok(Present {
                    rid: row.get(0)?,
                    digest: Digest::try_from(row.get_ref(1)?.as_blob()?).map_err(corrupt)?,
                    sync_order: optional_position(row, 2)?,
                })
            })
            .optional()
    }

    fn find_whole(&self, id: OpId) -> rusqlite::Result<Option<WholeRow>> {
        let Some(space) = &self.space else {
            return Ok(None);
        };
        self.transaction
            .prepare_cached(
                "SELECT rid, ts, sync_order, object FROM operation
                 WHERE incarnation = ?1 AND id = ?2",
            )?
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                Ok(WholeRow {
                    rid: row.get(0)?,
                    ts: position(row, 1)?,
                    sync_order: optional_position(row, 2)?,
                    object: object(row.get_ref(3)?)?,
                })
            })
            .optional()
    }

    /// The tombstone that stands for `id` where it has no row.
    fn grave(&mut self, id: OpId) -> rusqlite::Result<Option<Grave>> {
        let Some(space) = self.space.as_ref().filter(|space| space.tombstones > 0) else {
            return Ok(None);
        };
        let head_before = self.head_before;
        self.statements
            .grave
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                let lifted: bool = row.get(3)?;
                let seq: Seq = position(row, 0)?;
                let grave = Grave {
                    reason: TombstoneReason::from_code(row.get(1)?).map_err(corrupt)?,
                    source_seq: optional_position(row, 2)?,
                    by_this_page: seq > head_before,
                };
                Ok((!lifted).then_some(grave))
            })
            .optional()
            .map(Option::flatten)
    }
}

/// A row without its payload.
struct WholeRow {
    rid: i64,
    ts: Ts,
    sync_order: Option<SyncOrder>,
    object: Option<Object>,
}

impl<'t> Statements<'t> {
    fn prepare(connection: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: connection.prepare_cached(
                "INSERT INTO operation
                   (incarnation, id, ts, sync_order, seq, digest, object, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (incarnation, id) DO NOTHING",
            )?,
            look_up: connection.prepare_cached(
                "SELECT rid, digest, sync_order FROM operation WHERE incarnation = ?1 AND id = ?2",
            )?,
            grave: connection.prepare_cached(
                "SELECT seq, reason, source_seq, lifted FROM tombstone
                 WHERE incarnation = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
            )?,
            set_order: connection
                .prepare_cached("UPDATE operation SET sync_order = ?2 WHERE rid = ?1")?,
        })
    }
}

/// The value of a state key.
pub(crate) fn load_state(
    connection: &Connection,
    space: &Space,
    key: &str,
) -> rusqlite::Result<Option<Bytes>> {
    connection
        .prepare_cached("SELECT value FROM state WHERE incarnation = ?1 AND key = ?2")?
        .query_row(params![space.incarnation, key], |row| {
            Ok(Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?))
        })
        .optional()
}

/// The object in a column.
pub(crate) fn object(value: ValueRef<'_>) -> rusqlite::Result<Option<Object>> {
    value
        .as_blob_or_null()?
        .map(|bytes| Object::new(Bytes::copy_from_slice(bytes)).map_err(corrupt))
        .transpose()
}
