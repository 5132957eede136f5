use std::path::PathBuf;
use std::time::Duration;

use sync_hydrate::SourceError;
use sync_mdip::gatekeeper::{GatekeeperConfig, GatekeeperUrl};
use sync_mdip::{CaptureSource, GatekeeperSource};

use crate::duration::Seconds;
use crate::failure::{Failure, Result};
use crate::progress;
use crate::settings::HydrateArgs;

/// The time between two polls of a source that is followed.
const INTERVAL: Duration = Duration::from_secs(2);

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

impl Options {
    /// Takes whatever flags and environment leave open from the file, then from the defaults.
    pub(super) fn resolve(args: HydrateArgs, file: &HydrateArgs) -> Result<Self> {
        let from = if args.from.is_empty() {
            file.from.clone()
        } else {
            args.from
        };
        let from = From::read(from)?;
        let follows = args.follow.or(file.follow).unwrap_or(false);
        if follows && matches!(from, From::Capture(_)) {
            return Err(Failure::usage(
                "--follow needs a Gatekeeper's URL: a capture does not change",
            ));
        }
        let interval = at_least_1s("--interval", args.interval.or(file.interval))?;
        let source_name = args.source_name.or_else(|| file.source_name.clone());
        if source_name.as_ref().is_some_and(String::is_empty) {
            return Err(Failure::usage("--source-name is empty"));
        }
        Ok(Self {
            from,
            follow: follows.then_some(interval.unwrap_or(INTERVAL)),
            include_local: args.include_local.or(file.include_local).unwrap_or(false),
            accept_shrunk_source: args
                .accept_shrunk_source
                .or(file.accept_shrunk_source)
                .unwrap_or(false),
            changes_only: args.changes_only.or(file.changes_only),
            page_limit: args.page_limit.or(file.page_limit).map_or(500, |n| n.0),
            source_name,
            timeout: at_least_1s("--timeout", args.timeout.or(file.timeout))?,
            attempts: args.attempts.or(file.attempts).map(|n| n.0),
            progress_every: args
                .progress_every
                .or(file.progress_every)
                .map_or(progress::LINES, |every| Duration::from_secs(every.0)),
        })
    }

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
