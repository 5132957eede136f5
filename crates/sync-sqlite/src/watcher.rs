use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use event_listener::Listener;
use rusqlite::Connection;
use sync_kit::Spaces;

use crate::SqliteConfig;
use crate::connection::{self, Role};

/// How often the file is asked whether another connection has written to it, while anyone waits.
const POLL: Duration = Duration::from_millis(50);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: several
/// polls, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// A thread that notices what other processes and handles commit, while anyone waits for it.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    config: SqliteConfig,
    spaces: Arc<Spaces<()>>,
    closed: AtomicBool,
}

impl Watcher {
    pub(crate) fn new(config: SqliteConfig, spaces: Arc<Spaces<()>>) -> Self {
        let shared = Shared {
            config,
            spaces,
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            thread: Mutex::default(),
        }
    }

    /// Starts the thread, unless it runs.
    pub(crate) fn start(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            // Without a thread, waiters still wake for the commits of this backend.
            *thread = thread::Builder::new()
                .name("sync-sqlite-watcher".to_owned())
                .spawn(move || shared.run())
                .ok();
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.spaces.stir();
        let thread = self.thread.get_mut();
        if let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Looks while anyone waits, until the watcher is dropped.
    fn run(&self) {
        let mut connection = None;
        let mut version = None;
        loop {
            // Listening begins before the look at what it tells of.
            let stirred = self.spaces.stirred();
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            if self.spaces.waited_for().is_empty() {
                stirred.wait();
                continue;
            }
            // A new waiter does not cut the pause short: it has looked for itself.
            thread::park_timeout(POLL);
            let found = self.version(&mut connection);
            // An unreadable file wakes everyone, and their own look tells them why.
            if found.is_none() || found != version {
                version = found;
                self.spaces.notify_all();
            }
        }
    }

    /// A number that differs after each commit of another connection.
    fn version(&self, connection: &mut Option<Connection>) -> Option<i64> {
        if connection.is_none() {
            *connection = connection::open(&self.config, Role::Reader).ok();
        }
        let found = connection.as_ref().and_then(|connection| {
            connection
                .pragma_query_value(None, "data_version", |row| row.get(0))
                .ok()
        });
        if found.is_none() {
            *connection = None;
        }
        found
    }
}
