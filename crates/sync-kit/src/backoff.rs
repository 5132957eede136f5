//! Pauses between attempts.

use std::time::{Duration, Instant};

use sync_core::{Applied, Page, Retry, SyncStore};

/// How long to go on trying, and how long to pause in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No attempt begins later than this after the first one.
    pub deadline: Duration,
    /// The first pause is at most this long; each further one at most twice as long as the last.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Policy {
    /// Pauses from 5 to 500 milliseconds, until `deadline`.
    pub const fn until(deadline: Duration) -> Self {
        Self {
            deadline,
            first: Duration::from_millis(5),
            longest: Duration::from_millis(500),
        }
    }
}

/// The pauses of one call: random, so that those who collide do not collide again, and growing.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    began: Instant,
    most: Duration,
}

impl Backoff {
    /// Pauses that begin now.
    pub fn new(policy: Policy) -> Self {
        Self {
            began: Instant::now(),
            most: policy.first,
            policy,
        }
    }

    /// The time since the first attempt began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The pause before the next attempt, between half of the current bound and the bound. `None`
    /// where that would begin after the deadline.
    pub fn pause(&mut self) -> Option<Duration> {
        let pause = self.most.mul_f64(0.5 + 0.5 * fastrand::f64());
        self.most = (2 * self.most).min(self.policy.longest);
        (self.began.elapsed() + pause <= self.policy.deadline).then_some(pause)
    }
}

/// Calls `attempt` until it succeeds, fails with an error that does not pass, or the deadline
/// comes; the last error is the answer. `sleep` is the caller's own timer.
pub async fn retrying<T, A, S>(
    policy: Policy,
    passes: impl Fn(&sync_core::Error) -> bool,
    sleep: impl Fn(Duration) -> S,
    mut attempt: impl FnMut() -> A,
) -> sync_core::Result<T>
where
    A: Future<Output = sync_core::Result<T>>,
    S: Future<Output = ()>,
{
    let mut backoff = Backoff::new(policy);
    let mut attempts = 0_u64;
    loop {
        attempts += 1;
        let error = match attempt().await {
            Err(error) if passes(&error) => error,
            answer => {
                tracing::Span::current().record("attempts", attempts);
                return answer;
            }
        };
        let Some(pause) = backoff.pause() else {
            return Err(error);
        };
        tracing::debug!(backend = error.backend(), %error, "trying again");
        sleep(pause).await;
    }
}

/// Applies a page, and again after errors that pass: for applications that have nothing better to
/// do meanwhile. `sleep` is the caller's own timer.
///
/// A page whose outcome is unknown is sent again only where that
/// [is safe](sync_core::Page::is_retry_safe). Where it had been applied after all, a page with a
/// precondition on a key that it changes ends in [`Conflict`](sync_core::ErrorKind::Conflict), and
/// one of plain upserts in outcomes that change nothing.
pub async fn apply_retrying<S>(
    store: &impl SyncStore,
    page: Page,
    policy: Policy,
    sleep: impl Fn(Duration) -> S,
) -> sync_core::Result<Applied>
where
    S: Future<Output = ()>,
{
    let safe = page.is_retry_safe();
    let passes = |error: &sync_core::Error| match error.retry() {
        Retry::Later => true,
        Retry::IfSafe => safe,
        Retry::Never => false,
    };
    retrying(policy, passes, sleep, || store.apply(page.clone())).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use pollster::block_on;
    use sync_core::{Error, ErrorKind};

    use super::*;

    const POLICY: Policy = Policy {
        deadline: Duration::from_hours(1),
        first: Duration::from_millis(4),
        longest: Duration::from_millis(20),
    };

    #[test]
    fn pauses_grow_to_the_longest_and_end_at_the_deadline() {
        let mut backoff = Backoff::new(POLICY);
        for most in [4, 8, 16, 20, 20, 20] {
            let pause = backoff.pause().unwrap();
            let most = Duration::from_millis(most);
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }
        let mut over = Backoff::new(Policy {
            deadline: Duration::ZERO,
            ..POLICY
        });
        assert_eq!(over.pause(), None);
    }

    /// How many attempts were made, where every attempt fails with `kind`, up to 5.
    fn attempts(kind: &ErrorKind) -> u32 {
        let made = Cell::new(0);
        let attempt = || {
            made.set(made.get() + 1);
            let answer = if made.get() == 5 {
                Ok(())
            } else {
                Err(Error::new(kind.clone()))
            };
            std::future::ready(answer)
        };
        let passes = |error: &Error| error.retry() == Retry::Later;
        let _ = block_on(retrying(
            POLICY,
            passes,
            |_| std::future::ready(()),
            attempt,
        ));
        made.get()
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        assert_eq!(attempts(&ErrorKind::Busy), 5);
        assert_eq!(attempts(&ErrorKind::Denied), 1);
    }
}
