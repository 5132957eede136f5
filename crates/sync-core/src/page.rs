use bytes::Bytes;

use crate::error::{List, TooLarge};
use crate::{Error, Object, OpId, Operation, Result, StateKey, SyncOrder, Ts, limits};

/// The one unit of writing: applied all or nothing by [`SyncStore::apply`](crate::SyncStore::apply).
///
/// The lists act in the order of the fields, each in its own order, each entry on what the ones
/// before it left.
///
/// ```
/// use sync_core::{Operation, OpId, Page, StateKey, Ts};
///
/// let cursor = StateKey::new("upstream.cursor")?;
/// let operation = Operation::new(OpId::new([7; 32]), Ts::try_from(1_700_000_000_u64)?, "…");
/// let page = Page::new()
///     .expect(cursor.clone(), Some("41"))
///     .upsert(operation)
///     .set(cursor, "42");
/// assert!(page.is_retry_safe());
/// # Ok::<(), sync_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Page {
    /// What the state must be before the page; otherwise nothing is written.
    pub preconditions: Vec<Precondition>,
    /// Begin a new epoch and incarnation: rows, tombstones and state from before are gone at once.
    pub reset: bool,
    /// Tombstones whose veto an operator takes back; see [`Page::lift`].
    pub lifts: Vec<OpId>,
    /// Deletes.
    pub deletes: Vec<Delete>,
    /// Operations to insert, or to give a sync order.
    pub upserts: Vec<Operation>,
    /// Sync orders for rows that came without one.
    pub backfills: Vec<Backfill>,
    /// State changes.
    pub state: Vec<StateChange>,
    /// A different record under a known id replaces the stored one. For a source; a peer's page
    /// never says so.
    pub replace: bool,
    /// A tombstoned id may come back, above the tombstone's source seq. For a source; a peer's
    /// page never says so.
    pub revive: bool,
}

/// What a state key must hold before a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: StateKey,
    /// The value it must hold, or `None` where it must be absent. An empty value is not absence.
    pub expected: Option<Bytes>,
}

/// A delete of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The id.
    pub id: OpId,
    /// Why.
    pub reason: TombstoneReason,
    /// The source's position of the removal. A row at or above it stays.
    pub source_seq: Option<SyncOrder>,
    /// Where given, only a row of this object is deleted.
    pub object: Option<Object>,
    /// Leave a tombstone although the id is unknown, so that nobody brings it.
    pub reject: bool,
    /// The claimed time a tombstone of an unknown id is recorded with. A row's own time wins.
    pub ts: Option<Ts>,
}

impl Delete {
    /// A delete without source seq and object, which leaves unknown ids alone.
    pub fn new(id: OpId, reason: TombstoneReason) -> Self {
        Self {
            id,
            reason,
            source_seq: None,
            object: None,
            reject: false,
            ts: None,
        }
    }

    /// The same delete, made by the source at `source_seq`.
    #[must_use]
    pub fn at(mut self, source_seq: SyncOrder) -> Self {
        self.source_seq = Some(source_seq);
        self
    }

    /// The same delete, of a row of `object` only.
    #[must_use]
    pub fn of(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// The same delete, which also leaves a tombstone for an unknown id.
    #[must_use]
    pub fn reject(mut self) -> Self {
        self.reject = true;
        self
    }
}

/// Why an operation is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TombstoneReason {
    /// Its source removed it.
    Removed,
    /// Its source refused it.
    Rejected,
    /// An operator decided so. No page brings it back until a page [lifts](Page::lift) it or resets
    /// the space: a [prune](crate::SyncStore::prune) spares it.
    Operator,
}

impl TombstoneReason {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Removed, Self::Rejected, Self::Operator];

    /// The reason's name in dumps and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Rejected => "rejected",
            Self::Operator => "operator",
        }
    }

    /// The number databases store for it. Part of every schema; never renumbered.
    pub const fn code(self) -> u8 {
        match self {
            Self::Removed => 1,
            Self::Rejected => 2,
            Self::Operator => 3,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: i64) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| i64::from(reason.code()) == code)
            .ok_or_else(|| {
                Error::invalid("tombstone reason", format!("{code} is not one of 1, 2, 3"))
            })
    }
}

