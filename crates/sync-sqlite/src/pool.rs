use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_channel::oneshot;
use rusqlite::Connection;
use sync_core::{Error, ErrorKind, Result};

use crate::SqliteConfig;
use crate::connection::{self, Role};
use crate::error::failed;

type Job = Box<dyn FnOnce(Result<&mut Connection>) + Send>;

/// Connections, each on a thread of its own, that take work from one queue.
///
/// SQLite blocks; threads of our own keep that away from every executor, and make the crate
/// independent of any. The writer is a pool of one: its queue is where the writers of one process
/// wait, before they compete with those of others for the file's lock.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Taken when the pool is dropped, which ends the threads.
    jobs: Option<Sender<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    most: usize,
}

struct Shared {
    config: SqliteConfig,
    role: Role,
    queue: Receiver<Job>,
    /// Threads that run or are being started.
    started: AtomicUsize,
    /// Jobs that wait or run. Counted apart from the queue: a job that has just left it still keeps
    /// its thread busy.
    jobs: AtomicUsize,
}

impl Pool {
    /// A pool of at most `most` connections, none of which is opened yet.
    pub(crate) fn new(config: SqliteConfig, role: Role, most: usize) -> Self {
        let (jobs, queue) = unbounded();
        let shared = Shared {
            config,
            role,
            queue,
            started: AtomicUsize::new(0),
            jobs: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::new(shared),
            jobs: Some(jobs),
            threads: Mutex::default(),
            most,
        }
    }

    /// Runs `work` on a connection. A write is done also when the future is dropped; a read that
    /// has not begun then is not: callers that give up and ask again must not queue up work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let role = self.shared.role;
        self.submit(Box::new(move |connection| {
            if role == Role::Reader && answer.is_canceled() {
                return;
            }
            // The caller may have gone away.
            let _ = answer.send(connection.and_then(work));
        }));
        answered.await.unwrap_or_else(|_| {
            // The work panicked.
            let kind = match role {
                Role::Reader => ErrorKind::Failed,
                Role::Writer | Role::Migrator => ErrorKind::UnknownOutcome,
            };
            Err(Error::new(kind))
        })
    }

    /// Queues `work` without anyone waiting for it.
    pub(crate) fn spawn(&self, work: impl FnOnce(&mut Connection) + Send + 'static) {
        self.submit(Box::new(move |connection| {
            if let Ok(connection) = connection {
                work(connection);
            }
        }));
    }

    fn submit(&self, job: Job) {
        let jobs_now = self.shared.jobs.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(jobs) = &self.jobs {
            // Sending fails only without receiver, and `shared` holds one.
            let _ = jobs.send(job);
        }
        let started = self.shared.started.load(Ordering::SeqCst);
        if started < jobs_now.min(self.most) {
            self.start_thread();
        }
    }

    fn start_thread(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.started.load(Ordering::SeqCst) >= self.most {
            return;
        }
        self.shared.started.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.shared));
        let name = format!("sync-sqlite-{:?}", self.shared.role).to_lowercase();
        match thread::Builder::new()
            .name(name)
            .spawn(move || running.0.work())
        {
            Ok(handle) => threads.push(handle),
            // The closure, and the count in it, is gone again. With another thread running, the
            // queue still moves; without one, this call answers for it.
            Err(source) => self.fail_all(&source),
        }
    }

    fn fail_all(&self, source: &std::io::Error) {
        if self.shared.started.load(Ordering::SeqCst) > 0 {
            return;
        }
        for job in self.shared.queue.try_iter() {
            self.shared.jobs.fetch_sub(1, Ordering::SeqCst);
            let message = format!("no thread could be started: {source}");
            job(Err(Error::new(ErrorKind::Failed).with_message(message)));
        }
    }
}

impl Drop for Pool {
    /// Finishes what is queued and closes the connections: the file is free afterwards.
    fn drop(&mut self) {
        self.jobs = None;
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // The last handle may go on one of the pool's own threads, which cannot wait for itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Counts its thread out, also when the thread panics.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.started.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn work(&self) {
        let mut connection = None;
        loop {
            let Ok(job) = self.queue.recv() else { return };
            let finished =
                panic::catch_unwind(AssertUnwindSafe(|| match self.connect(&mut connection) {
                    Ok(connection) => job(Ok(connection)),
                    Err(error) => job(Err(error)),
                }));
            // A connection that a job leaves inside a transaction, or leaves by a panic, is not
            // used again.
            connection = connection.filter(|c| finished.is_ok() && c.is_autocommit());
            self.jobs.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn connect<'c>(&self, connection: &'c mut Option<Connection>) -> Result<&'c mut Connection> {
        if connection.is_none() {
            let opened = connection::open(&self.config, self.role).map_err(failed);
            *connection = Some(opened.map_err(|error| connection::explain(&self.config, error))?);
        }
        connection
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Closed))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Waker};

    use pollster::block_on;

    use super::*;

    /// Whether work of a pool of one is done whose future was dropped while it waited.
    fn done_for_nobody(role: Role) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(dir.path().join("a.db"));
        drop(connection::open(&config, Role::Migrator).unwrap());
        let pool = Pool::new(config, role, 1);
        let (go, wait) = unbounded::<()>();
        pool.spawn(move |_| wait.recv().unwrap());
        let done = Arc::new(AtomicBool::new(false));
        {
            let done = Arc::clone(&done);
            let dropped = pool.run(move |_| {
                done.store(true, Ordering::SeqCst);
                Ok(())
            });
            assert!(
                pin!(dropped)
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        go.send(()).unwrap();
        block_on(pool.run(|_| Ok(()))).unwrap();
        done.load(Ordering::SeqCst)
    }

    #[test]
    fn writes_are_done_and_reads_are_not_where_nobody_waits_any_more() {
        assert!(done_for_nobody(Role::Writer));
        assert!(!done_for_nobody(Role::Reader));
    }
}
