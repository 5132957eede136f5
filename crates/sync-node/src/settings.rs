mod hydrate;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sync_store::SpaceName;

use crate::failure::{Failure, Result};

pub(crate) use self::hydrate::HydrateArgs;

/// The space, where none is named.
const DEFAULT_SPACE: &str = "default";

/// The arguments of every command. Flags win over the environment, which wins over the file.
#[derive(clap::Args, Debug)]
pub(crate) struct Global {
    /// The store's URL: sqlite:PATH, memory:, or, in a build with the feature of that name,
    /// postgres://…, redis://… or mongodb://…
    ///
    /// A URL with a password belongs in the environment or the file, because every user of a
    /// machine reads command lines.
    #[arg(
        long,
        value_name = "URL",
        env = "SYNC_NODE_STORE",
        hide_env_values = true,
        global = true
    )]
    pub(crate) store: Option<String>,
    /// The space [default: default]
    #[arg(long, value_name = "NAME", env = "SYNC_NODE_SPACE", global = true)]
    pub(crate) space: Option<SpaceName>,
    /// A TOML file with the keys store and space, and a table [hydrate]
    #[arg(long, value_name = "FILE", env = "SYNC_NODE_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON document on standard output and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The store and the space to work on, from flags, environment and file.
pub(crate) struct Settings {
    /// The store's URL, where one was named. Never printed: it may hold a password.
    store: Option<String>,
    /// The space, where one was named anywhere.
    pub(crate) named_space: Option<SpaceName>,
    /// Whether standard output belongs to one JSON document.
    pub(crate) json: bool,
    /// The table `[hydrate]` of the file.
    pub(crate) hydrate: HydrateArgs,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: Option<String>,
    space: Option<String>,
    #[serde(default)]
    hydrate: HydrateArgs,
}

impl Settings {
    /// Reads the file for whatever flags and environment leave open.
    pub(crate) fn of(global: Global) -> Result<Self> {
        let file = match &global.config {
            Some(path) => read(path)?,
            None => File::default(),
        };
        let in_file = || {
            let parse = |name: String| name.parse::<SpaceName>();
            file.space.map(parse).transpose().map_err(|error| {
                Failure::usage(format!("space in the configuration file: {error}"))
            })
        };
        let named_space = match global.space {
            Some(space) => Some(space),
            None => in_file()?,
        };
        Ok(Self {
            store: global.store.or(file.store),
            named_space,
            json: global.json,
            hydrate: file.hydrate,
        })
    }

    /// The URL of the store a command works on.
    pub(crate) fn store(&self) -> Result<&str> {
        self.store.as_deref().ok_or_else(|| {
            Failure::usage(
                "no store is named: give --store URL, set SYNC_NODE_STORE, or write store = \"URL\" \
                 into the file of --config",
            )
        })
    }

    /// The one space a command works on.
    pub(crate) fn space(&self) -> Result<SpaceName> {
        match &self.named_space {
            Some(space) => Ok(space.clone()),
            None => Ok(SpaceName::new(DEFAULT_SPACE)?),
        }
    }
}

/// Reads the file. A message names the line and never shows it, because it may hold a password.
fn read(path: &Path) -> Result<File> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("configuration file {shown}: {error}")))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.bytes()
                .take(span.start)
                .filter(|byte| *byte == b'\n')
                .count()
                + 1
        });
        let what = error.message();
        // A value of the wrong type would be repeated.
        let what = match what.split_once("invalid type") {
            Some(_) => "the value has another type than its key; store, space and from are strings",
            None => what,
        };
        Failure::usage(format!("configuration file {shown}, line {line}: {what}"))
    })
}
