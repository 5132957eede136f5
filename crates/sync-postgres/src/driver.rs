//! The runtime on which the driver runs, whatever executor the callers have.

use std::future::Future;

use sync_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::NAME;

/// A runtime with one thread of its own. It ends when this is dropped, without waiting for anything
/// that runs there: the drop may come from inside any other runtime.
pub(crate) struct Driver {
    runtime: Option<Runtime>,
    handle: Handle,
}

/// Whether work goes on when nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// It is done all the same.
    Write,
    /// It is given up: callers that stop waiting and ask again must not queue up work.
    Read,
}

impl Driver {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sync-postgres")
            .enable_all()
            .build()
            .map_err(|source| {
                Error::new(ErrorKind::Failed)
                    .with_message("no thread for the driver could be started")
                    .with_source(source)
                    .of_backend(NAME)
            })?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `future` on the runtime, and waits for it from wherever this is polled.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        operation: &'static str,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut running = Running {
            task: self.handle.spawn(future),
            given_up_with_us: work == Work::Read,
        };
        let answer = (&mut running.task).await;
        answer.unwrap_or_else(|error| {
            let kind = match work {
                _ if error.is_cancelled() => ErrorKind::Closed,
                Work::Read => ErrorKind::Failed,
                Work::Write => ErrorKind::UnknownOutcome,
            };
            Err(Error::new(kind).of_backend(NAME).during(operation))
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that is aborted with the call that waits for it, where that is wanted.
struct Running<T> {
    task: JoinHandle<T>,
    given_up_with_us: bool,
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if self.given_up_with_us {
            self.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Waker};
    use std::time::Duration;

    use pollster::block_on;

    use super::*;

    /// Whether work is done whose future was dropped while it waited.
    fn done_for_nobody(work: Work) -> bool {
        let driver = Driver::new().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        {
            let done = Arc::clone(&done);
            let dropped = driver.run(work, "test", async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                done.store(true, Ordering::SeqCst);
                Ok(())
            });
            let mut context = Context::from_waker(Waker::noop());
            assert!(pin!(dropped).poll(&mut context).is_pending());
        }
        let later = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        };
        block_on(driver.run(Work::Read, "test", later)).unwrap();
        done.load(Ordering::SeqCst)
    }

    #[test]
    fn writes_are_done_and_reads_are_not_where_nobody_waits_any_more() {
        assert!(done_for_nobody(Work::Write));
        assert!(!done_for_nobody(Work::Read));
    }

    #[test]
    fn a_driver_can_go_inside_a_runtime() {
        let outer = Driver::new().unwrap();
        let inner = Driver::new().unwrap();
        block_on(outer.run(Work::Write, "test", async move {
            drop(inner);
            Ok(())
        }))
        .unwrap();
    }
}
