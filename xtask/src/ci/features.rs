//! Features, each alone, and what may stand in whose dependency tree.

use std::collections::BTreeSet;

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::backend::BackendName;
use crate::problems::conclude;
use crate::workspace::{Package, Workspace};

const CORE: &str = "sync-core";
const FACADE: &str = "sync-store";
const SUITE: &str = "sync-conformance";
const HYDRATE: &str = "sync-hydrate";
const PEERS: &str = "sync-peers";
const RECONCILE: &str = "sync-reconcile";
const MDIP: &str = "sync-mdip";
const TAKEOVER: &str = "sync-takeover";

/// Crates whose features are each built alone.
const SELECTIVE: &[&str] = &[FACADE, MDIP, TAKEOVER];

/// Crates that bring an async runtime.
const RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "async-executor", "async-io"];

/// No warning for each selection of features. Through clippy, because `cargo check` succeeds in
/// spite of warnings, and clippy's builds are there already.
pub(super) fn check_builds(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    for name in SELECTIVE {
        for selection in selections(workspace.require(name)?) {
            let options = ["--package", name, "--no-default-features"];
            if let Err(error) = cmd!(
                shell,
                "cargo clippy {options...} {selection...} -- -D warnings"
            )
            .run()
            {
                problems.push(error.to_string());
            }
        }
    }
    conclude(&problems)
}

/// No feature, each feature alone, all features.
fn selections(facade: &Package) -> Vec<Vec<String>> {
    let alone = facade
        .features
        .keys()
        .filter(|feature| *feature != "default");
    let mut selections = vec![Vec::new()];
    selections.extend(alone.map(|feature| vec!["--features".to_owned(), feature.clone()]));
    selections.push(vec!["--all-features".to_owned()]);
    selections
}

/// What each crate may not bring with it, and does.
pub(super) fn check_trees(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let mut problems = Vec::new();
    for name in [CORE, SUITE, HYDRATE, MDIP, PEERS, RECONCILE] {
        let tree = tree(shell, name, &["--all-features"])?;
        problems.extend(found(name, &tree, &everything()));
    }
    // What reads records needs neither hydration nor a network.
    let pure = tree(shell, MDIP, &["--no-default-features"])?;
    let impure = [HYDRATE, "ureq", "tiny_http"].map(str::to_owned);
    problems.extend(found("sync-mdip without features", &pure, &impure));
    // What writes an old database's rows knows no database.
    let writer = tree(shell, TAKEOVER, &["--no-default-features"])?;
    problems.extend(found(
        "sync-takeover without features",
        &writer,
        &everything(),
    ));
    for backend in BackendName::present(workspace) {
        let name = backend.package_name();
        let tree = tree(shell, &name, &["--all-features"])?;
        problems.extend(found(&name, &tree, &foreign(backend)));
    }
    if let Some(facade) = workspace.package(FACADE) {
        problems.extend(check_facade(shell, workspace, facade)?);
    }
    conclude(&problems)
}

/// The facade brings what its features say and nothing else.
fn check_facade(shell: &Shell, workspace: &Workspace, facade: &Package) -> Result<Vec<String>> {
    let bare = tree(shell, FACADE, &["--no-default-features"])?;
    let mut problems = found("sync-store without features", &bare, &everything());
    for backend in BackendName::present(workspace) {
        if !facade.features.contains_key(backend.name()) {
            problems.push(format!("{FACADE} has no feature `{backend}`"));
            continue;
        }
        let tree = tree(
            shell,
            FACADE,
            &["--no-default-features", "--features", backend.name()],
        )?;
        let what = format!("{FACADE} with {backend} alone");
        if !tree.contains(&backend.package_name()) {
            problems.push(format!("{what} does not bring {}", backend.package_name()));
        }
        problems.extend(found(&what, &tree, &foreign(backend)));
    }
    Ok(problems)
}

/// Every adapter, driver and runtime.
fn everything() -> Vec<String> {
    let backends = BackendName::ALL.into_iter().flat_map(brought_by);
    backends
        .chain(RUNTIMES.iter().map(|&name| name.to_owned()))
        .collect()
}

/// The adapters and drivers that have no place beside `backend`.
fn foreign(backend: BackendName) -> Vec<String> {
    let others = BackendName::ALL
        .into_iter()
        .filter(|other| *other != backend);
    others.flat_map(brought_by).collect()
}

/// A backend's adapter and drivers.
fn brought_by(backend: BackendName) -> impl Iterator<Item = String> {
    let drivers = backend.drivers().iter().map(|&driver| driver.to_owned());
    drivers.chain([backend.package_name()])
}

/// The crates in the tree of normal and build dependencies, on every platform.
fn tree(shell: &Shell, package: &str, selection: &[&str]) -> Result<BTreeSet<String>> {
    let edges = [
        "--edges",
        "normal,build",
        "--target",
        "all",
        "--prefix",
        "none",
    ];
    Ok(names(
        &cmd!(
            shell,
            "cargo tree --package {package} {selection...} {edges...}"
        )
        .read()?,
    ))
}

/// The first word of each line: `tokio v1.52.0 (*)`.
fn names(tree: &str) -> BTreeSet<String> {
    tree.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn found(what: &str, tree: &BTreeSet<String>, forbidden: &[String]) -> Vec<String> {
    let found = forbidden.iter().filter(|name| tree.contains(*name));
    found
        .map(|name| format!("{what}: {name} is in its dependency tree"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_crate_is_found_by_its_whole_name() {
        let tree = names("sync-core v0.1.0 (path)\ntokio-util v0.7.0\nrusqlite v0.41.1 (*)\n\n");
        let problems = found("it", &tree, &["tokio", "rusqlite"].map(str::to_owned));
        assert_eq!(problems, ["it: rusqlite is in its dependency tree"]);
    }

    #[test]
    fn every_other_adapter_and_driver_is_foreign_and_the_own_is_not() {
        let foreign = foreign(BackendName::Sqlite);
        for name in [
            "sync-memory",
            "sync-postgres",
            "tokio-postgres",
            "redis",
            "mongodb",
        ] {
            assert!(foreign.iter().any(|f| f == name), "{name}");
        }
        assert!(
            !foreign
                .iter()
                .any(|f| f == "rusqlite" || f == "sync-sqlite")
        );
    }

    #[test]
    fn each_feature_is_built_alone_and_none_and_all() {
        let json = r#"{ "workspace_root": "", "target_directory": "", "packages": [{
            "name": "sync-store", "version": "0.1.0", "manifest_path": "", "targets": [],
            "features": { "default": ["sqlite"], "memory": [], "sqlite": [] } }] }"#;
        let workspace = Workspace::parse(json).unwrap();
        let selections = selections(workspace.require("sync-store").unwrap());
        let joined: Vec<_> = selections
            .iter()
            .map(|selection| selection.join(" "))
            .collect();
        assert_eq!(
            joined,
            [
                "",
                "--features memory",
                "--features sqlite",
                "--all-features"
            ]
        );
    }
}