impl std::fmt::Display for TombstoneReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for TombstoneReason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.name() == text)
            .ok_or_else(|| {
                Error::invalid(
                    "tombstone reason",
                    "allowed are removed, rejected, operator".to_owned(),
                )
            })
    }
}

/// The sync order of a row that came without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The row's id.
    pub id: OpId,
    /// Its position at the source.
    pub sync_order: SyncOrder,
}

/// A state key and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The key.
    pub key: StateKey,
    /// The new value, or `None` to remove the key.
    pub value: Option<Bytes>,
}

impl Page {
    /// A page that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that `key` holds `expected`, or nothing.
    pub fn expect(mut self, key: StateKey, expected: Option<impl Into<Bytes>>) -> Self {
        self.preconditions.push(Precondition {
            key,
            expected: expected.map(Into::into),
        });
        self
    }

    /// Begins a new epoch, with nothing in it, before anything else of the page.
    ///
    /// Seqs go on, so that no seq is ever used twice, and the floor stays where it is.
    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Takes back the veto of the tombstone of `id`: the id reads as unknown again, and any page
    /// may bring it. The tombstone's feed entry stays until it is pruned.
    pub fn lift(mut self, id: OpId) -> Self {
        self.lifts.push(id);
        self
    }

    /// Adds a delete.
    pub fn delete(mut self, delete: Delete) -> Self {
        self.deletes.push(delete);
        self
    }

    /// Adds an operation.
    pub fn upsert(mut self, operation: Operation) -> Self {
        self.upserts.push(operation);
        self
    }

    /// Adds operations.
    pub fn upserts(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.upserts.extend(operations);
        self
    }

    /// Adds a sync order for a row that came without one.
    pub fn backfill(mut self, id: OpId, sync_order: SyncOrder) -> Self {
        self.backfills.push(Backfill { id, sync_order });
        self
    }

    /// Sets `key` to `value`.
    pub fn set(mut self, key: StateKey, value: impl Into<Bytes>) -> Self {
        self.state.push(StateChange {
            key,
            value: Some(value.into()),
        });
        self
    }

    /// Removes `key`.
    pub fn unset(mut self, key: StateKey) -> Self {
        self.state.push(StateChange { key, value: None });
        self
    }

