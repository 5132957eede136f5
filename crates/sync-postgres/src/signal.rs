use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use event_listener::Event;
use sync_core::{Result, SpaceName};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use crate::columns::value;
use crate::error::failed;
use crate::pool::Pool;
use crate::statements::quoted;
use crate::{NAME, PostgresConfig, connection, scan};

/// How often the database is asked what has changed where nobody says so.
const POLL: Duration = Duration::from_millis(100);
/// How often it is asked although somebody does: news may be lost with its sender.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: more than a
/// poll, for a machine that is busy.
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

    /// The spaces that have a handle.
    fn names(&self) -> Vec<SpaceName> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = events
            .of
            .iter()
            .filter(|(_, event)| event.strong_count() > 0);
        open.map(|(name, _)| name.clone()).collect()
    }

    fn notify(&self, space: &str) {
        let Ok(space) = SpaceName::new(space) else {
            return;
        };
        let event = {
            let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            events.of.get(&space).and_then(Weak::upgrade)
        };
        if let Some(event) = event {
            event.notify(usize::MAX);
        }
    }

    fn notify_all(&self) {
        for name in self.names() {
            self.notify(name.as_str());
        }
    }
}

/// A task that notices what other processes and handles commit, while anyone waits for it.
pub(crate) struct Watcher {
    shared: Arc<Watched>,
    driver: Handle,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Watched {
    config: PostgresConfig,
    pool: Arc<Pool>,
    signals: Arc<Signals>,
    waiting: AtomicUsize,
    /// Somebody waits, or the connection that listens is gone.
    stir: Notify,
}

/// The connection that listens.
struct Listener {
    client: Client,
    running: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Watcher {
    pub(crate) fn new(
        config: PostgresConfig,
        pool: Arc<Pool>,
        signals: Arc<Signals>,
        driver: Handle,
    ) -> Self {
        let shared = Watched {
            config,
            pool,
            signals,
            waiting: AtomicUsize::new(0),
            stir: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
            driver,
            task: Mutex::default(),
        }
    }

    /// Watches the database until the guard is dropped.
    pub(crate) fn watch(&self) -> WatchGuard {
        self.shared.waiting.fetch_add(1, Ordering::SeqCst);
        self.shared.stir.notify_one();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = Arc::clone(&self.shared);
            *task = Some(self.driver.spawn(async move { shared.run().await }));
        }
        WatchGuard(Arc::clone(&self.shared))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Keeps the watcher looking.
pub(crate) struct WatchGuard(Arc<Watched>);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Watched {
    async fn run(self: Arc<Self>) {
        let mut listener: Option<Listener> = None;
        let mut next_try = Instant::now();
        let mut seen = HashMap::new();
        loop {
            if self.waiting.load(Ordering::SeqCst) == 0 {
                self.stir.notified().await;
                continue;
            }
            if listener.as_ref().is_some_and(|l| l.client.is_closed()) {
                listener = None;
            }
            let may_listen = self.config.has_sessions();
            if may_listen && listener.is_none() && next_try <= Instant::now() {
                next_try = Instant::now() + SLOW_POLL;
                listener = self.listen().await;
                if listener.is_some() {
                    // What was said before is lost.
                    self.signals.notify_all();
                }
            }
            let pause = if listener.is_some() { SLOW_POLL } else { POLL };
            // A guard that comes while others wait stirs as well; it loses nothing by a look.
            let _ = tokio::time::timeout(pause, self.stir.notified()).await;
            self.look(&mut seen).await;
        }
    }

    async fn listen(self: &Arc<Self>) -> Option<Listener> {
        let listening = async {
            let heard = Arc::clone(self);
            let (client, running) = connection::alone(&self.config, move |message| {
                if let AsyncMessage::Notification(news) = message {
                    heard.signals.notify(news.payload());
                }
            })
            .await?;
            let listener = Listener { client, running };
            let channel = quoted(&self.config.schema);
            let listen = format!("LISTEN {channel}");
            let listening = listener.client.batch_execute(&listen).await;
            listening.map_err(failed("changed"))?;
            Ok::<_, sync_core::Error>(listener)
        };
        match listening.await {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!(backend = NAME, %error, "cannot listen, polling instead");
                None
            }
        }
    }

    /// Asks what has changed since the last look, and wakes whoever waits for that.
    async fn look(&self, seen: &mut HashMap<String, String>) {
        let names = self.signals.names();
        let found = match self.ask(&names).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(backend = NAME, %error, "cannot look for changes");
                return;
            }
        };
        for (name, mark) in &found {
            if seen.get(name) != Some(mark) {
                self.signals.notify(name);
            }
        }
        *seen = found;
    }

    async fn ask(&self, names: &[SpaceName]) -> Result<HashMap<String, String>> {
        let names: Vec<&str> = names.iter().map(SpaceName::as_str).collect();
        let connection = self.pool.reader("changed").await?;
        let watch = &connection.statements().watch;
        let rows = scan::one(&connection, watch, &[&names]).await?;
        rows.iter()
            .map(|row| Ok((value(row, 0)?, value(row, 1)?)))
            .collect()
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
        assert_eq!(signals.names().len(), kept.len());
    }
}
