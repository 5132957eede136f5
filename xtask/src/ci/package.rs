//! Packages every publishable crate and builds it from its package, publishing nothing.

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::Workspace;

pub(super) fn check(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let names: Vec<_> = workspace
        .packages()
        .filter(|package| package.is_publishable())
        .flat_map(|package| ["--package", package.name.as_str()])
        .collect();
    ensure!(
        !names.is_empty(),
        "no crate of this workspace is publishable"
    );

    // Given together, the crates find each other's packages although none is published.
    //
    // `--allow-dirty`, because nothing is published and a person runs this before committing.
    // The target directory is named because cargo would otherwise build each package in a directory
    // of its own, and compile SQLite once for every crate that needs it.
    // All features, because the facade's default is none of its backends.
    cmd!(
        shell,
        "cargo package --allow-dirty --all-features {names...}"
    )
    .env("CARGO_TARGET_DIR", workspace.target())
    .run()?;

    for package in workspace
        .packages()
        .filter(|package| package.is_publishable())
    {
        let file = format!("{}-{}.crate", package.name, package.version);
        let path = workspace.target().join("package").join(&file);
        let size = std::fs::metadata(&path)
            .with_context(|| path.display().to_string())?
            .len();
        println!("{file}: {} KiB", size.div_ceil(1024));
    }
    Ok(())
}
