use std::fmt;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::duration::Seconds;

/// The arguments of `hydrate`, which are also the keys of `[hydrate]` in the configuration file:
/// each may be given in either, and in the environment.
#[derive(clap::Args, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HydrateArgs {
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
    pub(crate) from: Vec<String>,
    /// Read new rows every --interval, until SIGINT, SIGTERM or SIGHUP
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_FOLLOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) follow: Option<bool>,
    /// The time between two polls with --follow [default: 2s]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_INTERVAL")]
    pub(crate) interval: Option<Seconds>,
    /// Also store operations on DIDs that are private to the Gatekeeper
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_INCLUDE_LOCAL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) include_local: Option<bool>,
    /// Begin anew with a source that lost more than half of its operations
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_ACCEPT_SHRUNK_SOURCE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) accept_shrunk_source: Option<bool>,
    /// Read the log from its beginning, instead of reading a snapshot first
    #[arg(
        long,
        value_name = "BOOL",
        env = "SYNC_NODE_CHANGES_ONLY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) changes_only: Option<bool>,
    /// Rows of the log, or DIDs of the snapshot, in one request: 1 to 5000 [default: 500]
    #[arg(long, value_name = "N", env = "SYNC_NODE_PAGE_LIMIT")]
    pub(crate) page_limit: Option<Within<1, 5_000>>,
    /// The name of the source in the space's state, instead of one made from --from
    #[arg(long, value_name = "NAME", env = "SYNC_NODE_SOURCE_NAME")]
    pub(crate) source_name: Option<String>,
    /// The longest time for a request with its answer [default: 2m]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_TIMEOUT")]
    pub(crate) timeout: Option<Seconds>,
    /// How often a request is sent before it counts as failed: 1 to 100 [default: 5]
    #[arg(long, value_name = "N", env = "SYNC_NODE_ATTEMPTS")]
    pub(crate) attempts: Option<Within<1, 100>>,
    /// The time between two lines of progress without a terminal; 0s is one for each page
    /// [default: 10s]
    #[arg(long, value_name = "TIME", env = "SYNC_NODE_PROGRESS_EVERY")]
    pub(crate) progress_every: Option<Seconds>,
}

/// A whole number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within<const LEAST: u32, const MOST: u32>(pub(crate) u32);

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
