//! A page on its way through what stands.

use std::collections::HashMap;

use bytes::Bytes;

use super::{Before, Counters, NewRow, NewTombstone, Plan, StoredRow, StoredTombstone};
use crate::rules::{self, Deletable, Grave, Policy, Record, Standing};
use crate::{
    Backfill, BackfillOutcome, Delete, DeleteOutcome, Digest, Error, ErrorKind, LiftOutcome,
    Object, OpId, Operation, Page, Result, Seq, SeqRange, StateChange, StateKey, SyncOrder,
    TombstoneReason, UpsertOutcome,
};

/// The plan so far, and what stands after it.
pub(super) struct Writing {
    plan: Plan,
    policy: Policy,
    /// The head before the page: tombstones above it are the page's own.
    before: Seq,
    rows: HashMap<OpId, Live>,
    graves: HashMap<OpId, Buried>,
    state: HashMap<StateKey, Bytes>,
    /// New rows by seq, with holes where one went again.
    inserted: Vec<Option<NewRow>>,
    /// State keys in the order of their first change.
    touched: Vec<StateKey>,
}

/// A row that stands.
struct Live {
    row: StoredRow,
    /// Its index among the new rows; absent where it is stored.
    new: Option<usize>,
}

/// A tombstone that stands.
struct Buried {
    stored: StoredTombstone,
    /// Its index among the new tombstones; absent where it is stored.
    new: Option<usize>,
}

impl Writing {
    pub(super) fn begin(page: &Page, before: Before) -> Self {
        let mut writing = Self {
            plan: Plan {
                head: before.head,
                reset: page.reset,
                changed: page.reset,
                ..Plan::default()
            },
            policy: Policy::from(page),
            before: before.head,
            rows: HashMap::new(),
            graves: HashMap::new(),
            state: HashMap::new(),
            inserted: Vec::new(),
            touched: Vec::new(),
        };
        if !page.reset {
            writing.plan.counters = before.counters;
            writing.state = before.state;
            let live = |(id, row)| (id, Live { row, new: None });
            writing.rows = before.rows.into_iter().map(live).collect();
            let buried = |(id, stored)| (id, Buried { stored, new: None });
            writing.graves = before.tombstones.into_iter().map(buried).collect();
        }
        writing
    }

