use bytes::Bytes;
use sync_core::rules::{self, Deletable, Policy, Record};
use sync_core::{
    Applied, Backfill, BackfillOutcome, Delete, DeleteOutcome, Epoch, Error, ErrorKind,
    LiftOutcome, Mismatch, Object, OpId, Operation, Page, Precondition, Result, Seq, SeqRange,
    StateChange, TombstoneReason, UpsertOutcome,
};

use crate::boundary::Boundaries;
use crate::space::{Space, Tombstone};

/// A page on its way into a snapshot that no reader sees yet. The caller makes the snapshot the
/// current one, or drops it after an error.
struct Writing<'a> {
    space: &'a mut Space,
    /// The head before the page.
    before: Seq,
    policy: Policy,
    changed: bool,
}

/// What applying a page did to a snapshot.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Whether the snapshot differs from the one it was cloned from.
    pub(crate) changed: bool,
}

/// Applies `page`, list after list. After an error the snapshot is of no more use.
pub(crate) fn apply(space: &mut Space, page: Page, boundaries: &Boundaries) -> Result<Written> {
    check_preconditions(space, &page.preconditions)?;
    let mut writing = Writing {
        before: space.head,
        policy: Policy::from(&page),
        changed: false,
        space,
    };
    let mut applied = Applied::default();
    if page.reset {
        boundaries.at("reset")?;
        writing.reset()?;
    }
    for id in page.lifts {
        boundaries.at("lift")?;
        applied.lifts.push(writing.lift(id));
    }
    for delete in page.deletes {
        boundaries.at("delete")?;
        applied.deletes.push(writing.delete(delete)?);
    }
    for operation in page.upserts {
        boundaries.at("upsert")?;
        applied.upserts.push(writing.upsert(operation)?);
    }
    for backfill in page.backfills {
        boundaries.at("backfill")?;
        applied.backfills.push(writing.backfill(backfill));
    }
    for change in page.state {
        boundaries.at("state")?;
        writing.set(change);
    }
    applied.seqs = writing.seqs();
    Ok(Written {
        applied,
        changed: writing.changed,
    })
}

/// Names every key that does not hold what a precondition expects, once.
fn check_preconditions(space: &Space, preconditions: &[Precondition]) -> Result<()> {
    let mut mismatches: Vec<Mismatch> = Vec::new();
    for Precondition { key, expected } in preconditions {
        let found = space.state.get(key);
        let named = mismatches.iter().any(|mismatch| mismatch.key == *key);
        if found != expected.as_ref() && !named {
            mismatches.push(Mismatch {
                key: key.clone(),
                found: found.cloned(),
            });
        }
    }
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(Error::conflict(mismatches))
    }
}

