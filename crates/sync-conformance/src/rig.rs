//! What cases hold in their hands: a database, connections and spaces whose calls block.
//!
//! Concurrency in a case is threads, each of which blocks on its own calls. So the cases read as
//! plain programs, and the suite needs no runtime.

use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, poll_fn, select};
use sync_core::{
    Applied, Backend, Batch, Capabilities, Description, Epoch, FeedCursor, FeedPage, GetPart,
    Known, Limit, Object, OpId, OrderKey, Page, Payloads, Pruned, Result, Row, Seq, SpaceName,
    StateEntry, StateKey, Stats, Swept, SyncState, SyncStore, TimeKey, TimeRange,
};

use crate::calls::Calls;
use crate::failure::{Failure, Verdict};
use crate::harness::{BoundaryHook, Database, Harness, WorkMeter};

/// One run of a case.
pub(crate) struct Run<'h, H> {
    pub(crate) harness: &'h H,
    /// The calls that the case has made.
    pub(crate) calls: &'h Calls,
    /// The suite whose processes the case may start; absent where it is run as a library.
    pub(crate) suite: Option<&'static str>,
}

impl<H> Clone for Run<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Run<'_, H> {}

impl<H: Harness> Run<'_, H> {
    /// Runs a call of `method` to its end.
    pub(crate) fn call<F: Future>(&self, method: &'static str, future: F) -> F::Output {
        let call = || self.harness.block_on(future);
        self.calls.during(method, call)
    }
}

/// What a case gets.
pub(crate) struct Rig<'h, H: Harness> {
    pub(crate) run: Run<'h, H>,
}

impl<'h, H: Harness> Rig<'h, H> {
    /// A new, empty, isolated database.
    #[track_caller]
    pub(crate) fn fresh(&self) -> Verdict<Db<'h, H>> {
        let fresh = || self.run.harness.fresh();
        Ok(Db {
            run: self.run,
            database: self.run.calls.during("Harness::fresh", fresh)?,
        })
    }

    /// A space of a new database.
    pub(crate) fn space(&self) -> Verdict<(Db<'h, H>, Space<'h, H>)> {
        let db = self.fresh()?;
        let space = db.connect()?.open("space")?;
        Ok((db, space))
    }
}

/// One database under test.
pub(crate) struct Db<'h, H: Harness> {
    pub(crate) run: Run<'h, H>,
    pub(crate) database: H::Database,
}

impl<'h, H: Harness> Db<'h, H> {
    /// A handle with connections of its own.
    pub(crate) fn connect(&self) -> Result<Connection<'h, H>> {
        self.connection(self.run.call("connect", self.database.connect()))
    }

    /// The space every case writes to, through a handle of its own.
    pub(crate) fn space(&self) -> Result<Space<'h, H>> {
        self.connect()?.open("space")
    }

    pub(crate) fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<Connection<'h, H>> {
        let connecting = self.database.connect_with_boundaries(hook);
        let connected = self.run.call("connect", connecting);
        self.connection(connected)
    }

    pub(crate) fn connect_counting(&self) -> Result<(Connection<'h, H>, WorkMeter)> {
        let (backend, meter) = self.run.call("connect", self.database.connect_counting())?;
        Ok((self.connection(Ok(backend))?, meter))
    }

    fn connection(&self, connected: Result<H::Backend>) -> Result<Connection<'h, H>> {
        Ok(Connection {
            run: self.run,
            backend: Arc::new(connected?),
        })
    }
}

/// One handle on a database.
pub(crate) struct Connection<'h, H: Harness> {
    run: Run<'h, H>,
    backend: Arc<H::Backend>,
}

impl<'h, H: Harness> Connection<'h, H> {
    pub(crate) fn open(&self, space: &str) -> Result<Space<'h, H>> {
        let name = SpaceName::new(space)?;
        let store = self.run.call("open", self.backend.open(&name))?;
        Ok(Space {
            run: self.run,
            _backend: Arc::clone(&self.backend),
            store,
        })
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    pub(crate) fn describe(&self) -> Result<Description> {
        self.run.call("describe", self.backend.describe())
    }

    pub(crate) fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        self.run.call("spaces", self.backend.spaces(after, limit))
    }

    pub(crate) fn drop_space(&self, space: &str) -> Result<bool> {
        let name = SpaceName::new(space)?;
        self.run.call("drop_space", self.backend.drop_space(&name))
    }

    pub(crate) fn sweep(&self, rows: usize) -> Result<Swept> {
        self.run.call("sweep", self.backend.sweep(rows))
    }
}

