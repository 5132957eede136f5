//! A task that is told by a server what other processes and handles commit.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::NAME;
use crate::connection::login;
use crate::engine::Redis;
use crate::space::Shared;

/// How often waiters look for themselves while no server tells them.
const POLL: Duration = Duration::from_millis(100);
/// How often they do although one does, because a notification is only a hint.
const SLOW_POLL: Duration = Duration::from_secs(5);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: a few
/// polls, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// The spaces that were ever waited for and still have a handle, by their channels.
#[derive(Default)]
struct Watched(HashMap<String, Weak<Shared>>);

/// Subscribes, on a connection of its own, to the spaces that come through `spaces`, and wakes their
/// waiters. Connects when the first one comes, and ends with the engine.
pub(crate) async fn watch(engine: Weak<Redis>, mut spaces: UnboundedReceiver<Weak<Shared>>) {
    let mut watched = Watched::default();
    let Some(first) = spaces.recv().await else {
        return;
    };
    watched.add(first);
    loop {
        if let Some((sink, stream)) = connect(&engine).await {
            watched.follow(sink, stream, &mut spaces).await;
            tracing::debug!(backend = NAME, "the notification connection ended");
        }
        if engine.strong_count() == 0 {
            return;
        }
        // What the server tells now is lost, so all waiters look for themselves.
        while let Ok(space) = spaces.try_recv() {
            watched.add(space);
        }
        watched.notify_all();
        sleep(POLL).await;
    }
}

impl Watched {
    /// Adds a space. Its channel, where the space has a handle, and whether it is a new one.
    fn add(&mut self, space: Weak<Shared>) -> Option<(String, bool)> {
        let channel = space.upgrade()?.local().keys.channel.clone();
        let before = self.0.insert(channel.clone(), space);
        Some((channel, before.is_none()))
    }

    fn notify(&self, channel: &str) {
        if let Some(space) = self.0.get(channel).and_then(Weak::upgrade) {
            space.notify();
        }
    }

    fn notify_all(&self) {
        for space in self.0.values().filter_map(Weak::upgrade) {
            space.notify();
        }
    }

    /// Passes on what the server tells, until the connection or the engine ends.
    async fn follow(
        &mut self,
        mut sink: PubSubSink,
        mut stream: PubSubStream,
        spaces: &mut UnboundedReceiver<Weak<Shared>>,
    ) {
        for channel in self.0.keys() {
            if sink.subscribe(channel).await.is_err() {
                return;
            }
        }
        self.notify_all();
        let mut poll = Instant::now() + SLOW_POLL;
        loop {
            // The rare one first: a stream that always has a message must not keep it waiting.
            let added = pin!(spaces.recv());
            match timeout_at(poll, select(added, stream.next())).await {
                Ok(Either::Right((Some(message), _))) => self.notify(message.get_channel_name()),
                Ok(Either::Right((None, _)) | Either::Left((None, _))) => return,
                Ok(Either::Left((Some(space), _))) => {
                    let Some((channel, is_new)) = self.add(space) else {
                        continue;
                    };
                    if is_new && sink.subscribe(&channel).await.is_err() {
                        return;
                    }
                    // What was told before is lost, also what came for a handle that is gone.
                    self.notify(&channel);
                }
                Err(_) => {
                    let gone = self.0.extract_if(|_, space| space.strong_count() == 0);
                    for (channel, _) in gone.collect::<Vec<_>>() {
                        if sink.unsubscribe(channel).await.is_err() {
                            return;
                        }
                    }
                    self.notify_all();
                    poll = Instant::now() + SLOW_POLL;
                }
            }
        }
    }
}

/// A connection to any server: a cluster passes notifications on to all its nodes.
async fn connect(engine: &Weak<Redis>) -> Option<(PubSubSink, PubSubStream)> {
    let engine = engine.upgrade()?;
    let (transport, addresses) = engine.servers.transport();
    let config = engine.servers.config().clone();
    drop(engine);
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
