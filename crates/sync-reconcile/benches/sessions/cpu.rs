//! Processor time, which a busy machine changes less than the time on the wall.

use rustix::time::{ClockId, clock_gettime};

/// Seconds of this thread that `work` takes, and what it returns.
pub(crate) fn time<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = used();
    let result = work();
    (used() - before, result)
}

pub(crate) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn used() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}