/// A space whose calls block. The handle of the database lives as long.
pub(crate) struct Space<'h, H: Harness> {
    pub(crate) run: Run<'h, H>,
    _backend: Arc<H::Backend>,
    pub(crate) store: <H::Backend as Backend>::Store,
}

impl<H: Harness> Space<'_, H> {
    pub(crate) fn name(&self) -> &SpaceName {
        self.store.space()
    }

    pub(crate) fn apply(&self, page: Page) -> Result<Applied> {
        self.run.call("apply", self.store.apply(page))
    }

    pub(crate) fn part(&self, ids: &[OpId], limit: Limit) -> Result<GetPart> {
        self.run.call("get", self.store.get(ids, limit))
    }

    pub(crate) fn known(&self, ids: &[OpId]) -> Result<Vec<Known>> {
        self.run.call("known", self.store.known(ids))
    }

    pub(crate) fn scan_time(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<Row, TimeKey>> {
        self.run
            .call("scan_time", self.store.scan_time(range, after, limit))
    }

    pub(crate) fn scan_keys(
        &self,
        range: TimeRange,
        after: Option<TimeKey>,
        limit: Limit,
    ) -> Result<Batch<TimeKey, TimeKey>> {
        self.run
            .call("scan_keys", self.store.scan_keys(range, after, limit))
    }

    pub(crate) fn scan_order(
        &self,
        after: Option<OrderKey>,
        limit: Limit,
    ) -> Result<Batch<Row, OrderKey>> {
        self.run
            .call("scan_order", self.store.scan_order(after, limit))
    }

    pub(crate) fn scan_object(
        &self,
        object: &Object,
        after: Option<Seq>,
        limit: Limit,
    ) -> Result<Batch<Row, Seq>> {
        self.run
            .call("scan_object", self.store.scan_object(object, after, limit))
    }

    pub(crate) fn feed(
        &self,
        after: FeedCursor,
        limit: Limit,
        payloads: Payloads,
    ) -> Result<FeedPage> {
        self.run
            .call("feed", self.store.feed(after, limit, payloads))
    }

    /// `changed`, or `None` where it did not resolve within `patience`.
    pub(crate) fn changed(&self, after: FeedCursor, patience: Duration) -> Option<Result<()>> {
        self.within(patience, self.store.changed(after))
    }

    pub(crate) fn stats(&self) -> Result<Stats> {
        self.run.call("stats", self.store.stats())
    }

    pub(crate) fn prune(&self, up_to: Seq) -> Result<Pruned> {
        self.run.call("prune", self.store.prune(up_to))
    }

    pub(crate) fn new_epoch(&self) -> Result<Option<Epoch>> {
        self.run.call("new_epoch", self.store.new_epoch())
    }

    pub(crate) fn check(&self) -> Result<Vec<String>> {
        self.run.call("check", self.store.check())
    }

    pub(crate) fn load(&self, key: &StateKey) -> Result<Option<Bytes>> {
        self.run.call("load", self.store.load(key))
    }

    pub(crate) fn load_many(&self, keys: &[StateKey]) -> Result<Vec<Option<Bytes>>> {
        self.run.call("load_many", self.store.load_many(keys))
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&StateKey>,
        limit: Limit,
    ) -> Result<Batch<StateEntry, StateKey>> {
        self.run.call("list", self.store.list(prefix, after, limit))
    }

    /// Runs `future` to its end, or drops it after `patience`.
    pub(crate) fn within<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        let (alarm, ring) = futures_channel::oneshot::channel();
        let (done, cancelled) = mpsc::channel::<()>();
        thread::spawn(move || {
            if cancelled.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                // Nobody listens any more where the future ended in the same moment.
                let _ = alarm.send(());
            }
        });
        let raced = self.run.call("changed", async {
            match select(pin!(future), ring).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(_) => None,
            }
        });
        drop(done);
        raced
    }
}

/// Runs `task` on every item and its number, on a thread each, and answers what each of them did,
/// or the first failure.
pub(crate) fn together<Item: Sync, T: Send>(
    items: &[Item],
    task: impl Fn(u64, &Item) -> Verdict<T> + Sync,
) -> Verdict<Vec<T>> {
    thread::scope(|scope| {
        let task = &task;
        let threads: Vec<_> = (0..)
            .zip(items)
            .map(|(n, item)| scope.spawn(move || task(n, item)))
            .collect();
        threads.into_iter().map(finish).collect()
    })
}

/// What a thread answered; its panic is this thread's.
pub(crate) fn finish<T>(thread: thread::ScopedJoinHandle<'_, Verdict<T>>) -> Verdict<T> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(|failure: Failure| failure.while_doing("in a thread"))
}

/// Polls a future once and says whether it is ready. What it is ready with is lost.
pub(crate) async fn polled<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
