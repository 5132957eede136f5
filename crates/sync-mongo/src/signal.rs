use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use event_listener::Event;
use mongodb::bson::raw::{RawArrayBuf, RawDocument};
use mongodb::bson::rawdoc;
use sync_core::{Epoch, Result, SpaceName};

use crate::backend::Inner;
use crate::documents::{bytes, number, unreadable, wrong};
use crate::error::corrupt;
use crate::snapshot::{BATCH, Snapshot};

/// How often the server is asked whether somebody else has written to a space, while anyone waits.
const POLL: Duration = Duration::from_millis(50);
/// How often everyone who waits looks for themselves, whatever the poll says.
const LOOK: Duration = Duration::from_secs(2);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: several
/// polls, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// What the handles of one space share within a backend.
#[derive(Default)]
pub(crate) struct Signal {
    /// Wakes `changed`.
    pub(crate) event: Event,
    /// Whose turn it is to write. Fair: writers of one process do not compete for the server's lock.
    pub(crate) turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
}

impl Signal {
    pub(crate) fn notify(&self) {
        self.event.notify(usize::MAX);
    }
}

/// The signals of a backend's spaces.
#[derive(Default)]
pub(crate) struct Signals {
    spaces: Mutex<Spaces>,
    /// The watcher runs.
    watched: AtomicBool,
}

#[derive(Default)]
struct Spaces {
    of: HashMap<SpaceName, Weak<Signal>>,
    /// The number of signals at which those without a handle are looked for.
    clean_at: usize,
}

impl Signals {
    /// The signal of `space`.
    pub(crate) fn of(&self, space: &SpaceName) -> Arc<Signal> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = spaces.of.get(space).and_then(Weak::upgrade) {
            return signal;
        }
        // Only when there are twice as many as were left the last time: opening a space costs the
        // same however many are open.
        if spaces.of.len() >= spaces.clean_at {
            spaces.of.retain(|_, signal| signal.strong_count() > 0);
            spaces.clean_at = 2 * spaces.of.len().max(8);
        }
        let signal = Arc::new(Signal::default());
        spaces.of.insert(space.clone(), Arc::downgrade(&signal));
        signal
    }

    /// The spaces that somebody waits for.
    fn waited_for(&self) -> Vec<(SpaceName, Arc<Signal>)> {
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let signals = spaces.of.iter().filter_map(|(space, signal)| {
            let signal = signal.upgrade()?;
            let waiting = signal.waiting.load(Ordering::SeqCst) > 0;
            waiting.then(|| (space.clone(), signal))
        });
        signals.collect()
    }
}

/// Keeps the watcher looking at a space.
pub(crate) struct WatchGuard(Arc<Signal>);

impl Drop for WatchGuard {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Watches the space of `signal` until the guard is dropped.
pub(crate) fn watch(inner: &Arc<Inner>, signal: &Arc<Signal>) -> WatchGuard {
    signal.waiting.fetch_add(1, Ordering::SeqCst);
    if !inner.signals.watched.swap(true, Ordering::SeqCst) {
        let backend = Arc::downgrade(inner);
        inner.executor.background(run(backend));
    }
    WatchGuard(Arc::clone(signal))
}

/// Notices what other processes and handles commit, as long as anyone waits for it.
async fn run(backend: Weak<Inner>) {
    let mut seen: HashMap<SpaceName, Version> = HashMap::new();
    let mut looked = Instant::now();
    loop {
        tokio::time::sleep(POLL).await;
        let Some(inner) = backend.upgrade() else {
            return;
        };
        let mut waited_for = inner.signals.waited_for();
        if waited_for.is_empty() {
            inner.signals.watched.store(false, Ordering::SeqCst);
            // Somebody may have come since, and have taken this watcher for running.
            waited_for = inner.signals.waited_for();
            if waited_for.is_empty() || inner.signals.watched.swap(true, Ordering::SeqCst) {
                return;
            }
        }
        let found = versions(&inner, &waited_for).await;
        let everyone = found.is_err() || looked.elapsed() >= LOOK;
        if everyone {
            looked = Instant::now();
        }
        let found = found.unwrap_or_default();
        for (space, signal) in waited_for {
            let version = found.get(&space).copied().unwrap_or_default();
            // Whoever waits for what is seen for the first time may have looked before it.
            let known = seen.insert(space, version);
            if everyone || known != Some(version) {
                signal.notify();
            }
        }
    }
}

/// Which transaction has written a space last; nothing where there is no space.
type Version = Option<(Epoch, i64)>;

async fn versions(
    inner: &Inner,
    spaces: &[(SpaceName, Arc<Signal>)],
) -> Result<HashMap<SpaceName, Version>> {
    let names: RawArrayBuf = spaces.iter().map(|(space, _)| space.as_str()).collect();
    let mut snapshot = Snapshot::new(&inner.database, "changed");
    let command = rawdoc! {
        "find": inner.database.collections.spaces.as_str(),
        "filter": { "_id": { "$in": names } },
        "projection": { "epoch": 1, "writes": 1 },
        "hint": { "_id": 1 },
        "batchSize": BATCH,
    };
    let found = snapshot.find_all(command, version).await?;
    Ok(found.into_iter().collect())
}

fn version(document: &RawDocument) -> Result<(SpaceName, Version)> {
    let field = |name: &'static str| {
        let value = document.get(name).map_err(unreadable)?;
        value.ok_or_else(|| wrong(name))
    };
    let name = document.get_str("_id").map_err(|_| wrong("_id"))?;
    let epoch = Epoch::try_from(bytes(field("epoch")?)?).map_err(corrupt)?;
    let version = (epoch, number(field("writes")?)?);
    Ok((SpaceName::new(name).map_err(corrupt)?, Some(version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_without_a_handle_are_forgotten_and_the_others_kept() {
        let signals = Signals::default();
        let space = |n: u32| SpaceName::new(&n.to_string()).unwrap();
        let kept: Vec<_> = (0..20).map(|n| signals.of(&space(n))).collect();
        for n in 20..1_000 {
            let _ = signals.of(&space(n));
        }
        assert!(signals.spaces.lock().unwrap().of.len() <= 2 * 2 * kept.len());
        for (n, signal) in (0..).zip(&kept) {
            assert!(Arc::ptr_eq(signal, &signals.of(&space(n))), "space {n}");
        }
    }
}
