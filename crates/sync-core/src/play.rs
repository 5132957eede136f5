//! The walk of a page over the [`rules`]: the one place that says in which order the
//! lists act and what each outcome writes.
//!
//! A backend brings its [`Tables`] and calls [`play`] inside its transaction; it saves the
//! [`SpaceRow`] afterwards. A database that is reached over a network should not be asked about one
//! operation at a time: its backend uses [`plan`](crate::plan), which is the same walk over maps in
//! memory.

use bytes::Bytes;

use crate::rules::{self, Deletable, IdState, Policy, Record};
use crate::{
    Applied, Backfill, BackfillOutcome, Delete, DeleteOutcome, Digest, Error, ErrorKind,
    LiftOutcome, Mismatch, Object, OpId, Operation, Page, Precondition, Result, Seq, SeqRange,
    StateKey, SyncOrder, TombstoneReason, Ts, UpsertOutcome,
};

/// What a page changes of a space as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceRow {
    /// The newest seq.
    pub head: Seq,
    /// The counters.
    pub counters: Counters,
}

/// The counters a space keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows.
    pub total: u64,
    /// Rows with a sync order.
    pub ordered: u64,
    /// Tombstones.
    pub tombstones: u64,
}

/// A live row, as far as a page asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRow<Handle> {
    /// What the tables find the row by when they write to it.
    pub handle: Handle,
    /// The digest it was inserted with.
    pub digest: Digest,
    /// Its order.
    pub sync_order: Option<SyncOrder>,
    /// Its claimed time. Only asked for where the row may be removed.
    pub ts: Ts,
    /// Its object. Only asked for where the row may be removed.
    pub object: Option<Object>,
}

/// A tombstone that keeps its id away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTombstone {
    /// Its seq.
    pub seq: Seq,
    /// Why its id is gone.
    pub reason: TombstoneReason,
    /// The highest source seq of the deletes that met it.
    pub source_seq: Option<SyncOrder>,
}

/// A row to write.
#[derive(Clone, Copy, Debug)]
pub struct InsertedRow<'p> {
    /// The index in the page's upserts of the operation it holds.
    pub upsert: usize,
    /// That operation.
    pub operation: &'p Operation,
    /// Its order, which need not be the operation's own.
    pub sync_order: Option<SyncOrder>,
    /// Its seq.
    pub seq: Seq,
    /// The operation's digest.
    pub digest: Digest,
}

/// A tombstone to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTombstone {
    /// Its seq.
    pub seq: Seq,
    /// The id that is gone.
    pub id: OpId,
    /// The row's time, or what the delete says where there was no row.
    pub ts: Option<Ts>,
    /// The row's object, or the delete's where there was no row.
    pub object: Option<Object>,
    /// Why.
    pub reason: TombstoneReason,
    /// The highest source seq of the deletes that met it.
    pub source_seq: Option<SyncOrder>,
}

/// The tables of one space in one transaction. What a method writes, later look-ups find.
///
/// Where the space does not exist, look-ups find nothing and the first write creates it.
pub trait Tables {
    /// What the tables find a row by when they write to it: a row number, or nothing.
    type Handle;

    /// Begins a new incarnation: rows, tombstones and state from before are gone.
    fn reset(&mut self) -> Result<()>;

    /// The row of `id`. Its ts and object may be left out where `whole` is false.
    fn row(&mut self, id: &OpId, whole: bool) -> Result<Option<LiveRow<Self::Handle>>>;

    /// The newest tombstone of `id`, unless it was lifted. Only asked for ids without a row, and
    /// only in a space that has tombstones.
    fn tombstone(&mut self, id: &OpId) -> Result<Option<StoredTombstone>>;

