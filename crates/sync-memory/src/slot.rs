use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use event_listener::{Event, EventListener};

use crate::space::Space;

/// The place of one space in the database: its current snapshot, or none where the space does not
/// exist.
#[derive(Default)]
pub(crate) struct Slot {
    /// Locked for as long as it takes to copy or swap a pointer: readers never wait for a page.
    current: RwLock<Option<Arc<Space>>>,
    writer: Mutex<()>,
    committed: Event,
}

/// The one writer of a space, for as long as it lives.
pub(crate) struct Writer<'a> {
    slot: &'a Slot,
    current: Option<Arc<Space>>,
    lock: MutexGuard<'a, ()>,
}

impl Slot {
    /// The current snapshot.
    pub(crate) fn read(&self) -> Option<Arc<Space>> {
        // Poison says that a thread panicked, not that the snapshot is torn: it is swapped whole.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Waits for the writer before, and is the writer then.
    pub(crate) fn write(&self) -> Writer<'_> {
        let lock = lock(&self.writer);
        Writer {
            slot: self,
            current: self.read(),
            lock,
        }
    }

    /// Hears of every commit from now on.
    pub(crate) fn listen(&self) -> EventListener {
        self.committed.listen()
    }
}

impl Writer<'_> {
    /// The snapshot to begin from.
    pub(crate) fn current(&self) -> Option<&Space> {
        self.current.as_deref()
    }

    /// Makes `next` the current snapshot, wakes who waits for it, and gives back the one before.
    pub(crate) fn commit(self, next: Option<Space>) -> Option<Arc<Space>> {
        let next = next.map(Arc::new);
        let mut current = self
            .slot
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = next;
        drop(current);
        // A waker may run anything, so nothing is locked when it is called.
        drop(self.lock);
        self.slot.committed.notify(usize::MAX);
        self.current
    }
}

/// Locks `mutex`. What it guards is whole even if a thread panicked: see where each is used.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
