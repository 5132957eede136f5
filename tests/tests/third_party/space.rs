//! One space in memory, and the indices it is walked by.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use sync_core::rules::{self, Deletable, IdState, Policy, Record};
use sync_core::{
    Applied, BackfillOutcome, Bytes, Delete, DeleteOutcome, Epoch, Error, ErrorKind, FeedCursor,
    FeedEntry, FeedKind, FeedPage, Known, LiftOutcome, Limit, Mismatch, Object, OpId, Operation,
    Page, Payloads, Result, Row, Seq, SeqRange, StateKey, Stats, SyncOrder, TombstoneReason, Ts,
    UpsertOutcome,
};

use crate::backend::Budget;

#[derive(Default)]
pub(crate) struct Space {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) rows: BTreeMap<OpId, Row>,
    pub(crate) state: BTreeMap<StateKey, Bytes>,
    pub(crate) by_time: BTreeSet<(Ts, OpId)>,
    pub(crate) by_order: BTreeSet<(SyncOrder, OpId)>,
    pub(crate) by_object: BTreeSet<(Object, Seq)>,
    pub(crate) by_seq: BTreeMap<Seq, OpId>,
    /// Tombstones, as the feed shows them.
    tombstones: BTreeMap<Seq, FeedEntry>,
    /// The newest tombstone of an id.
    newest: BTreeMap<OpId, Seq>,
    head: Seq,
    floor: Seq,
}

impl Space {
    /// Whether the page may be applied. Once it is in the journal, nothing may refuse it.
    pub(crate) fn check(&self, page: &Page) -> Result<()> {
        page.validate()?;
        let mut mismatches: Vec<Mismatch> = Vec::new();
        for precondition in &page.preconditions {
            let key = &precondition.key;
            let found = self.state.get(key);
            let named = mismatches.iter().any(|mismatch| mismatch.key == *key);
            if found != precondition.expected.as_ref() && !named {
                mismatches.push(Mismatch {
                    key: key.clone(),
                    found: found.cloned(),
                });
            }
        }
        if !mismatches.is_empty() {
            return Err(Error::conflict(mismatches));
        }
        // A page that would fit only because some of it needs no seq is refused as well.
        let most = (page.deletes.len() + 2 * page.upserts.len()) as u64;
        if Seq::MAX.value() - self.head.value() < most {
            return Err(Error::new(ErrorKind::Exhausted));
        }
        Ok(())
    }

    /// Applies a page that was checked. A space it creates, or resets, has `epoch`.
    pub(crate) fn apply(&mut self, page: &Page, epoch: Epoch) -> Applied {
        if page.reset {
            *self = Self {
                epoch: Some(epoch),
                head: self.head,
                floor: self.floor,
                ..Self::default()
            };
        }
        let before = self.head;
        let applied = Applied {
            lifts: page.lifts.iter().map(|id| self.lift(*id)).collect(),
            deletes: page
                .deletes
                .iter()
                .map(|delete| self.delete(delete))
                .collect(),
            upserts: {
                let upserts = page.upserts.iter();
                let policy = Policy::from(page);
                upserts
                    .map(|operation| self.upsert(operation, policy, before))
                    .collect()
            },
            backfills: {
                let backfills = page.backfills.iter();
                backfills
                    .map(|backfill| self.backfill(backfill.id, backfill.sync_order))
                    .collect()
            },
            seqs: (self.head > before).then(|| SeqRange {
                first: before.next().unwrap_or(Seq::MAX),
                last: self.head,
            }),
        };
        let mut altered = self.head > before;
        for change in &page.state {
            let old = match &change.value {
                Some(value) => self.state.insert(change.key.clone(), value.clone()),
                None => self.state.remove(&change.key),
            };
            altered |= old != change.value;
        }
        // Nothing else of a page can alter a space that does not exist.
        if altered {
            self.epoch.get_or_insert(epoch);
        }
        applied
    }

