//! A task that notices what other processes and handles commit, while anyone waits for it.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use sync_core::{Result, SpaceName};
use tokio::time::sleep;

use crate::Spaces;

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
        for space in waited_for {
            let mark = found.remove(space.name());
            // Whoever waits for what is seen for the first time may have looked before it.
            let same = seen.get(space.name()) == Some(&mark);
            if wake_all || !same {
                space.notify();
            }
            seen.insert(space.name().clone(), mark);
        }
        seen.retain(|_, mark| mark.is_some());
    }
}
