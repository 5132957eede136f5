use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::count::Count;

/// The time between two lines where standard error is not a terminal.
pub(crate) const LINES: Duration = Duration::from_secs(10);
/// Cells of a bar.
const CELLS: u64 = 24;

/// A count on standard error: redrawn in place on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    what: &'static str,
    line: StatusLine,
}

impl Progress {
    /// A count of `what`, which shows nothing until some time has gone by.
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            line: StatusLine::new(Duration::from_secs(1), LINES),
        }
    }

    /// Shows the count, unless it was shown a moment ago.
    pub(crate) fn at(&mut self, count: u64) {
        if self.line.is_due().is_some() {
            self.line.write(&format!("{}: {count}", self.what));
        }
    }
}

/// A bar on standard error for work in phases: redrawn in place on a terminal, a line now and then
/// elsewhere.
pub(crate) struct Bar {
    line: StatusLine,
    /// The step that was shown last: a line that says the same is not written again.
    shown: Option<Step>,
}

/// The progress of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) phase: &'static str,
    /// How far the phase is, of how much, where that is known.
    pub(crate) part: Option<(u64, u64)>,
    /// Records of all phases.
    pub(crate) count: u64,
}

impl Bar {
    /// A bar that writes a line every `lines` where it is not redrawn.
    pub(crate) fn new(lines: Duration) -> Self {
        Self {
            line: StatusLine::new(Duration::from_millis(100), lines),
            shown: None,
        }
    }

    /// Shows the step, unless one was shown a moment ago, or it is the one that was shown last.
    pub(crate) fn at(&mut self, step: Step) {
        if self.shown.is_some_and(|shown| shown.shows(&step)) {
            return;
        }
        let Some(since) = self.line.is_due() else {
            return;
        };
        let before = self.shown.map_or(0, |shown| shown.count);
        let rate = per_second(step.count.saturating_sub(before), since);
        self.line.write(&step.line(self.line.terminal, rate));
        self.shown = Some(step);
    }

    /// Clears the bar, so that something else can be written. It comes back when it is next due.
    pub(crate) fn clear(&mut self) {
        self.line.clear();
    }
}

impl Step {
    /// Whether `later` would show the same: after the end of a part only the count still grows.
    fn shows(&self, later: &Self) -> bool {
        let is_at_end = later.part.is_some_and(|(at, of)| at >= of);
        self.phase == later.phase
            && self.part == later.part
            && (self.count == later.count || is_at_end)
    }

    fn line(&self, bar: bool, rate: u64) -> String {
        let Self { phase, part, count } = self;
        let mut line = format!("{phase:<9}");
        if let Some((at, of)) = part.filter(|(_, of)| *of > 0) {
            let at = at.min(of);
            if bar {
                let full = at.saturating_mul(CELLS) / of;
                let cell = |n| if n < full { '#' } else { '.' };
                line.push_str(" [");
                line.extend((0..CELLS).map(cell));
                line.push(']');
            }
            let _ = write!(line, " {:>3} %", at.saturating_mul(100) / of);
        }
        let _ = write!(line, "  {}, {rate}/s", Count(count, "record"));
        line
    }
}

/// `count` in `time`, for each second.
pub(crate) fn per_second(count: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    count.saturating_mul(1_000) / millis
}

/// A line on standard error, and when it was last written.
struct StatusLine {
    terminal: bool,
    pause: Duration,
    last: Instant,
    drawn: bool,
}

impl StatusLine {
    fn new(redraw: Duration, lines: Duration) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            pause: if terminal { redraw } else { lines },
            last: Instant::now(),
            drawn: false,
        }
    }

    /// The time since the last writing, where it is time for the next.
    fn is_due(&mut self) -> Option<Duration> {
        let since = self.last.elapsed();
        if since < self.pause {
            return None;
        }
        self.last = Instant::now();
        Some(since)
    }

    fn write(&mut self, line: &str) {
        if self.terminal {
            self.drawn = true;
            show(&format!("\r{line}\x1b[K"));
        } else {
            show(&format!("{line}\n"));
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            show("\r\x1b[K");
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes a note for a person, apart from the command's result.
pub(crate) fn note(text: &str) {
    show(&format!("note: {text}\n"));
}

/// Clears the terminal's line, which another process may have drawn.
pub(crate) fn clear_line() {
    if io::stderr().is_terminal() {
        show("\r\x1b[K");
    }
}

/// Writes to standard error, and ignores a failure: the command's result does not depend on it.
pub(crate) fn show(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_its_phase_its_part_where_that_is_known_and_its_rate() {
        let step = |part| Step {
            phase: "changes",
            part,
            count: 1_200,
        };
        for (part, line, bar) in [
            (
                None,
                "changes    1200 records, 40/s",
                "changes    1200 records, 40/s",
            ),
            (
                Some((0, 0)),
                "changes    1200 records, 40/s",
                "changes    1200 records, 40/s",
            ),
            (
                Some((1, 3)),
                "changes    33 %  1200 records, 40/s",
                "changes   [########................]  33 %  1200 records, 40/s",
            ),
            (
                Some((9, 3)),
                "changes   100 %  1200 records, 40/s",
                "changes   [########################] 100 %  1200 records, 40/s",
            ),
        ] {
            assert_eq!(step(part).line(false, 40), line);
            assert_eq!(step(part).line(true, 40), bar);
        }
    }

    #[test]
    fn a_rate_is_per_second_whatever_the_time() {
        assert_eq!(per_second(500, Duration::from_millis(250)), 2_000);
        assert_eq!(per_second(500, Duration::from_secs(10)), 50);
        assert_eq!(per_second(500, Duration::ZERO), 500_000);
    }
}
