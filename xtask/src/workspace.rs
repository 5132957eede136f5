//! What `cargo metadata` says about the workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use xshell::{Shell, cmd};

/// The workspace's own packages and folders.
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks cargo about the workspace that the current directory belongs to.
    pub(crate) fn load(shell: &Shell) -> Result<Self> {
        let json = cmd!(shell, "cargo metadata --format-version 1 --no-deps")
            .quiet()
            .read()?;
        Self::parse(&json)
    }

    pub(crate) fn parse(json: &str) -> Result<Self> {
        let metadata = serde_json::from_str(json).context("reading cargo metadata")?;
        Ok(Self { metadata })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.metadata.workspace_root
    }

    /// Where builds and everything xtask writes go.
    pub(crate) fn target(&self) -> &Path {
        &self.metadata.target_directory
    }

    /// The members, by name.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.metadata.packages.iter()
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages().find(|package| package.name == name)
    }

    /// The member called `name`, or an error that says it is missing.
    pub(crate) fn require(&self, name: &str) -> Result<&Package> {
        self.package(name)
            .with_context(|| format!("there is no {name} in this workspace"))
    }
}

/// All packages of the dependency graph, third-party ones included.
pub(crate) fn resolved_packages(shell: &Shell) -> Result<Vec<Package>> {
    let json = cmd!(shell, "cargo metadata --format-version 1 --all-features")
        .quiet()
        .read()?;
    let metadata: Metadata = serde_json::from_str(&json).context("reading cargo metadata")?;
    Ok(metadata.packages)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

/// One package, as far as automation looks at it.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// The registry or repository it comes from; absent for the workspace's own.
    pub(crate) source: Option<String>,
    /// The registries it may be published to: absent is any, empty is none.
    publish: Option<Vec<String>>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) manifest_path: PathBuf,
    targets: Vec<Target>,
}

impl Package {
    pub(crate) fn is_publishable(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// The target of this kind (`test`, `bench`, `example` …) and name.
    pub(crate) fn target(&self, kind: &str, name: &str) -> Option<&Target> {
        self.targets
            .iter()
            .find(|target| target.name == name && target.kind.iter().any(|k| k == kind))
    }

    /// The target of this kind and name, or an error that says the package has none.
    pub(crate) fn require_target(&self, kind: &str, name: &str) -> Result<&Target> {
        self.target(kind, name)
            .with_context(|| format!("{} has no {kind} target `{name}`", self.name))
    }
}

/// One library, binary, test, bench or example of a package.
#[derive(Debug, Deserialize)]
pub(crate) struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}
