//! Signals that ask the program to end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_listener::{Event, Listener as _};
use futures_util::future::{Either, select};

use crate::failure::{Failure, Result};

/// Whether SIGINT, SIGTERM or SIGHUP came. A second one ends the process at once.
#[derive(Clone)]
pub(crate) struct Stop(Arc<Asked>);

struct Asked {
    asked: AtomicBool,
    event: Event,
}

impl Stop {
    /// Handles the signals from now on, which would end the process otherwise. Called once.
    pub(crate) fn on_signals() -> Result<Self> {
        let stop = Self(Arc::new(Asked {
            asked: AtomicBool::new(false),
            event: Event::new(),
        }));
        let asked = Arc::clone(&stop.0);
        ctrlc::set_handler(move || {
            if asked.asked.swap(true, Ordering::SeqCst) {
                // 128 and the number of SIGINT: the shells' convention.
                std::process::exit(130);
            }
            asked.event.notify(usize::MAX);
        })
        .map_err(|error| Failure::io("signals", std::io::Error::other(error)))?;
        Ok(stop)
    }

    /// Waits for `time`, or until the end is asked for; answers whether it is.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let listener = self.0.event.listen();
        if !self.is_asked() {
            listener.wait_timeout(time);
        }
        self.is_asked()
    }

    /// Waits until the end is asked for.
    pub(crate) fn wait_for(&self) {
        let listener = self.0.event.listen();
        if !self.is_asked() {
            listener.wait();
        }
    }

    /// Does `work`, or drops it when the end is asked for and answers nothing.
    pub(crate) async fn unless<T>(&self, work: impl Future<Output = T> + Send) -> Option<T> {
        let listener = self.0.event.listen();
        if self.is_asked() {
            return None;
        }
        match select(pin!(work), listener).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }
}
