use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use event_listener::Event;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use sync_core::SpaceName;
use tokio::sync::{self, Notify};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::NAME;
use crate::apply::Pace;
use crate::backend::Inner;
use crate::connection::login;
use crate::layout::SpaceKeys;

/// How often waiters look for themselves while no server tells them.
const POLL: Duration = Duration::from_millis(100);
/// How often they do although one does, because a notification is only a hint.
const SLOW_POLL: Duration = Duration::from_secs(5);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: a few
/// polls, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// What all handles of a backend on one space share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Wakes the space's waiters.
    pub(crate) event: Event,
    /// Held by the page that is on its way: the others queue here, in turn.
    pub(crate) turn: sync::Mutex<()>,
    pub(crate) pace: Pace,
}

/// What is shared for each space.
#[derive(Default)]
pub(crate) struct Signals(Mutex<Spaces>);

#[derive(Default)]
struct Spaces {
    of: HashMap<SpaceName, Weak<Shared>>,
    /// The number of spaces at which those without a handle are looked for.
    clean_at: usize,
}

impl Signals {
    /// What is shared for `space`.
    pub(crate) fn of(&self, space: &SpaceName) -> Arc<Shared> {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = spaces.of.get(space).and_then(Weak::upgrade) {
            return shared;
        }
        // Only when there are twice as many as were left the last time: opening a space costs the
        // same however many are open.
        if spaces.of.len() >= spaces.clean_at {
            spaces.of.retain(|_, shared| shared.strong_count() > 0);
            spaces.clean_at = 2 * spaces.of.len().max(8);
        }
        let shared = Arc::new(Shared::default());
        spaces.of.insert(space.clone(), Arc::downgrade(&shared));
        shared
    }

    /// Wakes the waiters of `space`, if it has a handle. Whether it has.
    fn notify(&self, space: &SpaceName) -> bool {
        let spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = spaces.of.get(space).and_then(Weak::upgrade);
        drop(spaces);
        shared
            .map(|shared| shared.event.notify(usize::MAX))
            .is_some()
    }
}

/// A task that listens, on a connection of its own, for what other processes and handles commit to
/// the spaces that anybody waited for.
pub(crate) struct Watcher {
    inner: Weak<Inner>,
    watched: Arc<Watched>,
}

struct Watched {
    signals: Arc<Signals>,
    spaces: Mutex<Option<HashMap<SpaceName, String>>>,
    /// Another space is to be listened for.
    added: Notify,
}

impl Watcher {
    pub(crate) fn new(inner: Weak<Inner>, signals: Arc<Signals>) -> Self {
        Self {
            inner,
            watched: Arc::new(Watched {
                signals,
                spaces: Mutex::default(),
                added: Notify::new(),
            }),
        }
    }

    /// Listens for changes of `space` until its last handle is gone.
    pub(crate) fn watch(&self, space: &SpaceName, keys: &SpaceKeys) {
        let mut spaces = self.watched.lock();
        let begin = spaces.is_none();
        let known = spaces.get_or_insert_default();
        if known.contains_key(space) {
            return;
        }
        known.insert(space.clone(), keys.channel.clone());
        drop(spaces);
        self.watched.added.notify_one();
        if let (true, Some(inner)) = (begin, self.inner.upgrade()) {
            let watched = Arc::clone(&self.watched);
            // Ends with the runtime, which ends with the backend.
            inner.runtime.spawn(watched.run(Weak::clone(&self.inner)));
        }
    }
}

impl Watched {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HashMap<SpaceName, String>>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spaces that are listened for, with their channels.
    fn spaces(&self) -> Vec<(SpaceName, String)> {
        let spaces = self.lock();
        let spaces = spaces.iter().flatten();
        spaces
            .map(|(space, channel)| (space.clone(), channel.clone()))
            .collect()
    }

    /// Wakes everybody, and forgets the spaces that have no handle any more.
    fn notify_all(&self) {
        for (space, _) in self.spaces() {
            if !self.signals.notify(&space) {
                self.lock().iter_mut().for_each(|spaces| {
                    spaces.remove(&space);
                });
            }
        }
    }

    async fn run(self: Arc<Self>, inner: Weak<Inner>) {
        loop {
            match listen(&inner).await {
                Some((sink, stream)) => {
                    self.follow(sink, stream).await;
                    tracing::debug!(backend = NAME, "the notification connection ended");
                }
                None if inner.strong_count() == 0 => return,
                None => {}
            }
            // Whatever was said meanwhile is lost: everybody looks.
            self.notify_all();
            sleep(POLL).await;
        }
    }

    /// Passes on what the server tells, until the connection ends.
    async fn follow(&self, mut sink: PubSubSink, mut stream: PubSubStream) {
        let mut listened: HashMap<String, SpaceName> = HashMap::new();
        let mut poll = Instant::now() + SLOW_POLL;
        loop {
            let spaces = self.spaces();
            for (space, channel) in &spaces {
                if listened.contains_key(channel) {
                    continue;
                }
                if sink.subscribe(channel).await.is_err() {
                    return;
                }
                listened.insert(channel.clone(), space.clone());
                // What was said before is lost.
                self.signals.notify(space);
            }
            if listened.len() > spaces.len() {
                let gone: Vec<_> = listened
                    .extract_if(|channel, _| !spaces.iter().any(|(_, other)| other == channel))
                    .collect();
                for (channel, _) in gone {
                    if sink.unsubscribe(channel).await.is_err() {
                        return;
                    }
                }
            }
            let added = pin!(self.added.notified());
            match timeout_at(poll, select(stream.next(), added)).await {
                Ok(Either::Left((Some(message), _))) => {
                    if let Some(space) = listened.get(message.get_channel_name()) {
                        self.signals.notify(space);
                    }
                }
                Ok(Either::Left((None, _))) => return,
                Ok(Either::Right(_)) => {}
                Err(_) => {
                    self.notify_all();
                    poll = Instant::now() + SLOW_POLL;
                }
            }
        }
    }
}

/// A connection to any server: a cluster passes notifications on to all its nodes.
async fn listen(inner: &Weak<Inner>) -> Option<(PubSubSink, PubSubStream)> {
    let inner = inner.upgrade()?;
    let (transport, addresses) = inner.servers.transport();
    let config = inner.servers.config().clone();
    drop(inner);
    for address in addresses {
        let connecting = async {
            let host = (address.host.as_str(), address.port);
            let found: Vec<_> = tokio::net::lookup_host(host).await.ok()?.collect();
            let stream = transport.connect(&address, &found, Arc::default());
            PubSub::new(&login(&config), stream.await.ok()?).await.ok()
        };
        if let Ok(Some(connection)) = timeout(config.connect_timeout, connecting).await {
            return Some(connection.split());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_without_a_handle_are_forgotten_and_the_others_kept() {
        let signals = Signals::default();
        let space = |n: u32| SpaceName::new(&n.to_string()).unwrap();
        let kept: Vec<_> = (0..20).map(|n| signals.of(&space(n))).collect();
        for n in 20..1_000 {
            let _ = signals.of(&space(n));
        }
        assert!(signals.0.lock().unwrap().of.len() <= 2 * 2 * kept.len());
        for (n, shared) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(shared, &signals.of(&space(n))), "space {n}");
        }
    }
}
