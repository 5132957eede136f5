use std::future::Future;

use sync_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::NAME;

/// The runtime that the driver needs, on a thread of its own: the crate's own calls can be awaited
/// on any executor.
pub(crate) struct Executor {
    /// Taken when the executor is dropped.
    runtime: Option<Runtime>,
}

impl Executor {
    pub(crate) fn new() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sync-mongo")
            .enable_all()
            .build()
            .map_err(|source| {
                Error::new(ErrorKind::Failed)
                    .with_message("no thread could be started")
                    .with_source(source)
                    .of_backend(NAME)
            })?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Runs `work` to its end, also where the answer's future is dropped.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        // What ends without an answer has panicked, after it did nobody knows what.
        self.spawn(work, ErrorKind::UnknownOutcome)?
            .answer(operation)
            .await
    }

    /// Runs `work` as long as somebody waits for it: callers that give up and ask again must not
    /// leave work behind.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let mut task = self.spawn(work, ErrorKind::Failed)?;
        task.abort = true;
        task.answer(operation).await
    }

    /// Runs `work` without anyone waiting for it.
    pub(crate) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(work));
        }
    }

    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
        lost: ErrorKind,
    ) -> Result<Task<T>> {
        let runtime = self.runtime.as_ref().ok_or_else(closed)?;
        Ok(Task {
            handle: runtime.spawn(work),
            abort: false,
            lost,
        })
    }
}

/// Ends the runtime without waiting: the last handle may go inside another runtime, or on this one's
/// own thread.
impl Drop for Executor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work on the runtime.
struct Task<T> {
    handle: JoinHandle<Result<T>>,
    /// Ends with whoever waits for it.
    abort: bool,
    /// What it is where the work ended without an answer.
    lost: ErrorKind,
}

impl<T> Task<T> {
    async fn answer(mut self, operation: &'static str) -> Result<T> {
        match (&mut self.handle).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(self.lost.clone())
                .of_backend(NAME)
                .during(operation)),
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.abort {
            self.handle.abort();
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed).of_backend(NAME)
}
