use std::time::Duration;

use super::GatekeeperUrl;

/// How to reach a Gatekeeper.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GatekeeperConfig {
    /// Its URL.
    pub url: GatekeeperUrl,
    /// The name by which a space remembers the source. Default: the [URL](GatekeeperUrl) without user and
    /// query.
    pub name: Option<String>,
    /// How long a connection may take. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long an attempt may take in all, from its beginning to the last byte of its answer.
    /// Default: 2 min, because some Gatekeepers read their whole database for a page.
    pub timeout: Duration,
    /// The longest answer that is read, in bytes. Default: 64 MiB.
    pub body_bytes: u64,
    /// How often a request is sent before its failure is told, 1 at least. Default: 5.
    pub attempts: u32,
    /// How long the first pause between attempts is, half of it at random. Each further one is
    /// twice as long. Default: 500 ms.
    pub backoff: Duration,
    /// The longest pause, also where the Gatekeeper asks for a longer one with `Retry-After`.
    /// Default: 30 s.
    pub backoff_cap: Duration,
}

impl GatekeeperConfig {
    /// The defaults for the Gatekeeper at `url`.
    pub fn new(url: GatekeeperUrl) -> Self {
        Self {
            url,
            name: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_mins(2),
            body_bytes: 64 << 20,
            attempts: 5,
            backoff: Duration::from_millis(500),
            backoff_cap: Duration::from_secs(30),
        }
    }
}
