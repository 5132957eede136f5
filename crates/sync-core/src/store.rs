use bytes::Bytes;

use crate::{
    Applied, Batch, Epoch, FeedCursor, FeedPage, GetPart, Known, Limit, Object, OpId, OrderKey,
    Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry, StateKey, Stats, TimeKey,
    TimeRange,
};

/// The small named values of a space: cursors, checkpoints, leases.
///
/// They change only inside a [page](SyncStore::apply), together with the rows they speak of.
pub trait SyncState: Send + Sync {
    /// The value of `key`.
    ///
    /// - `None` where the key is absent; an empty value is `Some` of nothing.
    /// - Reads what the last answered page left, of any handle of any process.
    fn load(&self, key: &StateKey) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// The values of `keys`, in request order, from one snapshot.
    ///
    /// - Absent keys are `None`, repeated keys are repeated, no keys ask nothing.
    fn load_many(
        &self,
        keys: &[StateKey],
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send;

    /// The keys that begin with `prefix`, with their values, by the keys' bytes.
    ///
    /// - The prefix is literal: `%`, `_`, `*` and `[` mean themselves. The empty one fits all.
    /// - `after` is exclusive.
    /// - Values count towards the byte budget.
    fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> impl Future<Output = Result<Batch<StateEntry, StateKey>>> + Send;
}

/// One space of one backend: an ordered store of operations.
///
/// The behaviours listed under each method are what `sync-conformance` checks. Every method reads
/// what every page answered before it left, whichever handle or process applied that page.
pub trait SyncStore: SyncState {
    /// The space's name.
    fn space(&self) -> &SpaceName;

    /// Applies a page: all of it or nothing. The only write of rows, tombstones and state.
    ///
    /// - Preconditions compare state with expected values as they were before the page. Two of one
    ///   key are both checked. On any mismatch nothing is written and
    ///   [`Conflict`](crate::ErrorKind::Conflict) names every mismatching key once, with the value
    ///   found.
    /// - A reset begins a new epoch: rows, tombstones and state from before are gone at once, in
    ///   O(1), and swept in bounded pieces later. Seqs go on, and the floor stays.
    /// - Lifts, deletes, upserts and backfills follow [`rules`](crate::rules), list after list,
    ///   each entry on what the ones before it left. Seqs are minted in that order.
    /// - State changes come last; of two changes of one key the later holds.
    /// - A page that changes nothing mints nothing and creates nothing.
    /// - The first page that writes creates the space, epoch included.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge) and [`Exhausted`](crate::ErrorKind::Exhausted)
    ///   write nothing.
    /// - [`UnknownOutcome`](crate::ErrorKind::UnknownOutcome) where it cannot be known whether the
    ///   page was applied.
    /// - A dropped future leaves all or nothing; the page may still be applied.
    fn apply(&self, page: Page) -> impl Future<Output = Result<Applied>> + Send;

    /// The rows of `ids`, in request order.
    ///
    /// - An id that is not live is `None`; repeated ids are repeated; `[]` asks nothing.
    /// - Answers as many of the first ids as the limit allows, of ids and of bytes of payloads and
    ///   objects, at least
    ///   one, from one snapshot, and how many it answered where some are left.
    fn get(&self, ids: &[OpId], limit: Limit) -> impl Future<Output = Result<GetPart>> + Send;

    /// What the store knows of `ids`, in request order, without payloads, from one snapshot.
    fn known(&self, ids: &[OpId]) -> impl Future<Output = Result<Vec<Known>>> + Send;

    /// Rows by (ts, id).
    ///
    /// - Range bounds are inclusive, `after` is exclusive.
    /// - A row that stands throughout the walk is seen exactly once, whatever is written meanwhile.
    fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Future<Output = Result<Batch<Row, TimeKey>>> + Send;

    /// The keys that [`scan_time`](Self::scan_time) would walk, from an index alone.
    ///
    /// - The byte budget does not apply: a key is 40 bytes.
    fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Future<Output = Result<Batch<TimeKey, TimeKey>>> + Send;

    /// Rows that have a sync order, by (sync order, id). `after` is exclusive.
    fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> impl Future<Output = Result<Batch<Row, OrderKey>>> + Send;

    /// The rows of one object, by seq. `after` is exclusive.
    fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> impl Future<Output = Result<Batch<Row, Seq>>> + Send;

    /// Live rows and all tombstones by seq.
    ///
    /// - An insert's entry goes when its row goes; a delete's stays until it is pruned, also after
    ///   a revive. The tombstones that a [prune](Self::prune) spares are shown below the floor too. Applying the entries in order to a set of (ts, id), from any cursor, gives the
    ///   rows.
    /// - A reader that has seen seq n never later finds an entry with a smaller one.
    /// - [`FeedCursor::Beginning`] is always accepted. Any other cursor is refused with
    ///   [`WrongEpoch`](crate::ErrorKind::WrongEpoch),
    ///   [`AheadOfLog`](crate::ErrorKind::AheadOfLog) where its seq is above the head, or
    ///   [`Pruned`](crate::ErrorKind::Pruned) exactly when its seq is below the floor and the
    ///   floor has risen since it began.
    /// - A page that leaves nothing ends at the head; an empty page's cursor is stable.
    fn feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> impl Future<Output = Result<FeedPage>> + Send;

    /// Resolves when [`feed`](Self::feed) from `after` would answer anything but an empty page,
    /// and never before that is readable.
    ///
    /// - A new epoch resolves it, and so does every other refusal of the cursor.
    /// - On one handle at commit, without a timer; across handles and processes within
    ///   [`Capabilities::notify_delay`](crate::Capabilities::notify_delay).
    /// - Any number of calls may wait; dropping one affects no other.
    fn changed(&self, after: FeedCursor) -> impl Future<Output = Result<()>> + Send;

    /// The space's counters, in O(1).
    ///
    /// - A space that does not exist has no epoch and zeroes.
    fn stats(&self) -> impl Future<Output = Result<Stats>> + Send;

    /// Raises the floor to `up_to`, or to the head where that is lower, then drops the tombstones
    /// at or below it in bounded pieces, except those of an operator.
    ///
    /// - The floor is raised first, in a transaction of its own, and never lowered.
    /// - A tombstone with the reason [`Operator`](crate::TombstoneReason::Operator) that was not
    ///   lifted is spared: its id stays refused, and the feed goes on showing it. Once it is
    ///   lifted, the next prune drops it.
    /// - [`Pruned::dropped`] counts what was dropped, not what was spared.
    /// - A prune reads each tombstone at or below the floor once, spared or not.
    /// - A prune that was interrupted is finished by the next one.
    fn prune(&self, up_to: Seq) -> impl Future<Output = Result<Pruned>> + Send;

    /// Begins a new epoch over the same rows, tombstones and state: after a restored backup, so
    /// that no reader trusts a cursor of the lost history. `None` where the space does not exist.
    fn new_epoch(&self) -> impl Future<Output = Result<Option<Epoch>>> + Send;

    /// Looks for damage that only the backend can see, such as a row whose digest does not fit
    /// its payload, and describes what it found. Empty where all is well. Reads everything.
    fn check(&self) -> impl Future<Output = Result<Vec<String>>> + Send;
}
