use bytes::Bytes;
use futures_core::stream::Stream;
use futures_util::stream::{self, TryStreamExt as _};

use crate::verify::{self, VerifyReport};
use crate::{
    Applied, FeedCursor, FeedEntry, FeedPage, Limit, Object, OpId, Operation, OrderKey, Page,
    Payloads, Result, Row, Seq, StateEntry, StateKey, SyncStore, TimeKey, TimeRange,
};

/// Conveniences on every [`SyncStore`]: single items and streams, all made of its own methods.
///
/// The streams of rows, keys and state have no epoch in their cursor. After a reset they go on with
/// what the space holds then; a reader that must not mix the two compares the epoch in
/// [`stats`](SyncStore::stats) from before and after the stream.
pub trait SyncStoreExt: SyncStore {
    /// The row of one id.
    fn get_one(&self, id: OpId) -> impl Future<Output = Result<Option<Row>>> + Send {
        async move {
            let part = self.get(&[id], Limit::rows(1)).await?;
            Ok(part.rows.into_iter().next().flatten())
        }
    }

    /// The rows of `ids`, in request order, part after part: as many calls of
    /// [`get`](SyncStore::get) as the limit asks for.
    fn get_stream<'a>(
        &'a self,
        ids: &'a [OpId],
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<Option<Row>>>> + Send + 'a {
        stream::try_unfold(Some(ids), move |rest| async move {
            let Some(ids) = rest else { return Ok(None) };
            let part = self.get(ids, limit).await?;
            let rest = part.next.and_then(|answered| ids.get(answered..));
            Ok(Some((part.rows, rest)))
        })
    }

    /// Applies a page with one operation.
    fn put(&self, operation: Operation) -> impl Future<Output = Result<Applied>> + Send {
        self.apply(Page::new().upsert(operation))
    }

    /// Moves one state value from `expected` to `value`, or fails with
    /// [`Conflict`](crate::ErrorKind::Conflict) and changes nothing.
    fn compare_and_set(
        &self,
        key: StateKey,
        expected: Option<Bytes>,
        value: Bytes,
    ) -> impl Future<Output = Result<Applied>> + Send {
        self.apply(Page::new().expect(key.clone(), expected).set(key, value))
    }

    /// Pages of [`scan_time`](SyncStore::scan_time) to the end.
    fn stream_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<Row>>> + Send {
        stream::try_unfold(Next::From(after), move |at| async move {
            let Next::From(after) = at else {
                return Ok(None);
            };
            let batch = self.scan_time(range, after, limit).await?;
            Ok(Some((batch.items, batch.next.into())))
        })
    }

    /// Pages of [`scan_keys`](SyncStore::scan_keys) to the end.
    fn stream_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<TimeKey>>> + Send {
        stream::try_unfold(Next::From(after), move |at| async move {
            let Next::From(after) = at else {
                return Ok(None);
            };
            let batch = self.scan_keys(range, after, limit).await?;
            Ok(Some((batch.items, batch.next.into())))
        })
    }

    /// Pages of [`scan_order`](SyncStore::scan_order) to the end.
    fn stream_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<Row>>> + Send {
        stream::try_unfold(Next::From(after), move |at| async move {
            let Next::From(after) = at else {
                return Ok(None);
            };
            let batch = self.scan_order(after, limit).await?;
            Ok(Some((batch.items, batch.next.into())))
        })
    }

    /// Pages of [`scan_object`](SyncStore::scan_object) to the end.
    fn stream_object<'a>(
        &'a self,
        object: &'a Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<Row>>> + Send + 'a {
        stream::try_unfold(Next::From(after), move |at| async move {
            let Next::From(after) = at else {
                return Ok(None);
            };
            let batch = self.scan_object(object, after, limit).await?;
            Ok(Some((batch.items, batch.next.into())))
        })
    }

    /// Pages of [`list`](crate::SyncState::list) to the end.
    fn stream_state<'a>(
        &'a self,
        prefix: &'a str,
        limit: Limit,
    ) -> impl Stream<Item = Result<Vec<StateEntry>>> + Send + 'a {
        stream::try_unfold(Next::From(None), move |at| async move {
            let Next::From(after) = at else {
                return Ok(None);
            };
            let batch = self.list(prefix, after.as_ref(), limit).await?;
            Ok(Some((batch.items, batch.next.into())))
        })
    }

    /// Pages of [`feed`](SyncStore::feed) to the head; each page carries the cursor to keep.
    ///
    /// - The first error ends the stream. It does not begin again by itself where a prune or a reset
    ///   overtook it ([`Pruned`](crate::ErrorKind::Pruned),
    ///   [`WrongEpoch`](crate::ErrorKind::WrongEpoch)): the reader discards what it made of the
    ///   pages, because it missed tombstones, and reads from [`FeedCursor::Beginning`].
    fn stream_feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> impl Stream<Item = Result<FeedPage>> + Send {
        stream::try_unfold(Some(after), move |at| async move {
            let Some(after) = at else { return Ok(None) };
            let page = self.feed(after, limit, payloads).await?;
            let next = page.more.then_some(page.next);
            Ok(Some((page, next)))
        })
    }

    /// The rows of [`scan_time`](SyncStore::scan_time), one by one.
    fn rows(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Stream<Item = Result<Row>> + Send {
        items(self.stream_time(range, after, limit))
    }

    /// The keys of [`scan_keys`](SyncStore::scan_keys), one by one.
    fn keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> impl Stream<Item = Result<TimeKey>> + Send {
        items(self.stream_keys(range, after, limit))
    }

    /// The entries of [`feed`](SyncStore::feed) up to the head, one by one. The cursor after an
    /// entry is that of its page with the entry's seq; [`stream_feed`](Self::stream_feed) has it
    /// ready.
    fn entries(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> impl Stream<Item = Result<FeedEntry>> + Send {
        items(
            self.stream_feed(after, limit, payloads)
                .map_ok(|page| page.entries),
        )
    }

    /// Pages of the feed for ever: reads to the head, waits for a change, and reads on. Pages without
    /// entries are left out.
    ///
    /// - Ends with the first error. [`WrongEpoch`](crate::ErrorKind::WrongEpoch),
    ///   [`AheadOfLog`](crate::ErrorKind::AheadOfLog) and [`Pruned`](crate::ErrorKind::Pruned) mean
    ///   that the reader has to begin again; after any other error it may go on from the cursor of
    ///   the last page.
    fn follow(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> impl Stream<Item = Result<FeedPage>> + Send {
        stream::try_unfold(after, move |mut after| async move {
            loop {
                let page = self.feed(after, limit, payloads).await?;
                after = page.next;
                if !page.entries.is_empty() {
                    return Ok(Some((page, after)));
                }
                self.changed(after).await?;
            }
        })
    }

    /// Recounts everything between two equal readings of the counters, and compares every walk with
    /// every other and with the counters.
    ///
    /// - A recount that a writer, a prune or a reset overtakes is thrown away and begun again, five
    ///   times at most. After that the report has the one finding
    ///   [`Moving`](crate::Finding::Moving).
    /// - Reads the whole space; memory does not grow with it.
    fn verify(&self) -> impl Future<Output = Result<VerifyReport>> + Send {
        verify::verify(self)
    }
}

impl<S: SyncStore + ?Sized> SyncStoreExt for S {}

/// The items of a stream of lists.
fn items<T: Send>(
    lists: impl Stream<Item = Result<Vec<T>>> + Send,
) -> impl Stream<Item = Result<T>> + Send {
    lists
        .map_ok(|list| stream::iter(list.into_iter().map(Ok)))
        .try_flatten()
}

/// Where a walk goes on: `Option<Option<Cursor>>` with names.
enum Next<Cursor> {
    From(Option<Cursor>),
    End,
}

impl<Cursor> From<Option<Cursor>> for Next<Cursor> {
    fn from(next: Option<Cursor>) -> Self {
        next.map_or(Self::End, |cursor| Self::From(Some(cursor)))
    }
}
