//! The runtime on which a driver runs. Callers may use any executor.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::Engine;

/// A runtime with one thread of its own. It ends when this is dropped, without waiting for anything
/// that runs there: the drop may come from inside any other runtime, or from one of its own tasks.
pub struct Driver {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Driver {
    /// A runtime whose thread is called `name`.
    pub fn new(name: &str) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|source| {
                Error::new(ErrorKind::Failed)
                    .with_message("no thread for the driver could be started")
                    .with_source(source)
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// The runtime's handle, to spawn on it.
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a write on the runtime, and waits for it from wherever this is polled. It is done to its
    /// end also where the returned future is dropped.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // A task that ends without an answer has panicked, before or after its commit.
        let mut task = self.handle.spawn(work.in_current_span());
        answer(&mut task, ErrorKind::UnknownOutcome).await
    }

    /// Runs a read on the runtime, and waits for it from wherever this is polled. It is given up
    /// with the returned future: callers that stop waiting and ask again must not queue up work.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = AbortOnDrop(self.handle.spawn(work.in_current_span()));
        answer(&mut task.0, ErrorKind::Failed).await
    }

    /// Runs what computes for long and does not wait, beside the runtime's thread.
    pub async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let done = self.handle.spawn_blocking(work).await;
        done.map_err(|error| Error::new(ErrorKind::Closed).with_source(error))
    }

    /// Sweeps in the background, piece by piece, until nothing is left or the engine is gone; the
    /// next sweep goes on. `asked` counts the calls since a sweep began, so that one sweep runs at
    /// a time and what is left behind during its last piece is swept too.
    pub fn sweep<E: Engine>(&self, engine: &Arc<E>, asked: &Arc<AtomicUsize>, piece: usize) {
        if asked.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let (engine, asked) = (Arc::downgrade(engine), Arc::clone(asked));
        self.handle.spawn(async move {
            while let Some(engine) = engine.upgrade() {
                let before = asked.load(Ordering::SeqCst);
                match engine.sweep_piece(piece).await {
                    Ok(swept) if swept.more => {}
                    Ok(_) => {
                        let end =
                            asked.compare_exchange(before, 0, Ordering::SeqCst, Ordering::SeqCst);
                        if end.is_ok() {
                            return;
                        }
                    }
                    // The next page that resets, or the next program that connects, tries again.
                    Err(error) => {
                        tracing::warn!(backend = E::NAME, %error, "sweep failed");
                        asked.store(0, Ordering::SeqCst);
                        return;
                    }
                }
                drop(engine);
                tokio::task::yield_now().await;
            }
        });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends with the call that waits for it.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer<T>(task: &mut JoinHandle<Result<T>>, lost: ErrorKind) -> Result<T> {
    task.await.unwrap_or_else(|error| {
        let kind = if error.is_cancelled() {
            ErrorKind::Closed
        } else {
            lost
        };
        Err(Error::new(kind).with_source(error))
    })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use pollster::block_on;
    use tokio::sync::oneshot;

    use super::*;

    fn driver() -> Driver {
        Driver::new("test").unwrap()
    }

    /// Polls `work` once and drops it.
    fn begin_and_drop(work: impl Future<Output = Result<()>>) {
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(work).poll(&mut context).is_pending());
    }

    #[test]
    fn a_write_is_done_although_its_caller_is_gone_and_a_read_is_not() {
        let driver = driver();
        let (go, wait) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel();
        begin_and_drop(driver.write(async move {
            let _ = wait.await;
            let _ = done.send(());
            Ok(())
        }));
        go.send(()).unwrap();
        block_on(is_done).unwrap();

        let (_go, wait) = oneshot::channel::<()>();
        let (done, is_done) = oneshot::channel::<()>();
        begin_and_drop(driver.read(async move {
            let _ = wait.await;
            let _ = done.send(());
            Ok(())
        }));
        assert!(block_on(is_done).is_err(), "the read went on");
    }

    #[test]
    fn work_that_panics_is_an_unknown_outcome_for_a_write_and_a_failure_for_a_read() {
        let driver = driver();
        let write = block_on(driver.write::<()>(async { panic!("on purpose") }));
        assert_eq!(*write.unwrap_err().kind(), ErrorKind::UnknownOutcome);
        let read = block_on(driver.read::<()>(async { panic!("on purpose") }));
        assert_eq!(*read.unwrap_err().kind(), ErrorKind::Failed);
    }

    #[test]
    fn a_driver_can_be_dropped_inside_a_runtime() {
        let (outer, inner) = (driver(), driver());
        block_on(outer.write(async move {
            drop(inner);
            Ok(())
        }))
        .unwrap();
    }
}
