//! One space: sound where the disk has no fault, and otherwise broken in that one way.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use sync_conformance::model::Model;
use sync_core::{
    Applied, Backend, Batch, Bytes, Epoch, Error, ErrorKind, FeedCursor, FeedPage, GetPart, Known,
    Limit, Object, OpId, OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName, StateEntry,
    StateKey, Stats, SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::backend::{Control, Handle};
use crate::disk::{Disk, lock};
use crate::fault::Fault;
use crate::{answer, input, transaction, walk};

pub(crate) struct ControlStore {
    pub(crate) handle: Arc<Handle>,
    space: SpaceName,
    /// The space did not exist when it was opened, and nothing was written through here since.
    absent: AtomicBool,
    /// The counters when it was opened.
    base: Stats,
    /// Values as they were when they were first read through here.
    cache: Mutex<Vec<(StateKey, Option<Bytes>)>>,
}

impl ControlStore {
    pub(crate) fn new(handle: Arc<Handle>, space: SpaceName, absent: bool, base: Stats) -> Self {
        Self {
            handle,
            space,
            absent: AtomicBool::new(absent),
            base,
            cache: Mutex::default(),
        }
    }

    fn disk(&self) -> &Disk {
        &self.handle.disk
    }

    fn fault(&self) -> Option<Fault> {
        self.disk().fault
    }

    fn has(&self, fault: Fault) -> bool {
        self.disk().has(fault)
    }

    fn alive(&self) -> Result<()> {
        if self.handle.dead.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed));
        }
        Ok(())
    }

    fn read<T>(&self, read: impl FnOnce(&Model) -> T) -> Result<T> {
        self.alive()?;
        Ok(self.disk().read(&self.space, read))
    }

    /// Applies a page in one transaction.
    fn transact(&self, page: &Page) -> Result<Applied> {
        let disk = self.disk();
        self.alive()?;
        self.handle.at("rows")?;
        self.handle.at("state")?;
        if self.has(Fault::WakesBeforeVisible) {
            self.wake();
            pause();
        }
        if self.has(Fault::OpenTransactionSlowsPages) && disk.strangers.load(Ordering::SeqCst) > 0 {
            // One version more to step over for every page since it began.
            let kept = disk.drift.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_nanos(20 * kept));
        }
        if let Some(
            Fault::BoundReadAfterTheRows
            | Fault::IdsAreReadOneByOne
            | Fault::IndexAndPayloadReadApart
            | Fault::KeysAreLoadedOneByOne
            | Fault::LooksBeforeItListens,
        ) = self.fault()
        {
            // Writers slow enough that readers reach the head while they are at it.
            pause();
        }
        let reserved = transaction::reserve(disk, page);
        if let Err(error) = self.handle.at(sync_conformance::COMMIT) {
            return match self.fault() {
                Some(Fault::CommitFailureIsSwallowed) => Ok(Applied::default()),
                Some(Fault::HandleIsDeadAfterAFailure) => {
                    self.handle.dead.store(true, Ordering::SeqCst);
                    Err(error)
                }
                _ => Err(error),
            };
        }
        let first = self.absent.swap(false, Ordering::SeqCst);
        let mut garbage = 0;
        let applied = disk.write(&self.space, |model| {
            if first && self.has(Fault::FirstPageCreatesAgain) {
                *model = Model::new();
            }
            let before = model.stats();
            let state = model.state().len() as u64;
            let applied = transaction::act(disk, model, page, reserved)?;
            if page.reset {
                garbage = before.total + before.tombstones + state;
            }
            Ok(applied)
        })?;
        disk.content().garbage += garbage;
        let written = if self.has(Fault::ResetDeletesEachRow) {
            garbage
        } else {
            0
        };
        self.handle
            .work("write the page", page.operations() as u64 + written);
        if !self.has(Fault::WakesBeforeVisible) {
            self.wake();
        }
        match self.handle.at(sync_conformance::COMMITTED) {
            Ok(()) => Ok(applied),
            Err(cause) => self.answer_lost(page, cause),
        }
    }

    fn answer_lost(&self, page: &Page, cause: Error) -> Result<Applied> {
        match self.fault() {
            Some(Fault::LostAnswerIsAPlainFailure) => Err(cause),
            Some(Fault::LostAnswerIsRetriedBlindly) => self.transact(page),
            _ => Err(Error::new(ErrorKind::UnknownOutcome).with_source(cause)),
        }
    }

    fn wake(&self) {
        if self.has(Fault::CommitsWakeNoCall) {
            return;
        }
        self.handle.own.notify(usize::MAX);
        self.disk().notify();
    }

    /// Waits for a commit that comes after the call, not after the first poll of the answer.
    fn committed(&self) -> event_listener::EventListener {
        if self.has(Fault::OtherHandlesWakeNobody) {
            self.handle.own.listen()
        } else {
            self.disk().committed.listen()
        }
    }

    /// Whether `feed` would answer anything but an empty page.
    fn news(&self, after: FeedCursor) -> Result<bool> {
        let answer = self.read(|model| model.feed(after, Limit::rows(1), Payloads::Skip))?;
        Ok(match (answer, self.fault()) {
            (Ok(page), _) => !page.entries.is_empty(),
            (Err(_), Some(Fault::RefusedCursorsWaitForEver)) => false,
            (Err(_), _) => true,
        })
    }

    async fn apply_page(&self, page: Page) -> Result<Applied> {
        let mut page = input::taken(self.fault(), page)?;
        match self.fault() {
            Some(Fault::PreconditionCheckedBeforeTheTransaction) => {
                let only = Page {
                    preconditions: std::mem::take(&mut page.preconditions),
                    ..Page::new()
                };
                self.read(|model| model.clone().apply(&only).map(drop))??;
                pause();
                self.transact(&page)
            }
            Some(Fault::ContentionIsAPermanentError) => {
                if self.disk().busy.swap(true, Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Failed).with_message("a conflict"));
                }
                pause();
                let applied = self.transact(&page);
                self.disk().busy.store(false, Ordering::SeqCst);
                applied
            }
            Some(Fault::CursorWrittenAfterTheRows) => {
                let state = Page {
                    state: std::mem::take(&mut page.state),
                    ..Page::new()
                };
                self.apply_in_parts([page, state])
            }
            Some(Fault::CursorWrittenBeforeTheRows) => {
                let state = Page {
                    preconditions: std::mem::take(&mut page.preconditions),
                    state: std::mem::take(&mut page.state),
                    ..Page::new()
                };
                self.apply_in_parts([state, page])
            }
            Some(Fault::PageCommittedInChunks) => {
                self.apply_in_parts(transaction::chunks(page, 32))
            }
            Some(Fault::LargePageCommittedInChunks) if page.upserts.len() > 8_000 => {
                self.apply_in_parts(transaction::chunks(page, 8_000))
            }
            Some(Fault::DroppedApplyLeavesHalf) => {
                let mut whole = Applied::default();
                for part in transaction::chunks(page, 32) {
                    transaction::join(&mut whole, self.transact(&part)?);
                    yield_now().await;
                }
                Ok(whole)
            }
            Some(Fault::DroppedApplyHoldsTheLock) => {
                if self.disk().busy.swap(true, Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Busy));
                }
                yield_now().await;
                let applied = self.transact(&page);
                self.disk().busy.store(false, Ordering::SeqCst);
                applied
            }
            _ => self.transact(&page),
        }
    }

    fn apply_in_parts(&self, parts: impl IntoIterator<Item = Page>) -> Result<Applied> {
        let mut whole = Applied::default();
        for part in parts {
            let applied = self.transact(&part)?;
            transaction::join(&mut whole, applied);
            pause();
        }
        Ok(whole)
    }
}