    /// Lets a different record under a known id replace the stored one.
    pub fn replacing(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Lets a tombstoned id come back above the tombstone's source seq.
    pub fn reviving(mut self) -> Self {
        self.revive = true;
        self
    }

    /// Whether the page may be sent again after [`UnknownOutcome`](crate::ErrorKind::UnknownOutcome):
    /// it has a precondition on a key that it changes, or consists of plain upserts and backfills.
    ///
    /// The retry of a page that had been committed then ends in `Conflict`, or in `Unchanged`.
    pub fn is_retry_safe(&self) -> bool {
        let guarded = self.preconditions.iter().any(|precondition| {
            // The last change of a key is what it holds afterwards.
            let after = self
                .state
                .iter()
                .rev()
                .find(|change| change.key == precondition.key);
            after.is_some_and(|change| change.value != precondition.expected)
        });
        let plain = !self.reset
            && !self.replace
            && !self.revive
            && self.lifts.is_empty()
            && self.deletes.is_empty()
            && self.state.is_empty();
        guarded || plain
    }

    /// The ids the page names, lists in the order in which they act. An id may come more than once.
    pub fn ids(&self) -> impl Iterator<Item = &OpId> {
        let lifts = self.lifts.iter();
        let deletes = self.deletes.iter().map(|delete| &delete.id);
        let upserts = self.upserts.iter().map(|operation| &operation.id);
        let backfills = self.backfills.iter().map(|backfill| &backfill.id);
        lifts.chain(deletes).chain(upserts).chain(backfills)
    }

    /// The state keys the page names, in preconditions and in changes. A key may come more than
    /// once.
    pub fn state_keys(&self) -> impl Iterator<Item = &StateKey> {
        let expected = self.preconditions.iter().map(|expected| &expected.key);
        expected.chain(self.state.iter().map(|change| &change.key))
    }

    /// Whether the page has upserts, and neither a reset nor another list of operations.
    pub fn only_upserts(&self) -> bool {
        let others = self.lifts.len() + self.deletes.len() + self.backfills.len();
        !self.reset && others == 0 && !self.upserts.is_empty()
    }

    /// The operations that count towards the page's limit.
    pub fn operations(&self) -> usize {
        self.lifts.len() + self.deletes.len() + self.upserts.len() + self.backfills.len()
    }

    /// Checks every limit of [`limits`]. Every backend calls it before it writes anything.
    ///
    /// The error is [`TooLarge`](crate::ErrorKind::TooLarge) and names the list, the first index
    /// past the limit, and the limit.
    pub fn validate(&self) -> Result<()> {
        self.validate_sizes()?;
        self.validate_counts()?;
        self.validate_bytes()
    }

    fn validate_sizes(&self) -> Result<()> {
        let payloads = self.upserts.iter().map(|operation| operation.payload.len());
        first_above(List::Upserts, payloads, limits::PAYLOAD_BYTES)?;
        let values = self
            .state
            .iter()
            .map(|change| change.value.as_ref().map_or(0, Bytes::len));
        first_above(List::State, values, limits::STATE_VALUE_BYTES)?;
        let expected = self
            .preconditions
            .iter()
            .map(|p| p.expected.as_ref().map_or(0, Bytes::len));
        first_above(List::Preconditions, expected, limits::STATE_VALUE_BYTES)
    }

    fn validate_counts(&self) -> Result<()> {
        let mut left = limits::PAGE_OPERATIONS;
        for (list, len) in [
            (List::Lifts, self.lifts.len()),
            (List::Deletes, self.deletes.len()),
            (List::Upserts, self.upserts.len()),
            (List::Backfills, self.backfills.len()),
        ] {
            if len > left {
                return Err(Error::too_large(TooLarge {
                    list,
                    index: left,
                    limit: limits::PAGE_OPERATIONS,
                }));
            }
            left -= len;
        }
        for (list, len) in [
            (List::Preconditions, self.preconditions.len()),
            (List::State, self.state.len()),
        ] {
            let limit = limits::PAGE_STATE_CHANGES;
            if len > limit {
                return Err(Error::too_large(TooLarge {
                    list,
                    index: limit,
                    limit,
                }));
            }
        }
        Ok(())
    }

    fn validate_bytes(&self) -> Result<()> {
        let object = |object: &Option<Object>| object.as_ref().map_or(0, |o| o.as_bytes().len());
        let mut total = 0;
        let deletes = self.deletes.iter().map(|delete| object(&delete.object));
        running_sum(List::Deletes, deletes, &mut total)?;
        let upserts = self
            .upserts
            .iter()
            .map(|op| op.payload.len() + object(&op.object));
        running_sum(List::Upserts, upserts, &mut total)?;
        let values = self
            .state
            .iter()
            .map(|change| change.value.as_ref().map_or(0, Bytes::len));
        running_sum(List::State, values, &mut total)
    }
}

fn first_above(list: List, mut sizes: impl Iterator<Item = usize>, limit: usize) -> Result<()> {
    match sizes.position(|size| size > limit) {
        Some(index) => Err(Error::too_large(TooLarge { list, index, limit })),
        None => Ok(()),
    }
}

fn running_sum(list: List, sizes: impl Iterator<Item = usize>, total: &mut usize) -> Result<()> {
    for (index, size) in sizes.enumerate() {
        *total += size;
        if *total > limits::PAGE_BYTES {
            return Err(Error::too_large(TooLarge {
                list,
                index,
                limit: limits::PAGE_BYTES,
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
