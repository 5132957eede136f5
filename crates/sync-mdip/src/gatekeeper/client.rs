//! Requests, and when to send one again.

use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use sync_hydrate::{SourceError, SourceErrorKind};
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::{GatekeeperConfig, GatekeeperUrl};
use crate::export::{Stop, shown};

/// How many bytes are read of an answer that is an error.
const REASON_BYTES: u64 = 4096;

/// How often a pause checks whether the request was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// Whether the request was cancelled: its future was dropped.
pub(crate) type Cancelled<'c> = &'c dyn Fn() -> bool;

#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    config: GatekeeperConfig,
}

/// Why an attempt failed.
struct Failure {
    error: SourceError,
    /// The pause that the Gatekeeper asks for.
    after: Option<Duration>,
}

impl Client {
    pub(crate) fn new(config: GatekeeperConfig) -> Self {
        let builder = Agent::config_builder()
            .user_agent(concat!("sync-mdip/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(config.connect_timeout))
            .timeout_global(Some(config.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false);
        let builder = if config.url.is_loopback() {
            builder.proxy(None)
        } else {
            builder
        };
        Self {
            agent: builder.build().new_agent(),
            config,
        }
    }

    pub(crate) fn config(&self) -> &GatekeeperConfig {
        &self.config
    }

    /// Sends `request` and reads its answer with `read`, until that succeeds, fails for good, or the
    /// attempts are used up.
    pub(crate) fn ask<T>(
        &self,
        request: &str,
        cancelled: Cancelled<'_>,
        mut read: impl FnMut(&mut dyn Read) -> Result<T, Stop>,
    ) -> Result<T, SourceError> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(request, cancelled, &mut read) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let enough = attempt >= self.config.attempts;
            if !failure.error.is_retryable() || enough || cancelled() {
                return Err(failure.error);
            }
            self.pause(attempt, failure.after, cancelled);
            if cancelled() {
                return Err(failure.error);
            }
            attempt += 1;
        }
    }

    fn attempt<T>(
        &self,
        request: &str,
        cancelled: Cancelled<'_>,
        read: impl FnOnce(&mut dyn Read) -> Result<T, Stop>,
    ) -> Result<T, Failure> {
        let url = &self.config.url;
        let mut post = self
            .agent
            .post(url.export())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = url.authorization() {
            post = post.header(header::AUTHORIZATION, authorization);
        }
        let response = post.send(request).map_err(|error| self.failed(error))?;
        if response.status() != StatusCode::OK {
            return Err(refused(response));
        }
        let mut body = Watched {
            inner: response.into_body().into_reader(),
            cancelled,
        };
        read(&mut body).map_err(|stop| match stop {
            Stop::Read(error) => self.failed(error.into()),
            Stop::Truncated => Failure::of(SourceErrorKind::Unavailable, "the answer is truncated"),
            // The reader handles an answer that is too long.
            Stop::TooLong => Failure::of(SourceErrorKind::Protocol, "the answer is too long"),
            Stop::Malformed { at } => Failure::of(
                SourceErrorKind::Protocol,
                &format!("the answer is no export from byte {at} on"),
            ),
        })
    }

    /// The failure of a request that got no answer.
    fn failed(&self, error: ureq::Error) -> Failure {
        use SourceErrorKind::{Protocol, Timeout, Unavailable};
        let GatekeeperConfig { url, timeout, .. } = &self.config;
        let no_connection = format!("no connection with {url}, or it died");
        let (kind, message) = match &error {
            ureq::Error::Timeout(_) => (Timeout, format!("no whole answer within {timeout:?}")),
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    (Timeout, format!("no whole answer within {timeout:?}"))
                }
                // An untrusted certificate is one of these.
                io::ErrorKind::InvalidData => (
                    Protocol,
                    format!("{url} does not answer as HTTP or TLS requires"),
                ),
                _ => (Unavailable, no_connection),
            },
            ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_) => (Unavailable, no_connection),
            _ => (Protocol, format!("{url} does not answer as HTTP requires")),
        };
        let failed = SourceError::new(kind, message);
        Failure {
            error: match error {
                // These repeat the URL with its secrets.
                ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => failed,
                error => failed.with_source(error),
            },
            after: None,
        }
    }

    fn pause(&self, attempt: u32, after: Option<Duration>, cancelled: Cancelled<'_>) {
        let pause = pause(&self.config, attempt, after, fastrand::f64());
        let started = Instant::now();
        while let Some(left) = pause.checked_sub(started.elapsed())
            && !left.is_zero()
            && !cancelled()
        {
            thread::sleep(left.min(CANCEL_CHECK));
        }
    }
}

