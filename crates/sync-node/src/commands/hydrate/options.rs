use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sync_hydrate::SourceError;
use sync_mdip::gatekeeper::{GatekeeperConfig, GatekeeperUrl};
use sync_mdip::{CaptureSource, GatekeeperSource};

use crate::duration::Seconds;
use crate::failure::{Failure, Result};
use crate::progress;

/// The time between two polls of a source that is followed.
const INTERVAL: Duration = Duration::from_secs(2);

/// The arguments of `hydrate`, which are also the keys of `[hydrate]` in the configuration file:
/// each may be given in either, and in the environment.
#[derive(clap::Args, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Args {
    /// A Gatekeeper's http or https URL, or a file of captured answers; several files are one capture
    ///
    /// A URL with a password belongs in the environment or the file, because every user of a
    /// machine reads command lines.
    #[arg(
        long,
        value_name = "URL|FILE",
        env = "SYNC_NODE_FROM",
        hide_env_values = true
    )]
    #[serde(deserialize_with = "one_or_more")]
    from: Vec<String>,
    /// Read new rows every --interval, until SIGINT, SIGTERM or SIGHUP
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_FOLLOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    follow: Option<bool>,
    /// The time between two polls with --follow [default: 2s]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_INTERVAL")]
    interval: Option<Seconds>,
    /// Also store operations on DIDs that are private to the Gatekeeper
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_INCLUDE_LOCAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    include_local: Option<bool>,
    /// Begin anew with a source that lost more than half of its operations
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_ACCEPT_SHRUNK_SOURCE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    accept_shrunk_source: Option<bool>,
    /// Walk the log from its beginning, instead of reading a snapshot first
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_CHANGES_ONLY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    changes_only: Option<bool>,
    /// Rows of the log, or DIDs of the snapshot, in one request: 1 to 5000 [default: 500]
    #[arg(long, value_name = "N", env = "SYNC_NODE_PAGE_LIMIT")]
    page_limit: Option<Within<1, 5_000>>,
    /// The name of the source in the space's state, instead of one made from --from
    #[arg(long, value_name = "NAME", env = "SYNC_NODE_SOURCE_NAME")]
    source_name: Option<String>,
    /// The longest time for a request with its answer [default: 2m]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_TIMEOUT")]
    timeout: Option<Seconds>,
    /// How often a request is sent before it counts as failed: 1 to 100 [default: 5]
    #[arg(long, value_name = "N", env = "SYNC_NODE_ATTEMPTS")]
    attempts: Option<Within<1, 100>>,
    /// The time between two lines of progress without a terminal; 0s is one for each page
    /// [default: 10s]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_PROGRESS_EVERY")]
    progress_every: Option<Seconds>,
}

/// The settings of `hydrate`, from flags, environment, file and defaults.
pub(super) struct Options {
    pub(super) from: From,
    /// The time between two polls, where it follows the source.
    pub(super) follow: Option<Duration>,
    pub(super) include_local: bool,
    pub(super) accept_shrunk_source: bool,
    pub(super) changes_only: Option<bool>,
    pub(super) page_limit: u32,
    source_name: Option<String>,
    timeout: Option<Duration>,
    attempts: Option<u32>,
    pub(super) progress_every: Duration,
}

/// Where operations come from.
pub(super) enum From {
    /// A Gatekeeper's URL. Never printed: it may hold a password.
    Gatekeeper(String),
    Capture(Vec<PathBuf>),
}

impl Args {
    /// Takes whatever flags and environment leave open from the file, then from the defaults.
    pub(super) fn resolve(self, file: &Self) -> Result<Options> {
        let from = if self.from.is_empty() {
            file.from.clone()
        } else {
            self.from
        };
        let from = From::read(from)?;
        let follows = self.follow.or(file.follow).unwrap_or(false);
        if follows && matches!(from, From::Capture(_)) {
            return Err(Failure::usage(
                "--follow needs a Gatekeeper's URL: a capture does not change",
            ));
        }
        let interval = at_least_1s("--interval", self.interval.or(file.interval))?;
        let source_name = self.source_name.or_else(|| file.source_name.clone());
        if source_name.as_ref().is_some_and(String::is_empty) {
            return Err(Failure::usage("--source-name is empty"));
        }
        Ok(Options {
            from,
            follow: follows.then_some(interval.unwrap_or(INTERVAL)),
            include_local: self.include_local.or(file.include_local).unwrap_or(false),
            accept_shrunk_source: self
                .accept_shrunk_source
                .or(file.accept_shrunk_source)
                .unwrap_or(false),
            changes_only: self.changes_only.or(file.changes_only),
            page_limit: self.page_limit.or(file.page_limit).map_or(500, |n| n.0),
            source_name,
            timeout: at_least_1s("--timeout", self.timeout.or(file.timeout))?,
            attempts: self.attempts.or(file.attempts).map(|n| n.0),
            progress_every: self
                .progress_every
                .or(file.progress_every)
                .map_or(progress::LINES, |every| Duration::from_secs(every.0)),
        })
    }
}

