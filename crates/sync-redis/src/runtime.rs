//! The thread on which the driver runs, so that the store's futures run anywhere.

use std::thread;

use sync_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A runtime of one thread, which ends when the value is dropped. Nobody waits for that, because
/// the value may be dropped inside another runtime, or by a task of this one.
pub(crate) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
}

impl Runtime {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("sync-redis-blocking")
            .build()
            .map_err(no_thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("sync-redis".to_owned())
            .spawn(move || {
                // Ends with the sender, whether it was used or dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(no_thread)?;
        Ok(Self {
            handle,
            stop: Some(stop),
        })
    }

    /// Runs `work` to its end there, also where the returned future is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        match self.handle.spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => Err(Error::new(ErrorKind::Failed)
                .with_message("the driver's task panicked")
                .with_source(error)),
            Err(error) => Err(Error::new(ErrorKind::Closed).with_source(error)),
        }
    }

    /// Runs `work` there, and nobody waits for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(work);
    }

    /// Runs what takes long and does not wait, beside the thread.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.begin(work)
            .await
            .map_err(|error| Error::new(ErrorKind::Closed).with_source(error))
    }

    /// The same, and begins at once.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn_blocking(work)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

fn no_thread(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Failed)
        .with_message("no thread could be started")
        .with_source(source)
}