/// How long to wait after attempt number `attempt`, where the Gatekeeper asks for `after`. Half of it is
/// `random`, of 0 to 1, so that clients that failed together do not retry together.
fn pause(
    config: &GatekeeperConfig,
    attempt: u32,
    after: Option<Duration>,
    random: f64,
) -> Duration {
    let cap = config.backoff_cap;
    let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
    let longest = config.backoff.saturating_mul(doubled).min(cap);
    let pause = longest.mul_f64(0.5 + random / 2.0);
    pause.max(after.unwrap_or_default()).min(cap)
}

impl Failure {
    fn of(kind: SourceErrorKind, message: &str) -> Self {
        Self {
            error: SourceError::new(kind, message),
            after: None,
        }
    }
}

/// The failure of an answer that is no page.
fn refused(response: Response<Body>) -> Failure {
    let status = response.status();
    if status.is_redirection() {
        let location = text(response.headers(), header::LOCATION);
        let target = match location.unwrap_or_default().parse::<GatekeeperUrl>() {
            Ok(url) => format!("to {url}"),
            Err(_) => "elsewhere".to_owned(),
        };
        let message = format!("{status}: it redirects {target}, and redirects are not followed");
        return Failure::of(SourceErrorKind::Refused, &message);
    }
    let kind = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => SourceErrorKind::Unavailable,
        status if status.is_server_error() => SourceErrorKind::Unavailable,
        status if status.is_client_error() => SourceErrorKind::Refused,
        _ => SourceErrorKind::Protocol,
    };
    let after = text(response.headers(), header::RETRY_AFTER)
        .and_then(|seconds| seconds.parse().ok())
        .map(Duration::from_secs);
    let message = match reason(response) {
        Some(reason) => format!("it answered {status}: {reason}"),
        None => format!("it answered {status}"),
    };
    Failure {
        after,
        ..Failure::of(kind, &message)
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// `error` of an answer's body.
fn reason(response: Response<Body>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Reason {
        error: String,
    }
    let mut body = Vec::new();
    let mut reader = response.into_body().into_reader().take(REASON_BYTES);
    reader.read_to_end(&mut body).ok()?;
    let Reason { error } = serde_json::from_slice(&body).ok()?;
    Some(shown(&error))
}

/// A body that ends in an error once the request is cancelled.
struct Watched<'c, R> {
    inner: R,
    cancelled: Cancelled<'c>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.cancelled)() {
            return Err(io::Error::other("the request was cancelled"));
        }
        self.inner.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_cap_that_retry_after_does_not_exceed() {
        let mut config = GatekeeperConfig::new("http://h".parse().unwrap());
        config.backoff = Duration::from_secs(1);
        config.backoff_cap = Duration::from_secs(10);
        for (attempt, after, random, seconds) in [
            (1, None, 1.0, 1.0),
            (1, None, 0.0, 0.5),
            (2, None, 1.0, 2.0),
            (4, None, 0.5, 6.0),
            (5, None, 1.0, 10.0),
            (5, None, 0.0, 5.0),
            (u32::MAX, None, 1.0, 10.0),
            (1, Some(7), 1.0, 7.0),
            (4, Some(1), 1.0, 8.0),
            (1, Some(86_400), 0.0, 10.0),
        ] {
            let after = after.map(Duration::from_secs);
            let expected = Duration::from_secs_f64(seconds);
            assert_eq!(
                pause(&config, attempt, after, random),
                expected,
                "{attempt} {after:?}"
            );
        }
    }
}