impl SyncState for ControlStore {
    async fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        Ok(self
            .load_many(std::slice::from_ref(key))
            .await?
            .pop()
            .flatten())
    }

    async fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        if self.has(Fault::KeysAreLoadedOneByOne) {
            let values = keys.iter().map(|key| {
                pause();
                self.read(|model| model.load(key))
            });
            return values.collect();
        }
        let mut values = self.read(|model| answer::load(self.fault(), model, keys))?;
        if self.has(Fault::ValuesAreHandedOut) {
            let mut cache = lock(&self.cache);
            for (key, value) in keys.iter().zip(&mut values) {
                if cache.contains(&(key.clone(), None)) {
                    *value = None;
                }
                cache.push((key.clone(), None));
            }
        }
        if self.has(Fault::ValuesAreCached) {
            let mut cache = lock(&self.cache);
            for (key, value) in keys.iter().zip(&mut values) {
                match cache.iter().find(|(cached, _)| cached == key) {
                    Some((_, cached)) => value.clone_from(cached),
                    None => cache.push((key.clone(), value.clone())),
                }
            }
        }
        self.handle.work("load", keys.len() as u64);
        Ok(values)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        self.read(|model| walk::list(self.fault(), model, prefix, after, limit))
    }
}

impl SyncStore for ControlStore {
    fn space(&self) -> &SpaceName {
        &self.space
    }

    async fn apply(&self, page: Page) -> Result<Applied> {
        self.apply_page(page)
            .await
            .map_err(|error| match self.fault() {
                Some(Fault::ErrorsAreAnonymous) => error,
                _ => error.of_backend(Control::NAME).during("apply"),
            })
    }

    async fn get(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        if self.has(Fault::IdsAreReadOneByOne) {
            let mut rows = Vec::new();
            for (n, id) in ids.iter().enumerate() {
                if n % 64 == 0 {
                    pause();
                }
                rows.push(self.read(|model| model.row(*id).cloned())?);
            }
            return Ok(GetPart { rows, next: None });
        }
        let part = self.read(|model| answer::get(self.fault(), model, ids, limit))??;
        self.handle.work("get", part.rows.len() as u64);
        Ok(part)
    }

