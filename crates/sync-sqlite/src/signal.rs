use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use event_listener::Event;
use sync_core::SpaceName;

use crate::SqliteConfig;
use crate::connection::{self, Role};

/// How often the file is asked whether another connection has written to it, while anyone waits.
const POLL: Duration = Duration::from_millis(50);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: several
/// polls, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// The events that wake `changed`, one for each space, shared by all handles of a backend.
#[derive(Default)]
pub(crate) struct Signals(Mutex<Events>);

#[derive(Default)]
struct Events {
    of: HashMap<SpaceName, Weak<Event>>,
    /// The number of events at which those without a handle are looked for.
    clean_at: usize,
}

impl Signals {
    /// The event of `space`.
    pub(crate) fn of(&self, space: &SpaceName) -> Arc<Event> {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = events.of.get(space).and_then(Weak::upgrade) {
            return event;
        }
        // Only when there are twice as many as were left the last time: opening a space costs the
        // same however many are open.
        if events.of.len() >= events.clean_at {
            events.of.retain(|_, event| event.strong_count() > 0);
            events.clean_at = 2 * events.of.len().max(8);
        }
        let event = Arc::new(Event::new());
        events.of.insert(space.clone(), Arc::downgrade(&event));
        event
    }

    fn notify_all(&self) {
        let events: Vec<_> = {
            let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            events.of.values().filter_map(Weak::upgrade).collect()
        };
        for event in events {
            event.notify(usize::MAX);
        }
    }
}

/// A thread that notices what other processes and handles commit, while anyone waits for it.
pub(crate) struct Watcher {
    shared: Arc<Watched>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Watched {
    config: SqliteConfig,
    signals: Arc<Signals>,
    state: Mutex<WatchState>,
    changed: Condvar,
}

#[derive(Default)]
struct WatchState {
    waiting: usize,
    closed: bool,
}

impl Watcher {
    pub(crate) fn new(config: SqliteConfig, signals: Arc<Signals>) -> Self {
        let state = Mutex::default();
        let shared = Arc::new(Watched {
            config,
            signals,
            state,
            changed: Condvar::new(),
        });
        Self {
            shared,
            thread: Mutex::default(),
        }
    }

    /// Watches the file until the guard is dropped.
    pub(crate) fn watch(&self) -> WatchGuard {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.update(|state| state.waiting += 1);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            let name = "sync-sqlite-watcher".to_owned();
            // Without a thread, waiters still wake for the commits of this backend.
            *thread = thread::Builder::new()
                .name(name)
                .spawn(move || shared.run())
                .ok();
        }
        WatchGuard(Arc::clone(&self.shared))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.update(|state| state.closed = true);
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Keeps the watcher looking.
pub(crate) struct WatchGuard(Arc<Watched>);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.update(|state| state.waiting -= 1);
    }
}

impl Watched {
    fn update(&self, change: impl FnOnce(&mut WatchState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut connection = None;
        let mut version = None;
        while self.wait() {
            if connection.is_none() {
                connection = connection::open(&self.config, Role::Reader).ok();
            }
            let found = connection.as_ref().and_then(|connection| {
                connection
                    .pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))
                    .ok()
            });
            if found.is_none() {
                connection = None;
            }
            // An unreadable file wakes everyone, and their own look tells them why.
            if found.is_none() || found != version {
                version = found;
                self.signals.notify_all();
            }
        }
    }

    /// Pauses for one poll, and longer while nobody waits. False when the backend is gone.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self
            .changed
            .wait_while(state, |state| state.waiting == 0 && !state.closed);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, POLL, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        !state.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_a_handle_are_forgotten_and_the_others_kept() {
        let signals = Signals::default();
        let space = |n: u32| SpaceName::new(&n.to_string()).unwrap();
        let kept: Vec<_> = (0..20).map(|n| signals.of(&space(n))).collect();
        for n in 20..1_000 {
            let _ = signals.of(&space(n));
        }
        assert!(signals.0.lock().unwrap().of.len() <= 2 * 2 * kept.len());
        for (n, event) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(event, &signals.of(&space(n))), "space {n}");
        }
    }
}
