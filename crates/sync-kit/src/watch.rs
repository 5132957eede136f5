//! A task that notices what other processes and handles commit, while anyone waits for it.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use sync_core::{Result, SpaceName};
use tokio::time::sleep;

use crate::Spaces;

/// Marks of spaces that nothing waits for any more, from which on all marks are forgotten. That costs
/// each waiter one look.
const FORGOTTEN: usize = 1_000;

/// How a database tells that a space has changed.
pub trait Marks: Send + 'static {
    /// What differs after each page of a space.
    type Mark: PartialEq + Send;

    /// How long to wait until the next look. A database that notifies can be looked at rarely.
    fn pause(&mut self) -> impl Future<Output = Duration> + Send;

    /// The marks of those of `spaces` that exist; `None` where the database is gone for good.
    fn look(
        &mut self,
        spaces: Vec<SpaceName>,
    ) -> impl Future<Output = Option<Result<HashMap<SpaceName, Self::Mark>>>> + Send;
}

/// Looks at the marks of every space that is waited for, and wakes its waiters where they differ
/// from the last look. Everyone is woken where a look fails, and after `longest` in any case:
/// their own look tells them more. Ends with `spaces`, or with the database.
pub async fn watch<Local: Send + Sync, M: Marks>(
    spaces: Weak<Spaces<Local>>,
    mut marks: M,
    longest: Duration,
) {
    let mut seen = HashMap::new();
    let mut all_woken = Instant::now();
    loop {
        let Some(open) = spaces.upgrade() else { return };
        let stirred = open.stirred();
        let idle = open.waited_for().is_empty();
        drop(open);
        if idle {
            // Ends when the spaces are gone: the event is dropped with them, and its task with the
            // runtime.
            stirred.await;
            continue;
        }
        // A new waiter does not cut the pause short: it has looked for itself, and a reader that waits
        // again after every page would otherwise cost a query each time.
        sleep(marks.pause().await).await;
        let Some(open) = spaces.upgrade() else { return };
        let waited_for = open.waited_for();
        drop(open);
        let names = waited_for.iter().map(|space| space.name().clone());
        let Some(found) = marks.look(names.collect()).await else {
            return;
        };
        if let Err(error) = &found {
            tracing::debug!(%error, "cannot look for changes");
        }
        let wake_all = found.is_err() || all_woken.elapsed() >= longest;
        if wake_all {
            all_woken = Instant::now();
        }
        let mut found = found.unwrap_or_default();
        if seen.len() > 2 * waited_for.len() + FORGOTTEN {
            seen.clear();
        }
        for space in waited_for {
            // `None` is the mark of a space that does not exist.
            let mark = found.remove(space.name());
            // A waiter on a space that is seen for the first time may have looked before this.
            if wake_all || seen.get(space.name()) != Some(&mark) {
                space.notify();
            }
            seen.insert(space.name().clone(), mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event_listener::{EventListener, Listener as _};

    use super::*;
    use crate::Space;
    use crate::driver::Driver;

    /// A database whose looks end, and which tells after each look whether it woke the waiters.
    struct Looks {
        space: Arc<Space<()>>,
        marks: std::vec::IntoIter<Option<u8>>,
        listener: Option<EventListener>,
        woken: Arc<std::sync::Mutex<Vec<bool>>>,
    }

    impl Marks for Looks {
        type Mark = u8;

        async fn pause(&mut self) -> Duration {
            Duration::ZERO
        }

        async fn look(
            &mut self,
            _: Vec<SpaceName>,
        ) -> Option<Result<HashMap<SpaceName, Self::Mark>>> {
            if let Some(listener) = self.listener.take() {
                let woken = listener.wait_timeout(Duration::ZERO).is_some();
                self.woken.lock().unwrap().push(woken);
            }
            self.listener = Some(self.space.listen());
            let mark = self.marks.next()?;
            let name = self.space.name().clone();
            Some(Ok(mark.map(|mark| (name, mark)).into_iter().collect()))
        }
    }

    #[test]
    fn waiters_are_woken_by_a_mark_that_differs_and_by_no_other() {
        let spaces = Arc::new(Spaces::default());
        let space = spaces.open(&SpaceName::new("a").unwrap(), || ());
        let _waiting = spaces.wait_for(&space);
        let woken = Arc::default();
        let marks = vec![None, None, Some(1), Some(1), Some(2), None, None];
        let looks = Looks {
            space,
            marks: marks.into_iter(),
            listener: None,
            woken: Arc::clone(&woken),
        };
        let watching = watch(Arc::downgrade(&spaces), looks, Duration::MAX);
        let driver = Driver::new("test").unwrap();
        pollster::block_on(driver.read(async {
            watching.await;
            Ok(())
        }))
        .unwrap();
        let expected = [true, false, true, false, true, true, false];
        assert_eq!(*woken.lock().unwrap(), expected);
    }
}
