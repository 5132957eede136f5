use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A count on standard error: redrawn in place on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    what: &'static str,
    terminal: bool,
    last: Instant,
    drawn: bool,
}

impl Progress {
    /// A count of `what`, which shows nothing until some time has gone by.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            terminal: io::stderr().is_terminal(),
            last: Instant::now(),
            drawn: false,
        }
    }

    /// Shows the count, unless it was shown a moment ago.
    pub(crate) fn at(&mut self, count: u64) {
        let pause = Duration::from_secs(if self.terminal { 1 } else { 10 });
        if self.last.elapsed() < pause {
            return;
        }
        self.last = Instant::now();
        if self.terminal {
            self.drawn = true;
            show(&format!("\r{count} {}", self.what));
        } else {
            show(&format!("{count} {}\n", self.what));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            show("\r\x1b[K");
        }
    }
}

/// Tells a person something that is not the command's result.
pub(crate) fn note(text: &str) {
    show(&format!("note: {text}\n"));
}

/// Writes to standard error. That nobody reads it is no reason to fail.
fn show(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