impl Writing<'_> {
    fn reset(&mut self) -> Result<()> {
        *self.space = self.space.reset(Epoch::random()?);
        self.changed = true;
        Ok(())
    }

    fn lift(&mut self, id: OpId) -> LiftOutcome {
        let outcome = rules::lift(&self.space.standing(&id, self.before, |_| ()));
        match outcome {
            LiftOutcome::Lifted => {
                if let Some(tombstone) = self.space.tombstone_of_mut(&id) {
                    tombstone.lifted = true;
                }
                self.space.newest.remove(&id);
                self.changed = true;
            }
            LiftOutcome::NotTombstoned => {}
        }
        outcome
    }

    fn delete(&mut self, delete: Delete) -> Result<DeleteOutcome> {
        let standing = self
            .space
            .standing(&delete.id, self.before, |stored| Deletable {
                object: stored.row.operation.object.as_ref().map(Object::as_bytes),
                sync_order: stored.row.operation.sync_order,
            });
        let outcome = rules::delete(&standing, &delete);
        let tombstone = Tombstone {
            id: delete.id,
            ts: delete.ts,
            object: delete.object,
            reason: delete.reason,
            source_seq: delete.source_seq,
            lifted: false,
        };
        match outcome {
            DeleteOutcome::Deleted => self.remove(tombstone)?,
            DeleteOutcome::Rejected => self.add_tombstone(Tombstone {
                object: tombstone.object.map(own_object).transpose()?,
                ..tombstone
            })?,
            DeleteOutcome::AlreadyDeleted => {
                if let Some(stands) = self.space.tombstone_of_mut(&tombstone.id) {
                    let merged = rules::merged_source_seq(stands.source_seq, tombstone.source_seq);
                    self.changed |= merged != stands.source_seq;
                    stands.source_seq = merged;
                }
            }
            DeleteOutcome::OtherObject | DeleteOutcome::Superseded | DeleteOutcome::Unknown => {}
        }
        Ok(outcome)
    }

    fn upsert(&mut self, operation: Operation) -> Result<UpsertOutcome> {
        let id = operation.id;
        let input = Record {
            digest: operation.digest(),
            sync_order: operation.sync_order,
        };
        let standing = self.space.standing(&id, self.before, |stored| Record {
            digest: stored.digest,
            sync_order: stored.row.operation.sync_order,
        });
        let outcome = rules::upsert(&standing, input, self.policy);
        match outcome {
            UpsertOutcome::Inserted => self.insert(operation, input)?,
            UpsertOutcome::Replaced => {
                let stored = self.space.rows.get(&id);
                let stored = stored.and_then(|stored| stored.row.operation.sync_order);
                self.remove(Tombstone {
                    id,
                    ts: None,
                    object: None,
                    reason: TombstoneReason::Removed,
                    source_seq: None,
                    lifted: false,
                })?;
                let sync_order = rules::replaced_order(stored, operation.sync_order);
                let operation = Operation {
                    sync_order,
                    ..operation
                };
                self.insert(operation, input)?;
            }
            UpsertOutcome::Ordered => {
                if let Some(sync_order) = operation.sync_order {
                    self.order(id, sync_order);
                }
            }
            UpsertOutcome::Divergent
            | UpsertOutcome::Unchanged
            | UpsertOutcome::OrderConflict { .. }
            | UpsertOutcome::Tombstoned => {}
        }
        Ok(outcome)
    }

    fn backfill(&mut self, Backfill { id, sync_order }: Backfill) -> BackfillOutcome {
        let standing = self
            .space
            .standing(&id, self.before, |stored| stored.row.operation.sync_order);
        let outcome = rules::backfill(&standing, sync_order);
        if outcome == BackfillOutcome::Ordered {
            self.order(id, sync_order);
        }
        outcome
    }

    fn set(&mut self, StateChange { key, value }: StateChange) {
        if self.space.state.get(&key) == value.as_ref() {
            return;
        }
        match value {
            Some(value) => self.space.state.insert(key, own(&value)),
            None => self.space.state.remove(&key),
        };
        self.changed = true;
    }

    fn insert(&mut self, operation: Operation, record: Record) -> Result<()> {
        let operation = Operation {
            object: operation.object.map(own_object).transpose()?,
            payload: own(&operation.payload),
            ..operation
        };
        let seq = self.mint()?;
        self.space.insert(operation, record.digest, seq);
        Ok(())
    }

    /// Takes the row of the tombstone's id away and leaves the tombstone, with the row's own ts
    /// and object.
    fn remove(&mut self, tombstone: Tombstone) -> Result<()> {
        let Some(stored) = self.space.remove(&tombstone.id) else {
            return Ok(());
        };
        let operation = &stored.row.operation;
        self.add_tombstone(Tombstone {
            ts: Some(operation.ts),
            object: operation.object.clone(),
            ..tombstone
        })
    }

    fn add_tombstone(&mut self, tombstone: Tombstone) -> Result<()> {
        let seq = self.mint()?;
        self.space.add_tombstone(tombstone, seq);
        Ok(())
    }

    fn order(&mut self, id: OpId, sync_order: sync_core::SyncOrder) {
        self.space.set_order(id, sync_order);
        self.changed = true;
    }

    fn mint(&mut self) -> Result<Seq> {
        let next = self.space.head.next();
        self.space.head = next.ok_or_else(|| Error::new(ErrorKind::Exhausted))?;
        self.changed = true;
        Ok(self.space.head)
    }

    fn seqs(&self) -> Option<SeqRange> {
        let last = self.space.head;
        let first = self.before.next().filter(|first| *first <= last)?;
        Some(SeqRange { first, last })
    }
}

/// The same bytes in memory of their own: what is stored must not keep the larger buffer alive
/// that a caller cut it from.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn own_object(object: Object) -> Result<Object> {
    Object::new(own(&object.into_bytes()))
}
