//! The backends, and what automation has to know about each.

use std::fmt;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::workspace::{Package, Workspace};

/// A database the project has, or plans, an adapter for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum BackendName {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Mongo,
}

impl BackendName {
    pub(crate) const ALL: [Self; 5] = [
        Self::Memory,
        Self::Sqlite,
        Self::Postgres,
        Self::Redis,
        Self::Mongo,
    ];

    /// The name in features, folders and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Mongo => "mongo",
        }
    }

    /// The crate that holds the adapter.
    pub(crate) fn package_name(self) -> String {
        format!("sync-{}", self.name())
    }

    /// Crates that only this backend may bring into a dependency tree.
    pub(crate) fn drivers(self) -> &'static [&'static str] {
        match self {
            Self::Memory => &[],
            Self::Sqlite => &["rusqlite", "libsqlite3-sys"],
            Self::Postgres => &["tokio-postgres", "deadpool-postgres", "postgres-protocol"],
            Self::Redis => &["redis"],
            Self::Mongo => &["mongodb", "bson"],
        }
    }

    /// The adapter's crate, if this workspace has it.
    pub(crate) fn package(self, workspace: &Workspace) -> Option<&Package> {
        workspace.package(&self.package_name())
    }

    /// The adapter's crate, or an error that says the workspace does not have it.
    pub(crate) fn require(self, workspace: &Workspace) -> Result<&Package> {
        self.package(workspace).with_context(|| {
            format!(
                "there is no {} in this workspace: {self} is not built yet",
                self.package_name()
            )
        })
    }

    /// The backends this workspace has.
    pub(crate) fn present(workspace: &Workspace) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| backend.package(workspace).is_some())
            .collect()
    }

    /// The backends this workspace does not have yet.
    pub(crate) fn absent(workspace: &Workspace) -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| backend.package(workspace).is_none())
            .collect()
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
