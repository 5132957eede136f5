//! `cargo xtask migrate`: brings a store to the current schema, and guards the migrations that are
//! already out in the world.

mod sealed;
#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result, bail};
use clap::{ArgGroup, Args as ClapArgs};
use xshell::{Shell, cmd};

use crate::backend::BackendName;
use crate::problems::conclude;
use crate::workspace::Workspace;

pub(crate) use sealed::Migrations;

const NODE: &str = "sync-node";

#[derive(ClapArgs)]
#[command(group(ArgGroup::new("action").required(true)))]
pub(crate) struct Args {
    /// The backend whose store is migrated
    #[arg(group = "action")]
    backend: Option<BackendName>,
    /// The store; for sqlite `target/xtask/sync.db` unless given
    #[arg(long, requires = "backend")]
    url: Option<String>,
    /// List the migrations under migrations/
    #[arg(long, group = "action")]
    list: bool,
    /// Record the checksums of all migrations: from then on they may not change
    #[arg(long, group = "action")]
    seal: bool,
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    if let Some(backend) = args.backend {
        return migrate(shell, workspace, backend, args.url.as_deref());
    }
    let migrations = Migrations::read(&workspace.root().join(sealed::FOLDER))?;
    if args.seal {
        let problems = migrations.problems();
        conclude(&problems)?;
        migrations.seal()?;
    }
    print!("{migrations}");
    Ok(())
}

fn migrate(
    shell: &Shell,
    workspace: &Workspace,
    backend: BackendName,
    url: Option<&str>,
) -> Result<()> {
    backend.require(workspace)?;
    workspace.require(NODE)?;
    let default = default_url(workspace, backend)?;
    let url = match (url, default) {
        (Some(url), _) => url.to_owned(),
        (None, Some(url)) => {
            println!("store: {url}");
            url
        }
        (None, None) => bail!("{backend} has no store of its own here: name one with --url"),
    };
    shell.create_dir(workspace.target().join("xtask"))?;
    // In the environment, because a URL may hold a password and a command line is public.
    // The node always has the backends that need no server.
    let features: &[&str] = match backend {
        BackendName::Memory | BackendName::Sqlite => &[],
        BackendName::Postgres | BackendName::Redis | BackendName::Mongo => {
            &["--features", backend.name()]
        }
    };
    cmd!(
        shell,
        "cargo run --quiet --package {NODE} {features...} -- migrate"
    )
    .env("SYNC_NODE_STORE", url)
    .run()?;
    Ok(())
}

/// The store that is migrated where none is named.
fn default_url(workspace: &Workspace, backend: BackendName) -> Result<Option<String>> {
    match backend {
        BackendName::Memory => bail!("memory has no schema: there is nothing to migrate"),
        BackendName::Sqlite => {
            let file = workspace.target().join("xtask").join("sync.db");
            let file = file
                .to_str()
                .context("the target directory's path is not UTF-8")?;
            Ok(Some(format!("sqlite:{file}")))
        }
        BackendName::Postgres | BackendName::Redis | BackendName::Mongo => Ok(None),
    }
}
