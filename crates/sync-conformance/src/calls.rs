//! The calls of a case, so that one that takes too long can say what it was doing.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Methods that are named with the time they took.
const SHOWN: usize = 3;

/// The calls that one case has made, and those it is making. Shared by its threads.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The calls that have begun and not ended, by their number.
    running: BTreeMap<u64, Running>,
    begun: u64,
    ended: BTreeMap<&'static str, Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    method: &'static str,
    since: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    calls: u64,
    took: Duration,
}

impl Calls {
    /// Makes a call of `method`.
    pub(crate) fn during<T>(&self, method: &'static str, call: impl FnOnce() -> T) -> T {
        let number = self.begin(method);
        let guard = Guard(self, number);
        let answer = call();
        drop(guard);
        answer
    }

    fn begin(&self, method: &'static str) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        let number = state.begun;
        let since = Instant::now();
        state.running.insert(number, Running { method, since });
        number
    }

    fn end(&self, number: u64) {
        let mut state = self.state();
        if let Some(Running { method, since }) = state.running.remove(&number) {
            let ended = state.ended.entry(method).or_default();
            ended.calls += 1;
            ended.took += since.elapsed();
        }
    }

    /// A panic of one thread says nothing about the calls of another.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The method that takes most of the time: one that is running, else one that has run.
    pub(crate) fn slowest(&self) -> Option<&'static str> {
        let state = self.state();
        let running = state.running.values().map(|running| {
            let before = state.ended.get(running.method);
            let before = before.map_or(Duration::ZERO, |ended| ended.took);
            (before + running.since.elapsed(), running.method)
        });
        let ended = state
            .ended
            .iter()
            .map(|(method, ended)| (ended.took, *method));
        running.chain(ended).max().map(|(_, method)| method)
    }
}

struct Guard<'a>(&'a Calls, u64);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// `in feed for 3.2 s; before that 48211 calls of feed took 580.1 s, 3 of apply took 0.4 s`
impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let mut text = String::new();
        for running in state.running.values() {
            let comma = if text.is_empty() { "in" } else { ", in" };
            let seconds = running.since.elapsed().as_secs_f64();
            write!(text, "{comma} {} for {seconds:.1} s", running.method)?;
        }
        if text.is_empty() {
            text.push_str("between two calls");
        }
        let mut ended: Vec<_> = state.ended.iter().collect();
        ended.sort_by_key(|(_, ended)| std::cmp::Reverse(ended.took));
        for (n, (method, ended)) in ended.into_iter().take(SHOWN).enumerate() {
            let before = if n == 0 { "; before that" } else { "," };
            let (calls, seconds) = (ended.calls, ended.took.as_secs_f64());
            let of = if calls == 1 { "call of" } else { "calls of" };
            write!(text, "{before} {calls} {of} {method} took {seconds:.1} s")?;
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_that_run_and_those_that_have_ended_are_named() {
        let calls = Calls::default();
        assert_eq!(calls.to_string(), "between two calls");
        calls.during("apply", || {});
        calls.during("apply", || {});
        calls.during("feed", || {
            let text = calls.to_string();
            assert!(
                text.starts_with("in feed for 0.0 s; before that 2 calls of apply took 0.0 s"),
                "{text}"
            );
        });
        assert!(
            calls
                .to_string()
                .starts_with("between two calls; before that ")
        );
        assert!(calls.to_string().contains("1 call of feed took"));
    }

    #[test]
    fn a_call_that_panics_has_ended() {
        let calls = Calls::default();
        let call = std::panic::AssertUnwindSafe(|| calls.during("get", || panic!("expected")));
        assert!(std::panic::catch_unwind(call).is_err());
        assert!(calls.to_string().starts_with("between two calls"));
        assert_eq!(calls.slowest(), Some("get"));
    }
}