    /// Inserts a row, whose id has none.
    fn insert(&mut self, row: &InsertedRow<'_>) -> Result<()>;

    /// Inserts a row unless its id has one, without looking first, and answers whether it did.
    /// `None`, and nothing written, where the tables cannot; then the id is looked up.
    fn insert_if_new(&mut self, row: &InsertedRow<'_>) -> Result<Option<bool>> {
        let _ = row;
        Ok(None)
    }

    /// Removes a row.
    fn remove(&mut self, id: &OpId, row: &LiveRow<Self::Handle>) -> Result<()>;

    /// Gives a row an order.
    fn set_order(
        &mut self,
        id: &OpId,
        row: &LiveRow<Self::Handle>,
        sync_order: SyncOrder,
    ) -> Result<()>;

    /// Gives the row of `id` an order if there is a row without one, without looking first, and
    /// answers whether it did. `None`, and nothing written, where the tables cannot.
    fn set_order_if_absent(&mut self, id: &OpId, sync_order: SyncOrder) -> Result<Option<bool>> {
        let _ = (id, sync_order);
        Ok(None)
    }

    /// Adds a tombstone.
    fn add_tombstone(&mut self, tombstone: NewTombstone) -> Result<()>;

    /// Raises the source seq of a tombstone that was [looked up](Self::tombstone).
    fn raise_tombstone(
        &mut self,
        id: &OpId,
        tombstone: &StoredTombstone,
        source_seq: SyncOrder,
    ) -> Result<()>;

    /// Marks a tombstone that was [looked up](Self::tombstone) as lifted.
    fn lift_tombstone(&mut self, id: &OpId, tombstone: &StoredTombstone) -> Result<()>;

    /// The value of a state key.
    fn state(&mut self, key: &StateKey) -> Result<Option<Bytes>>;

    /// Sets a state key, or removes it.
    fn set_state(&mut self, key: &StateKey, value: Option<&Bytes>) -> Result<()>;
}

/// What a page did to the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Played {
    /// What the page answers.
    pub applied: Applied,
    /// Whether anything is to be committed. A page that sets a key and removes it again has
    /// changed something too.
    pub changed: bool,
}

/// Applies `page` to `tables`, and counts in `space`. `digests` are those of its upserts, in order;
/// each is asked for when its operation is.
///
/// - [`Conflict`](ErrorKind::Conflict) where the state is not what the preconditions expect;
///   nothing was written.
/// - [`Exhausted`](ErrorKind::Exhausted) where the page needs a seq past the last one.
/// - [`Corrupt`](ErrorKind::Corrupt) where a counter is lower than what it counts.
/// - Any error of the tables. After an error the transaction must be rolled back.
pub fn play<T: Tables>(
    page: &Page,
    digests: impl IntoIterator<Item = Digest>,
    space: &mut SpaceRow,
    tables: &mut T,
) -> Result<Played> {
    check_preconditions(&page.preconditions, |key| tables.state(key))?;
    let mut walk = Walk {
        before: space.head,
        space,
        tables,
        policy: Policy::from(page),
        changed: page.reset,
        expect_present: false,
        expect_unordered: true,
    };
    if page.reset {
        walk.tables.reset()?;
        walk.space.counters = Counters::default();
    }
    let lifts = outcomes(&page.lifts, |id| walk.lift(id))?;
    let deletes = outcomes(&page.deletes, |delete| walk.delete(delete))?;
    let mut digests = digests.into_iter();
    let mut index = 0..page.upserts.len();
    let upserts = outcomes(&page.upserts, |operation| {
        let (Some(upsert), Some(digest)) = (index.next(), digests.next()) else {
            return Err(Error::new(ErrorKind::Failed)
                .with_message("a page was applied with fewer digests than upserts"));
        };
        walk.upsert(upsert, operation, digest)
    })?;
    let backfills = outcomes(&page.backfills, |backfill| walk.backfill(*backfill))?;
    for change in &page.state {
        walk.change_state(&change.key, change.value.as_ref())?;
    }
    let (changed, last) = (walk.changed, walk.space.head);
    let seqs = walk.before.next().filter(|first| *first <= last);
    let applied = Applied {
        lifts,
        deletes,
        upserts,
        backfills,
        seqs: seqs.map(|first| SeqRange { first, last }),
    };
    Ok(Played { applied, changed })
}

/// Checks preconditions against the state as it is before the page. Every precondition is checked;
/// a key that mismatches is named once, with the value found.
pub fn check_preconditions(
    preconditions: &[Precondition],
    mut find: impl FnMut(&StateKey) -> Result<Option<Bytes>>,
) -> Result<()> {
    let mut mismatches: Vec<Mismatch> = Vec::new();
    for Precondition { key, expected } in preconditions {
        let found = find(key)?;
        let named = |mismatch: &Mismatch| mismatch.key == *key;
        if found != *expected && !mismatches.iter().any(named) {
            let key = key.clone();
            mismatches.push(Mismatch { key, found });
        }
    }
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(Error::conflict(mismatches))
    }
}

impl Counters {
    /// A counter after `gone` of what it counts went. [`Corrupt`](ErrorKind::Corrupt) where it is
    /// too low for that, instead of a number that cannot be stored.
    pub fn less(counter: u64, gone: u64) -> Result<u64> {
        counter.checked_sub(gone).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt).with_message("a counter is lower than what it counts")
        })
    }
}