impl Options {
    /// The Gatekeeper at `url`.
    pub(super) fn gatekeeper(&self, url: &str) -> Result<GatekeeperSource> {
        let url: GatekeeperUrl = url
            .parse()
            .map_err(|error| Failure::usage(format!("--from: {error}")))?;
        let mut config = GatekeeperConfig::new(url);
        config.name.clone_from(&self.source_name);
        config.timeout = self.timeout.unwrap_or(config.timeout);
        config.attempts = self.attempts.unwrap_or(config.attempts);
        GatekeeperSource::new(config).map_err(failed)
    }

    /// The capture in `files`.
    pub(super) fn capture(&self, files: &[PathBuf]) -> Result<CaptureSource> {
        let source = CaptureSource::open(files).map_err(failed)?;
        Ok(match &self.source_name {
            Some(name) => source.named(name),
            None => source,
        })
    }
}

fn failed(error: SourceError) -> Failure {
    sync_hydrate::Error::from(error).into()
}

fn at_least_1s(flag: &str, given: Option<Seconds>) -> Result<Option<Duration>> {
    match given {
        Some(Seconds(0)) => Err(Failure::usage(format!("{flag} is at least 1s"))),
        given => Ok(given.map(|Seconds(seconds)| Duration::from_secs(seconds))),
    }
}

impl From {
    fn read(mut from: Vec<String>) -> Result<Self> {
        let Some((scheme, _)) = from.iter().find_map(|from| from.split_once("://")) else {
            return if from.is_empty() {
                Err(Failure::usage(
                    "no source is named: give --from URL or --from FILE, set SYNC_NODE_FROM, or \
                     write from = \"URL\" under [hydrate] into the file of --config",
                ))
            } else {
                Ok(Self::Capture(from.into_iter().map(PathBuf::from).collect()))
            };
        };
        let known = ["http", "https"].map(|known| scheme.eq_ignore_ascii_case(known));
        if known == [false, false] {
            return Err(Failure::usage(
                "--from is an http or https URL of a Gatekeeper, or a file",
            ));
        }
        match (from.pop(), from.is_empty()) {
            (Some(url), true) => Ok(Self::Gatekeeper(url)),
            _ => Err(Failure::usage(
                "--from may be repeated for the files of a capture, but takes one Gatekeeper's URL alone",
            )),
        }
    }
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within<const LEAST: u32, const MOST: u32>(u32);

impl<const LEAST: u32, const MOST: u32> Within<LEAST, MOST> {
    fn new(number: u32) -> Result<Self, String> {
        let within = (LEAST..=MOST).contains(&number);
        within.then_some(Self(number)).ok_or_else(Self::wanted)
    }

    fn wanted() -> String {
        format!("wanted is a whole number from {LEAST} to {MOST}")
    }
}

impl<const LEAST: u32, const MOST: u32> FromStr for Within<LEAST, MOST> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.parse().map_err(|_| Self::wanted())?)
    }
}

impl<'de, const LEAST: u32, const MOST: u32> Deserialize<'de> for Within<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        let number = u32::try_from(number).map_err(|_| de::Error::custom(Self::wanted()))?;
        Self::new(number).map_err(de::Error::custom)
    }
}

/// A string, or a list of strings.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Strings;

    impl<'de> Visitor<'de> for Strings {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or a list of strings")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut strings = Vec::new();
            while let Some(text) = list.next_element()? {
                strings.push(text);
            }
            Ok(strings)
        }
    }

    deserializer.deserialize_any(Strings)
}