    pub(super) fn page(mut self, page: &Page, digests: &[Digest]) -> Result<Plan> {
        if digests.len() != page.upserts.len() {
            return Err(Error::new(ErrorKind::Failed)
                .with_message("a page was planned with digests that are not its own"));
        }
        for id in &page.lifts {
            let outcome = self.lift(*id);
            self.plan.applied.lifts.push(outcome);
        }
        for delete in &page.deletes {
            let outcome = self.delete(delete)?;
            self.plan.applied.deletes.push(outcome);
        }
        self.plan.applied.upserts.reserve_exact(page.upserts.len());
        for (index, (operation, digest)) in page.upserts.iter().zip(digests).enumerate() {
            let outcome = self.upsert(index, operation, *digest)?;
            self.plan.applied.upserts.push(outcome);
        }
        for backfill in &page.backfills {
            let outcome = self.backfill(*backfill);
            self.plan.applied.backfills.push(outcome);
        }
        for change in &page.state {
            self.change_state(change);
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Plan {
        self.plan.applied.seqs = self.before.next().and_then(|first| {
            let last = self.plan.head;
            (first <= last).then_some(SeqRange { first, last })
        });
        self.plan.inserted = self.inserted.into_iter().flatten().collect();
        let (touched, mut state) = (self.touched, self.state);
        let change = |key| {
            let value = state.remove(&key);
            StateChange { key, value }
        };
        self.plan.state = touched.into_iter().map(change).collect();
        self.plan
    }

    fn lift(&mut self, id: OpId) -> LiftOutcome {
        let outcome = rules::lift(&self.standing(&id, |_| ()));
        // Lifts come first, so the tombstone is a stored one.
        if outcome == LiftOutcome::Lifted
            && let Some(grave) = self.graves.remove(&id)
        {
            self.plan.lifted.push(grave.stored.seq);
            self.plan.changed = true;
        }
        outcome
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome> {
        let standing = self.standing(&delete.id, |row| Deletable {
            object: row.object.as_ref().map(Object::as_bytes),
            sync_order: row.sync_order,
        });
        let outcome = rules::delete(&standing, delete);
        match outcome {
            DeleteOutcome::Deleted => {
                self.remove(delete.id, delete.reason, delete.source_seq)?;
            }
            DeleteOutcome::Rejected => self.bury(NewTombstone {
                seq: Seq::ZERO,
                id: delete.id,
                ts: delete.ts,
                object: delete.object.clone(),
                reason: delete.reason,
                source_seq: delete.source_seq,
            })?,
            DeleteOutcome::AlreadyDeleted => self.raise(delete),
            DeleteOutcome::OtherObject | DeleteOutcome::Superseded | DeleteOutcome::Unknown => {}
        }
        Ok(outcome)
    }

    fn upsert(
        &mut self,
        index: usize,
        operation: &Operation,
        digest: Digest,
    ) -> Result<UpsertOutcome> {
        let id = operation.id;
        let input = Record {
            digest,
            sync_order: operation.sync_order,
        };
        let standing = self.standing(&id, |row| Record {
            digest: row.digest,
            sync_order: row.sync_order,
        });
        let outcome = rules::upsert(&standing, input, self.policy);
        match (outcome, operation.sync_order) {
            (UpsertOutcome::Inserted, order) => self.insert(index, operation, digest, order)?,
            (UpsertOutcome::Replaced, order) => {
                let stored = self.rows.get(&id).and_then(|live| live.row.sync_order);
                self.remove(id, TombstoneReason::Removed, None)?;
                let order = rules::replaced_order(stored, order);
                self.insert(index, operation, digest, order)?;
            }
            (UpsertOutcome::Ordered, Some(order)) => self.set_order(id, order),
            _ => {}
        }
        Ok(outcome)
    }

    fn backfill(&mut self, Backfill { id, sync_order }: Backfill) -> BackfillOutcome {
        let outcome = rules::backfill(&self.standing(&id, |row| row.sync_order), sync_order);
        if outcome == BackfillOutcome::Ordered {
            self.set_order(id, sync_order);
        }
        outcome
    }

    fn change_state(&mut self, StateChange { key, value }: &StateChange) {
        if self.state.get(key) == value.as_ref() {
            return;
        }
        self.plan.changed = true;
        if !self.touched.contains(key) {
            self.touched.push(key.clone());
        }
        match value {
            Some(value) => self.state.insert(key.clone(), value.clone()),
            None => self.state.remove(key),
        };
    }

    /// What stands under `id`; `of_row` takes from a row what the rule needs.
    fn standing<'a, T>(
        &'a self,
        id: &OpId,
        of_row: impl FnOnce(&'a StoredRow) -> T,
    ) -> Standing<T> {
        if let Some(live) = self.rows.get(id) {
            return Standing::Live(of_row(&live.row));
        }
        match self.graves.get(id) {
            Some(Buried { stored, .. }) => Standing::Tombstoned(Grave {
                reason: stored.reason,
                source_seq: stored.source_seq,
                by_this_page: stored.seq > self.before,
            }),
            None => Standing::Unknown,
        }
    }

    fn insert(
        &mut self,
        index: usize,
        operation: &Operation,
        digest: Digest,
        sync_order: Option<SyncOrder>,
    ) -> Result<()> {
        let seq = self.mint()?;
        let row = StoredRow {
            ts: operation.ts,
            sync_order,
            digest,
            object: operation.object.clone(),
        };
        let new = Some(self.inserted.len());
        self.inserted.push(Some(NewRow {
            upsert: index,
            seq,
            sync_order,
            digest,
        }));
        self.rows.insert(operation.id, Live { row, new });
        self.plan.counters.total += 1;
        self.plan.counters.ordered += u64::from(sync_order.is_some());
        Ok(())
    }

    /// Takes the row of `id` away and leaves its tombstone.
    fn remove(
        &mut self,
        id: OpId,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        let Some(Live { row, new }) = self.rows.remove(&id) else {
            return Ok(());
        };
        if let Some(new) = new {
            self.inserted.get_mut(new).map(Option::take);
        } else {
            self.plan.ordered.remove(&id);
            self.plan.removed.push(id);
        }
        let counters = &mut self.plan.counters;
        Counters::less(&mut counters.total, 1)?;
        Counters::less(&mut counters.ordered, u64::from(row.sync_order.is_some()))?;
        self.bury(NewTombstone {
            seq: Seq::ZERO,
            id,
            ts: Some(row.ts),
            object: row.object,
            reason,
            source_seq,
        })
    }

    /// Adds `tombstone` under the next seq.
    fn bury(&mut self, tombstone: NewTombstone) -> Result<()> {
        let seq = self.mint()?;
        let stored = StoredTombstone {
            seq,
            reason: tombstone.reason,
            source_seq: tombstone.source_seq,
        };
        let new = Some(self.plan.tombstones.len());
        self.graves.insert(tombstone.id, Buried { stored, new });
        self.plan.tombstones.push(NewTombstone { seq, ..tombstone });
        self.plan.counters.tombstones += 1;
        Ok(())
    }

    fn raise(&mut self, delete: &Delete) {
        let Some(Buried { stored, new }) = self.graves.get_mut(&delete.id) else {
            return;
        };
        let merged = rules::merged_source_seq(stored.source_seq, delete.source_seq);
        if merged == stored.source_seq {
            return;
        }
        stored.source_seq = merged;
        self.plan.changed = true;
        match (*new, merged) {
            (Some(new), _) => {
                if let Some(tombstone) = self.plan.tombstones.get_mut(new) {
                    tombstone.source_seq = merged;
                }
            }
            (None, Some(merged)) => {
                self.plan.raised.insert(stored.seq, merged);
            }
            (None, None) => {}
        }
    }

    fn set_order(&mut self, id: OpId, sync_order: SyncOrder) {
        let Some(Live { row, new }) = self.rows.get_mut(&id) else {
            return;
        };
        row.sync_order = Some(sync_order);
        match new {
            Some(new) => {
                if let Some(Some(row)) = self.inserted.get_mut(*new) {
                    row.sync_order = Some(sync_order);
                }
            }
            None => {
                self.plan.ordered.insert(id, sync_order);
            }
        }
        self.plan.counters.ordered += 1;
        self.plan.changed = true;
    }

    fn mint(&mut self) -> Result<Seq> {
        let next = self.plan.head.next();
        self.plan.head = next.ok_or_else(|| Error::new(ErrorKind::Exhausted))?;
        self.plan.changed = true;
        Ok(self.plan.head)
    }
}