/// The outcome of each input, up to the first error. Collecting results would not know how many
/// there are to be.
fn outcomes<'i, Input, Outcome>(
    inputs: &'i [Input],
    mut act: impl FnMut(&'i Input) -> Result<Outcome>,
) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(inputs.len());
    for input in inputs {
        outcomes.push(act(input)?);
    }
    Ok(outcomes)
}

/// A page on its way through the tables.
struct Walk<'a, T> {
    tables: &'a mut T,
    space: &'a mut SpaceRow,
    /// The head before the page: tombstones above it are the page's own.
    before: Seq,
    policy: Policy,
    changed: bool,
    /// The last id was present: look first next time, instead of trying to insert.
    expect_present: bool,
    /// The last row had no order: try to set one next time, instead of looking first.
    expect_unordered: bool,
}

impl<T: Tables> Walk<'_, T> {
    fn lift(&mut self, id: &OpId) -> Result<LiftOutcome> {
        let tombstone = match self.tables.row(id, false)? {
            Some(_) => None,
            None => self.tombstone(id)?,
        };
        let Some(tombstone) = tombstone else {
            return Ok(LiftOutcome::NotTombstoned);
        };
        self.tables.lift_tombstone(id, &tombstone)?;
        self.changed = true;
        Ok(LiftOutcome::Lifted)
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteOutcome> {
        let row = self.tables.row(&delete.id, true)?;
        let tombstone = match &row {
            Some(_) => None,
            None => self.tombstone(&delete.id)?,
        };
        let state = match &row {
            Some(row) => IdState::Live(Deletable {
                object: row.object.as_ref().map(Object::as_bytes),
                sync_order: row.sync_order,
            }),
            None => self.without_row(tombstone),
        };
        let outcome = rules::delete(&state, delete);
        match (outcome, row, tombstone) {
            (DeleteOutcome::Deleted, Some(row), _) => {
                self.remove(delete.id, row, delete.reason, delete.source_seq)?;
            }
            (DeleteOutcome::Rejected, ..) => self.add_tombstone(NewTombstone {
                seq: Seq::ZERO,
                id: delete.id,
                ts: delete.ts,
                object: delete.object.clone(),
                reason: delete.reason,
                source_seq: delete.source_seq,
            })?,
            (DeleteOutcome::AlreadyDeleted, _, Some(tombstone)) => {
                let merged = rules::merged_source_seq(tombstone.source_seq, delete.source_seq);
                if let Some(merged) = merged.filter(|_| merged != tombstone.source_seq) {
                    self.tables
                        .raise_tombstone(&delete.id, &tombstone, merged)?;
                    self.changed = true;
                }
            }
            _ => {}
        }
        Ok(outcome)
    }

    fn upsert(
        &mut self,
        upsert: usize,
        operation: &Operation,
        digest: Digest,
    ) -> Result<UpsertOutcome> {
        let id = &operation.id;
        // Without tombstones the insert itself tells whether the id is present, which saves the
        // look-up while new operations come, and costs it once when they stop being new.
        // After the last seq only the look-up can tell what needs none.
        let tombstones = self.space.counters.tombstones > 0;
        if !tombstones
            && !self.expect_present
            && let Some(seq) = self.space.head.next()
        {
            let row = InsertedRow {
                upsert,
                operation,
                sync_order: operation.sync_order,
                seq,
                digest,
            };
            if self.tables.insert_if_new(&row)? == Some(true) {
                self.count_insert(&row);
                return Ok(UpsertOutcome::Inserted);
            }
        }
        let row = self.tables.row(id, false)?;
        self.expect_present = row.is_some();
        let input = Record {
            digest,
            sync_order: operation.sync_order,
        };
        let stored = row.as_ref().map(|row| Record {
            digest: row.digest,
            sync_order: row.sync_order,
        });
        let state = self.state_of(id, stored)?;
        let outcome = rules::upsert(&state, input, self.policy);
        match (outcome, row, operation.sync_order) {
            (UpsertOutcome::Inserted, _, sync_order) => {
                self.insert(upsert, operation, digest, sync_order)?;
            }
            (UpsertOutcome::Ordered, Some(row), Some(order)) => self.set_order(id, &row, order)?,
            (UpsertOutcome::Replaced, Some(row), order) => {
                let order = rules::replaced_order(row.sync_order, order);
                let row = self.tables.row(id, true)?;
                let row = row.ok_or_else(|| Error::new(ErrorKind::Corrupt))?;
                self.remove(*id, row, TombstoneReason::Removed, None)?;
                self.insert(upsert, operation, digest, order)?;
            }
            _ => {}
        }
        Ok(outcome)
    }

    fn backfill(&mut self, Backfill { id, sync_order }: Backfill) -> Result<BackfillOutcome> {
        // The update itself finds the row and its absent order, which saves the look-up while
        // every row is one that waits for its order.
        if self.expect_unordered && self.tables.set_order_if_absent(&id, sync_order)? == Some(true)
        {
            self.count_order();
            return Ok(BackfillOutcome::Ordered);
        }
        let row = self.tables.row(&id, false)?;
        let state = self.state_of(&id, row.as_ref().map(|row| row.sync_order))?;
        let outcome = rules::backfill(&state, sync_order);
        self.expect_unordered = outcome == BackfillOutcome::Ordered;
        if let (BackfillOutcome::Ordered, Some(row)) = (outcome, row) {
            self.set_order(&id, &row, sync_order)?;
        }
        Ok(outcome)
    }

    fn change_state(&mut self, key: &StateKey, value: Option<&Bytes>) -> Result<()> {
        if self.tables.state(key)?.as_ref() == value {
            return Ok(());
        }
        self.changed = true;
        self.tables.set_state(key, value)
    }

    fn tombstone(&mut self, id: &OpId) -> Result<Option<StoredTombstone>> {
        if self.space.counters.tombstones == 0 {
            return Ok(None);
        }
        self.tables.tombstone(id)
    }

    /// The state of an id with this row, or without one.
    fn state_of<Row>(&mut self, id: &OpId, row: Option<Row>) -> Result<IdState<Row>> {
        if let Some(row) = row {
            return Ok(IdState::Live(row));
        }
        let tombstone = self.tombstone(id)?;
        Ok(self.without_row(tombstone))
    }

    /// The state of an id without a row.
    fn without_row<Row>(&self, tombstone: Option<StoredTombstone>) -> IdState<Row> {
        match tombstone {
            Some(tombstone) => IdState::Tombstoned(rules::Tombstone {
                reason: tombstone.reason,
                source_seq: tombstone.source_seq,
                by_this_page: tombstone.seq > self.before,
            }),
            None => IdState::Unknown,
        }
    }

    fn insert(
        &mut self,
        upsert: usize,
        operation: &Operation,
        digest: Digest,
        sync_order: Option<SyncOrder>,
    ) -> Result<()> {
        let row = InsertedRow {
            upsert,
            operation,
            sync_order,
            seq: self.next_seq()?,
            digest,
        };
        self.tables.insert(&row)?;
        self.count_insert(&row);
        Ok(())
    }

    fn count_insert(&mut self, row: &InsertedRow<'_>) {
        self.space.head = row.seq;
        self.space.counters.total += 1;
        self.space.counters.ordered += u64::from(row.sync_order.is_some());
        self.changed = true;
    }

    /// Removes a row and leaves its tombstone.
    fn remove(
        &mut self,
        id: OpId,
        row: LiveRow<T::Handle>,
        reason: TombstoneReason,
        source_seq: Option<SyncOrder>,
    ) -> Result<()> {
        self.tables.remove(&id, &row)?;
        let counters = &mut self.space.counters;
        counters.total = Counters::less(counters.total, 1)?;
        counters.ordered = Counters::less(counters.ordered, u64::from(row.sync_order.is_some()))?;
        self.add_tombstone(NewTombstone {
            seq: Seq::ZERO,
            id,
            ts: Some(row.ts),
            object: row.object,
            reason,
            source_seq,
        })
    }

    /// Adds `tombstone` under the next seq.
    fn add_tombstone(&mut self, tombstone: NewTombstone) -> Result<()> {
        let seq = self.next_seq()?;
        self.tables
            .add_tombstone(NewTombstone { seq, ..tombstone })?;
        self.space.head = seq;
        self.space.counters.tombstones += 1;
        self.changed = true;
        Ok(())
    }

    fn set_order(
        &mut self,
        id: &OpId,
        row: &LiveRow<T::Handle>,
        sync_order: SyncOrder,
    ) -> Result<()> {
        self.tables.set_order(id, row, sync_order)?;
        self.count_order();
        Ok(())
    }

    fn count_order(&mut self) {
        self.space.counters.ordered += 1;
        self.changed = true;
    }

    fn next_seq(&self) -> Result<Seq> {
        let next = self.space.head.next();
        next.ok_or_else(|| Error::new(ErrorKind::Exhausted))
    }
}
