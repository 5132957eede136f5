//! Licences, bans and sources of every crate in the dependency graph, by `deny.toml`.
//!
//! The check here reads the same lists as cargo-deny and needs no other tool, so that it cannot be
//! missing. Where cargo-deny is installed it runs too: it also reads licence texts and finds
//! duplicates. Advisories are no part of this: they are downloaded, and change without the
//! repository changing.

use std::fs;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::problems::conclude;
use crate::workspace::{Package, Workspace, resolved_packages};

use super::spdx;

const CONFIG: &str = "deny.toml";

/// How cargo names the default registry, whichever host serves it.
const DEFAULT_REGISTRY: &str = "registry+https://github.com/rust-lang/";

/// The part of `deny.toml` that is understood here. `cargo deny` knows the rest.
#[derive(Deserialize)]
struct Config {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    /// Further licences that single crates may have.
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

impl Licenses {
    fn allows(&self, package: &str, license: &str) -> bool {
        let exceptions = self
            .exceptions
            .iter()
            .filter(|exception| exception.name == package);
        let excepted = exceptions.flat_map(|exception| &exception.allow);
        self.allow
            .iter()
            .chain(excepted)
            .any(|allowed| allowed == license)
    }
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
}

pub(super) fn check(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let text = fs::read_to_string(workspace.root().join(CONFIG)).context(CONFIG)?;
    let config: Config = toml::from_str(&text).context(CONFIG)?;
    let packages = resolved_packages(shell)?;
    let mut problems: Vec<_> = packages
        .iter()
        .flat_map(|package| problems(&config, package))
        .collect();
    println!("{} crates against {CONFIG}", packages.len());

    if cmd!(shell, "cargo deny --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
    {
        if let Err(error) = cmd!(shell, "cargo deny check licenses bans sources").run() {
            problems.push(error.to_string());
        }
    } else {
        println!("cargo-deny is not installed: only the check above ran");
    }
    conclude(&problems)
}

fn problems(config: &Config, package: &Package) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |what: String| {
        problems.push(format!("{} {}: {what}", package.name, package.version));
    };
    let is_allowed = |license: &str| config.licenses.allows(&package.name, license);
    match &package.license {
        None => problem("its manifest names no licence".to_owned()),
        Some(license) => match spdx::is_satisfied(license, &is_allowed) {
            Ok(true) => {}
            Ok(false) => problem(format!("its licence is not allowed: {license}")),
            Err(error) => problem(format!("its licence makes no sense: {error:#}")),
        },
    }
    if config.bans.deny.iter().any(|ban| ban.name == package.name) {
        problem("it is banned".to_owned());
    }
    if let Some(source) = &package.source
        && !source.starts_with(DEFAULT_REGISTRY)
    {
        problem(format!("it comes from {source}"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, license: &str, source: &str) -> Vec<String> {
        let config = r#"
            [licenses]
            allow = ["MIT"]
            exceptions = [{ crate = "imbl", allow = ["MPL-2.0"] }]
            [bans]
            deny = [{ crate = "openssl", reason = "TLS through rustls" }]
        "#;
        let package = serde_json::json!({
            "name": name, "version": "1.0.0", "license": license, "source": source,
            "features": {}, "manifest_path": "", "targets": [],
        });
        let package = serde_json::from_value(package).unwrap();
        problems(&toml::from_str(config).unwrap(), &package)
    }

    fn registry() -> String {
        format!("{DEFAULT_REGISTRY}index")
    }

    #[test]
    fn a_crate_of_the_registry_with_an_allowed_licence_is_fine() {
        assert_eq!(found("bytes", "MIT OR GPL-3.0", &registry()), [""; 0]);
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_a_problem() {
        let problems = found("bytes", "GPL-3.0", &registry());
        assert_eq!(
            problems,
            ["bytes 1.0.0: its licence is not allowed: GPL-3.0"]
        );
    }

    #[test]
    fn an_exception_holds_for_its_crate_alone() {
        assert_eq!(found("imbl", "MPL-2.0+", &registry()), [""; 0]);
        assert_eq!(found("bytes", "MPL-2.0+", &registry()).len(), 1);
    }

    #[test]
    fn a_banned_crate_is_a_problem() {
        assert_eq!(
            found("openssl", "MIT", &registry()),
            ["openssl 1.0.0: it is banned"]
        );
    }

    #[test]
    fn a_crate_from_a_repository_is_a_problem() {
        let problems = found("bytes", "MIT", "git+https://example.org/bytes");
        assert_eq!(
            problems,
            ["bytes 1.0.0: it comes from git+https://example.org/bytes"]
        );
    }
}
