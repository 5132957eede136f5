//! How many tests run at once: enough to keep the processors busy.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// How long the processors are watched before another test is started.
pub(super) const LOOK: Duration = Duration::from_millis(300);

/// What counts as an idle processor: the share of the time of one that nothing used.
const IDLE: f64 = 0.4;

/// No more tests than these run for each processor, however little they do.
const MOST: usize = 4;

/// A number of tests that may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jobs {
    pub(super) at_least: usize,
    /// As long as a processor is idle.
    pub(super) at_most: usize,
}

impl Jobs {
    /// As many as are asked for. Else one for each processor, and more while one of those is idle,
    /// because all tests wait for a server or a timer.
    pub(super) fn of(asked: Option<usize>) -> Self {
        asked.map_or_else(Self::by_load, Self::exactly)
    }

    pub(super) fn exactly(count: usize) -> Self {
        let count = count.max(1);
        Self {
            at_least: count,
            at_most: count,
        }
    }

    fn by_load() -> Self {
        let processors = thread::available_parallelism().map_or(2, Into::into);
        match idle_ticks() {
            Some(_) => Self {
                at_least: processors,
                at_most: processors * MOST,
            },
            None => Self::exactly(processors + 1),
        }
    }
}

/// What the processors of this machine do.
#[derive(Default)]
pub(super) struct Load {
    last: Option<(Instant, u64)>,
}

impl Load {
    /// Whether a processor was idle since the last look, if that was long enough ago.
    pub(super) fn is_idle(&mut self) -> bool {
        let Some(ticks) = idle_ticks() else {
            return false;
        };
        let (since, before) = *self.last.get_or_insert((Instant::now(), ticks));
        if since.elapsed() < LOOK {
            return false;
        }
        self.last = Some((Instant::now(), ticks));
        idle_share(ticks.saturating_sub(before), since.elapsed()) > IDLE
    }
}

/// How many processors were idle, of ticks of a hundredth of a second.
fn idle_share(ticks: u64, during: Duration) -> f64 {
    Duration::from_millis(10 * ticks).as_secs_f64() / during.as_secs_f64()
}

/// The time that all processors together were idle since the machine started; none where the system
/// does not tell.
fn idle_ticks() -> Option<u64> {
    idle_of(&fs::read_to_string("/proc/stat").ok()?)
}

/// The fourth number of the first line. The fifth, waiting for the disk, is idle time too.
fn idle_of(stat: &str) -> Option<u64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
    let mut numbers = numbers.split_whitespace().skip(3);
    let mut next = || numbers.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_read_from_the_line_of_all_processors() {
        let stat = "cpu  100 1 20 3000 40 0 6 0 0 0\ncpu0 50 0 10 1500 20 0 3 0 0 0\n";
        assert_eq!(idle_of(stat), Some(3040));
        assert_eq!(idle_of("intr 1"), None);
    }

    #[test]
    fn the_idle_share_counts_processors() {
        let share = idle_share(30, Duration::from_millis(300));
        assert!((share - 1.0).abs() < 1e-9, "{share}");
    }

    #[test]
    fn a_look_that_comes_too_soon_starts_nothing() {
        let mut load = Load::default();
        assert!(!load.is_idle());
        assert!(!load.is_idle());
    }

    #[test]
    fn a_number_that_is_asked_for_holds_whatever_the_load() {
        assert_eq!(Jobs::of(Some(5)), Jobs::exactly(5));
        assert_eq!(Jobs::of(Some(0)), Jobs::exactly(1));
    }
}
