//! The spaces that a backend has open: waking those who wait for a change, and one writer at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_lock::{Mutex as Queue, MutexGuard as Turn};
use event_listener::{Event, EventListener};
use sync_core::SpaceName;

/// A space, as all handles of one backend share it. `Local` is what the backend keeps of it in
/// memory.
pub struct Space<Local> {
    name: SpaceName,
    local: Local,
    /// Wakes the space's waiters.
    event: Event,
    /// Writers of one process queue here, before they compete with those of others.
    queue: Queue<()>,
    /// How many wait for a change.
    waiting: AtomicUsize,
}

impl<Local> Space<Local> {
    /// The space's name.
    pub const fn name(&self) -> &SpaceName {
        &self.name
    }

    /// What the backend keeps of the space in memory.
    pub const fn local(&self) -> &Local {
        &self.local
    }

    /// Wakes everyone who waits for a change: after a commit, and after an error whose outcome may
    /// be unknown, because a look costs little.
    pub fn notify(&self) {
        self.event.notify(usize::MAX);
    }

    /// Listens for the next [`notify`](Self::notify), from now on.
    pub fn listen(&self) -> EventListener {
        self.event.listen()
    }

    /// Waits until the writers that came before are done, and holds the others up until the turn is
    /// dropped.
    pub fn turn(&self) -> impl Future<Output = Turn<'_, ()>> + Send {
        self.queue.lock()
    }

    /// Whether anyone waits for a change.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}

/// The open spaces of one backend, by name. A space without a handle is forgotten.
pub struct Spaces<Local> {
    open: Mutex<Open<Local>>,
    /// Notified when a waiter begins to wait.
    stirred: Event,
}

struct Open<Local> {
    of: HashMap<SpaceName, Weak<Space<Local>>>,
    /// The number of spaces at which those without a handle are looked for.
    clean_at: usize,
}

impl<Local> Default for Spaces<Local> {
    fn default() -> Self {
        let open = Open {
            of: HashMap::new(),
            clean_at: 0,
        };
        Self {
            open: Mutex::new(open),
            stirred: Event::new(),
        }
    }
}

impl<Local> Spaces<Local> {
    /// The space called `name`, with `local` where no handle has it open.
    pub fn open(&self, name: &SpaceName, local: impl FnOnce() -> Local) -> Arc<Space<Local>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(space) = open.of.get(name).and_then(Weak::upgrade) {
            return space;
        }
        // Only when there are twice as many as were left the last time: opening a space costs the
        // same however many are open.
        if open.of.len() >= open.clean_at {
            open.of.retain(|_, space| space.strong_count() > 0);
            open.clean_at = 2 * open.of.len().max(8);
        }
        let space = Arc::new(Space {
            name: name.clone(),
            local: local(),
            event: Event::new(),
            queue: Queue::new(()),
            waiting: AtomicUsize::new(0),
        });
        open.of.insert(name.clone(), Arc::downgrade(&space));
        space
    }

    /// Every space that has a handle.
    pub fn all(&self) -> Vec<Arc<Space<Local>>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.of.values().filter_map(Weak::upgrade).collect()
    }

    /// Every space that has a waiter.
    pub fn waited_for(&self) -> Vec<Arc<Space<Local>>> {
        let mut spaces = self.all();
        spaces.retain(|space| space.is_waited_for());
        spaces
    }

    /// Wakes the waiters of the space called `name`, if it has a handle. Whether it has.
    pub fn notify(&self, name: &str) -> bool {
        let space = {
            let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let name = SpaceName::new(name).ok();
            name.and_then(|name| open.of.get(&name)?.upgrade())
        };
        space.map(|space| space.notify()).is_some()
    }

    /// Wakes the waiters of every space.
    pub fn notify_all(&self) {
        for space in self.all() {
            space.notify();
        }
    }

    /// Counts one who waits for a change of `space`, until the guard is dropped.
    pub fn wait_for(&self, space: &Arc<Space<Local>>) -> Waiting<Local> {
        space.waiting.fetch_add(1, Ordering::SeqCst);
        self.stir();
        Waiting(Arc::clone(space))
    }

    /// Wakes what listens for [`stirred`](Self::stirred), so that it looks whether it is to go on.
    pub fn stir(&self) {
        self.stirred.notify(usize::MAX);
    }

    /// Listens for the next one who begins to wait, from now on.
    pub fn stirred(&self) -> EventListener {
        self.stirred.listen()
    }
}

/// One who waits for a change of a space.
pub struct Waiting<Local>(Arc<Space<Local>>);

impl<Local> Drop for Waiting<Local> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u32) -> SpaceName {
        SpaceName::new(&n.to_string()).unwrap()
    }

    #[test]
    fn spaces_without_a_handle_are_forgotten_and_the_others_kept() {
        let spaces = Spaces::default();
        let kept: Vec<_> = (0..20).map(|n| spaces.open(&name(n), || n)).collect();
        for n in 20..1_000 {
            let _ = spaces.open(&name(n), || n);
        }
        assert!(spaces.open.lock().unwrap().of.len() <= 2 * 2 * kept.len());
        for (n, space) in (0..).zip(&kept) {
            let same = spaces.open(&name(n), || 0);
            assert!(Arc::ptr_eq(space, &same), "space {n}");
            assert_eq!(*same.local(), n);
        }
        assert_eq!(spaces.all().len(), kept.len());
    }

    #[test]
    fn a_guard_counts_as_waiting_until_it_is_dropped() {
        let spaces = Spaces::default();
        let space = spaces.open(&name(1), || ());
        let stirred = spaces.stirred();
        let waiting = spaces.wait_for(&space);
        pollster::block_on(stirred);
        assert_eq!(spaces.waited_for().len(), 1);
        drop(waiting);
        assert!(spaces.waited_for().is_empty());
    }

    #[test]
    fn a_notification_reaches_those_who_listened_before_it() {
        let spaces = Spaces::default();
        let space = spaces.open(&name(1), || ());
        let listener = space.listen();
        assert!(spaces.notify("1"));
        pollster::block_on(listener);
        assert!(!spaces.notify("2"));
        assert!(!spaces.notify("not a name"));
    }
}