    async fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        self.handle.work("known", ids.len() as u64);
        self.read(|model| {
            let known = ids.iter().map(|id| answer::known(self.fault(), model, *id));
            known.collect()
        })
    }

    async fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        if self.has(Fault::IndexAndPayloadReadApart) {
            let Batch { items, next } = self.read(|model| model.scan_keys(range, after, limit))?;
            pause();
            let rows = self.read(|model| {
                let rows = items.iter().map(|key| (*key, model.row(key.id).cloned()));
                rows.collect::<Vec<_>>()
            })?;
            // What the index has comes from there, everything else from the row.
            let items = rows.into_iter().filter_map(|(key, row)| {
                let mut row = row?;
                row.operation.ts = key.ts;
                Some(row)
            });
            let items = items.collect();
            return Ok(Batch { items, next });
        }
        self.read(|model| walk::time(self.disk(), model, range, after, limit))
    }

    async fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.read(|model| walk::keys(self.disk(), model, range, after, limit))
    }

    async fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.read(|model| walk::order(self.fault(), model, after, limit))
    }

    async fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        self.read(|model| walk::object(self.fault(), model, object, after, limit))
    }

    async fn feed(&self, after: FeedCursor, limit: Limit, payloads: Payloads) -> Result<FeedPage> {
        let disk = self.disk();
        let mut page = self.read(|model| answer::feed(disk, model, after, limit, payloads))??;
        if self.has(Fault::BoundReadAfterTheRows)
            && !page.more
            && let FeedCursor::After { seq, .. } = &mut page.next
        {
            pause();
            *seq = self.read(|model| model.stats().head)?;
        }
        let read = if self.has(Fault::FeedReadsFromTheBeginning) {
            self.read(|model| model.stats().total)?
        } else {
            page.entries.len() as u64
        };
        self.handle.work("feed", read + 1);
        Ok(page)
    }

    async fn changed(&self, after: FeedCursor) -> Result<()> {
        loop {
            let committed = match self.fault() {
                Some(Fault::LooksBeforeItListens) => {
                    if self.news(after)? {
                        return Ok(());
                    }
                    self.disk().wait_until_quiet();
                    self.committed()
                }
                Some(Fault::WaitsForTheNextCommit) => self.committed(),
                _ => {
                    let committed = self.committed();
                    if self.news(after)? {
                        return Ok(());
                    }
                    committed
                }
            };
            match self.fault() {
                Some(Fault::ChangedOnlyPolls) => alarm(Duration::from_millis(400)).await,
                Some(Fault::AbsentSpacesWaitForEver)
                    if self.read(|model| model.stats().epoch.is_none())? =>
                {
                    std::future::pending::<()>().await;
                }
                _ => committed.await,
            }
            if let Some(
                Fault::WakesBeforeVisible | Fault::AnyCommitWakes | Fault::WaitsForTheNextCommit,
            ) = self.fault()
            {
                return Ok(());
            }
        }
    }

    async fn stats(&self) -> Result<Stats> {
        let stats = self.read(|model| answer::stats(self.disk(), model, &self.base))?;
        let read = if self.has(Fault::StatsCountsRows) {
            stats.total
        } else {
            1
        };
        self.handle.work("stats", read);
        Ok(stats)
    }

    async fn prune(&self, up_to: Seq) -> Result<Pruned> {
        let fault = self.fault();
        let (pruned, left) = self.disk().write(&self.space, |model| {
            let pruned = transaction::prune(fault, model, up_to);
            Ok((pruned, model.stats().tombstones))
        })?;
        self.wake();
        let pieces = match fault {
            Some(Fault::PruneBeginsAgainWithEachPiece) => 1 + pruned.dropped / 1_000,
            _ => 1,
        };
        self.handle
            .work("drop tombstones", pruned.dropped + pieces * left);
        Ok(pruned)
    }

    async fn new_epoch(&self) -> Result<Option<Epoch>> {
        let epoch = self.disk().write(&self.space, |model| {
            if self.has(Fault::NewEpochIsTheOldOne) {
                return Ok(model.stats().epoch);
            }
            model.new_epoch()
        })?;
        self.wake();
        Ok(epoch)
    }

    async fn check(&self) -> Result<Vec<String>> {
        if self.has(Fault::CheckCriesWolf) && self.read(|model| model.stats().tombstones > 0)? {
            return Ok(vec!["an index entry without a row".to_owned()]);
        }
        Ok(Vec::new())
    }
}

/// Lets the others run where a broken store lets them in, so that it is caught in every run.
fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// Lets go of the thread once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The timer of a store that has no better way to notice a commit.
async fn alarm(after: Duration) {
    let rings = Arc::new(event_listener::Event::new());
    let ring = rings.listen();
    thread::spawn(move || {
        thread::sleep(after);
        rings.notify(usize::MAX);
    });
    ring.await;
}