    pub(crate) fn prune(&mut self, up_to: Seq) {
        self.floor = self.floor.max(up_to.min(self.head));
        let floor = self.floor;
        self.tombstones.retain(|seq, entry| match entry.kind {
            FeedKind::Tombstone { reason, lifted, .. } => {
                *seq > floor || rules::outlives_prune(reason, lifted)
            }
            FeedKind::Live { .. } => true,
        });
        let left = &self.tombstones;
        self.newest.retain(|_, seq| left.contains_key(seq));
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: self.epoch,
            total: self.rows.len() as u64,
            ordered: self.by_order.len() as u64,
            tombstones: self.tombstones.len() as u64,
            head: self.head,
            floor: self.floor,
        }
    }

    /// What a reset or a drop leaves behind.
    pub(crate) fn weight(&self) -> u64 {
        (self.rows.len() + self.tombstones.len() + self.state.len()) as u64
    }

    pub(crate) fn known(&self, id: OpId) -> Known {
        if let Some(row) = self.rows.get(&id) {
            return Known::Live {
                ts: row.operation.ts,
                seq: row.seq,
                sync_order: row.operation.sync_order,
            };
        }
        match self.grave(id) {
            Some((seq, reason, source_seq)) => Known::Tombstoned {
                reason,
                seq,
                source_seq,
            },
            None => Known::Unknown,
        }
    }

    pub(crate) fn feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> Result<FeedPage> {
        let Some(current) = self.epoch else {
            return match after {
                FeedCursor::Beginning => Ok(FeedPage {
                    entries: Vec::new(),
                    next: FeedCursor::Beginning,
                    more: false,
                }),
                FeedCursor::After { .. } => {
                    Err(Error::new(ErrorKind::WrongEpoch { current: None }))
                }
            };
        };
        let (began, seen) = match after {
            FeedCursor::Beginning => (self.floor, Seq::ZERO),
            FeedCursor::After { epoch, floor, seq } => {
                let refused = if epoch != current {
                    Some(ErrorKind::WrongEpoch {
                        current: Some(current),
                    })
                } else if seq > self.head {
                    Some(ErrorKind::AheadOfLog { head: self.head })
                } else if seq < self.floor && floor < self.floor {
                    Some(ErrorKind::Pruned { floor: self.floor })
                } else {
                    None
                };
                if let Some(kind) = refused {
                    return Err(Error::new(kind));
                }
                (floor, seq)
            }
        };
        let above = (Excluded(seen), Unbounded);
        let ids = self.by_seq.range(above).map(|(_, id)| id);
        let mut rows = ids.filter_map(|id| self.rows.get(id)).peekable();
        let mut graves = self
            .tombstones
            .range(above)
            .map(|(_, entry)| entry)
            .peekable();
        let mut budget = Budget::new(limit);
        let (mut entries, mut more) = (Vec::new(), false);
        loop {
            let row = rows.peek().map(|row| row.seq);
            let grave = graves.peek().map(|grave| grave.seq);
            let entry = if row.is_some_and(|row| grave.is_none_or(|grave| row < grave)) {
                rows.next().map(|row| live_entry(row, payloads))
            } else {
                graves.next().cloned()
            };
            let Some(entry) = entry else { break };
            let payload = match &entry.kind {
                FeedKind::Live { payload, .. } => payload.as_ref().map_or(0, Bytes::len),
                FeedKind::Tombstone { .. } => 0,
            };
            if !budget.takes(payload + object_bytes(entry.object.as_ref())) {
                more = true;
                break;
            }
            entries.push(entry);
        }
        let last = entries.last().map(|entry| entry.seq);
        let seq = last.filter(|_| more).unwrap_or(self.head);
        let next = FeedCursor::After {
            epoch: current,
            floor: began,
            seq,
        };
        Ok(FeedPage {
            entries,
            next,
            more,
        })
    }

    /// The tombstone that stands for an id without a row.
    fn grave(&self, id: OpId) -> Option<(Seq, TombstoneReason, Option<SyncOrder>)> {
        let seq = *self.newest.get(&id)?;
        match self.tombstones.get(&seq)?.kind {
            FeedKind::Tombstone {
                reason,
                source_seq,
                lifted: false,
            } => Some((seq, reason, source_seq)),
            _ => None,
        }
    }

    fn standing<'a, T>(
        &'a self,
        id: OpId,
        before: Seq,
        row: impl FnOnce(&'a Row) -> T,
    ) -> IdState<T> {
        if let Some(live) = self.rows.get(&id) {
            return IdState::Live(row(live));
        }
        match self.grave(id) {
            Some((seq, reason, source_seq)) => IdState::Tombstoned(rules::Tombstone {
                reason,
                source_seq,
                by_this_page: seq > before,
            }),
            None => IdState::Unknown,
        }
    }

    fn lift(&mut self, id: OpId) -> LiftOutcome {
        let outcome = rules::lift(&self.standing(id, self.head, |_| ()));
        if outcome == LiftOutcome::Lifted {
            self.change_grave(id, |_, lifted| *lifted = true);
        }
        outcome
    }

    fn delete(&mut self, delete: &Delete) -> DeleteOutcome {
        let Delete {
            id,
            reason,
            source_seq,
            ..
        } = *delete;
        let standing = self.standing(id, self.head, |row| Deletable {
            object: row.operation.object.as_ref().map(Object::as_bytes),
            sync_order: row.operation.sync_order,
        });
        let outcome = rules::delete(&standing, delete);
        match outcome {
            DeleteOutcome::Deleted => self.bury(id, reason, source_seq),
            DeleteOutcome::AlreadyDeleted => self.change_grave(id, |stored, _| {
                *stored = rules::merged_source_seq(*stored, source_seq);
            }),
            DeleteOutcome::Rejected => {
                self.entomb(id, delete.ts, delete.object.clone(), reason, source_seq);
            }
            DeleteOutcome::OtherObject | DeleteOutcome::Superseded | DeleteOutcome::Unknown => {}
        }
        outcome
    }

    fn upsert(&mut self, operation: &Operation, policy: Policy, before: Seq) -> UpsertOutcome {
        let input = Record {
            digest: operation.digest(),
            sync_order: operation.sync_order,
        };
        let standing = self.standing(operation.id, before, |row| Record {
            digest: row.operation.digest(),
            sync_order: row.operation.sync_order,
        });
        let outcome = rules::upsert(&standing, input, policy);
        match (outcome, operation.sync_order) {
            (UpsertOutcome::Inserted, _) => self.insert(operation.clone()),
            (UpsertOutcome::Replaced, order) => {
                let stored = self.rows.get(&operation.id);
                let stored = stored.and_then(|row| row.operation.sync_order);
                self.bury(operation.id, TombstoneReason::Removed, None);
                let mut operation = operation.clone();
                operation.sync_order = rules::replaced_order(stored, order);
                self.insert(operation);
            }
            (UpsertOutcome::Ordered, Some(order)) => self.set_order(operation.id, order),
            _ => {}
        }
        outcome
    }

    fn backfill(&mut self, id: OpId, order: SyncOrder) -> BackfillOutcome {
        let standing = self.standing(id, self.head, |row| row.operation.sync_order);
        let outcome = rules::backfill(&standing, order);
        if outcome == BackfillOutcome::Ordered {
            self.set_order(id, order);
        }
        outcome
    }

    fn set_order(&mut self, id: OpId, order: SyncOrder) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.operation.sync_order = Some(order);
            self.by_order.insert((order, id));
        }
    }

    fn change_grave(&mut self, id: OpId, change: impl FnOnce(&mut Option<SyncOrder>, &mut bool)) {
        let entry = self
            .newest
            .get(&id)
            .and_then(|seq| self.tombstones.get_mut(seq));
        if let Some(FeedEntry {
            kind: FeedKind::Tombstone {
                source_seq, lifted, ..
            },
            ..
        }) = entry
        {
            change(source_seq, lifted);
        }
    }

    fn insert(&mut self, operation: Operation) {
        let seq = self.mint();
        let id = operation.id;
        self.by_time.insert((operation.ts, id));
        self.by_order
            .extend(operation.sync_order.map(|order| (order, id)));
        self.by_object
            .extend(operation.object.clone().map(|object| (object, seq)));
        self.by_seq.insert(seq, id);
        self.rows.insert(id, Row { operation, seq });
    }

    fn bury(&mut self, id: OpId, reason: TombstoneReason, source_seq: Option<SyncOrder>) {
        let Some(Row { operation, seq }) = self.rows.remove(&id) else {
            return;
        };
        self.by_time.remove(&(operation.ts, id));
        self.by_seq.remove(&seq);
        if let Some(order) = operation.sync_order {
            self.by_order.remove(&(order, id));
        }
        if let Some(object) = &operation.object {
            self.by_object.remove(&(object.clone(), seq));
        }
        self.entomb(id, Some(operation.ts), operation.object, reason, source_seq);
    }

    fn entomb(
        &mut self,
        id: OpId,
        ts: Option<Ts>,
        object: Option<Object>,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) {
        let seq = self.mint();
        let kind = FeedKind::Tombstone {
            reason,
            source_seq,
            lifted: false,
        };
        self.newest.insert(id, seq);
        self.tombstones.insert(
            seq,
            FeedEntry {
                seq,
                id,
                ts,
                object,
                kind,
            },
        );
    }

    /// `check` has made sure that there is a next one.
    fn mint(&mut self) -> Seq {
        self.head = self.head.next().unwrap_or(Seq::MAX);
        self.head
    }
}

fn live_entry(row: &Row, payloads: Payloads) -> FeedEntry {
    let Row { operation, seq } = row;
    FeedEntry {
        seq: *seq,
        id: operation.id,
        ts: Some(operation.ts),
        object: operation.object.clone(),
        kind: FeedKind::Live {
            sync_order: operation.sync_order,
            payload: (payloads == Payloads::Include).then(|| operation.payload.clone()),
        },
    }
}

pub(crate) fn object_bytes(object: Option<&Object>) -> usize {
    object.map_or(0, |object| object.as_bytes().len())
}
