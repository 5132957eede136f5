//! The test programs that cargo builds, and the tests in each.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::services::SERVERS_PROGRAM;
use crate::workspace::Workspace;

/// One compiled test program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) package: String,
    /// The test target's name; for unit tests that of the library or binary.
    pub(super) target: String,
    executable: PathBuf,
    /// Tests run in their package's folder, as under `cargo test`.
    folder: PathBuf,
}

/// What a build leaves.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) tests: Vec<Program>,
    /// [`SERVERS_PROGRAM`], if it is part of the build.
    pub(super) servers: Option<PathBuf>,
}

/// Runs a cargo command that builds test programs.
pub(super) fn build(shell: &Shell, workspace: &Workspace, arguments: &[String]) -> Result<Built> {
    let command = cmd!(shell, "cargo {arguments...}");
    println!("$ {command}");
    let mut child = Command::from(command)
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("the output of cargo")?;
    let mut built = Built::default();
    for line in BufReader::new(stdout).lines() {
        built.read(&line?, workspace)?;
    }
    ensure!(child.wait()?.success(), "the tests do not build, see above");
    Ok(built)
}

impl Built {
    /// Notes the program that a line of cargo's JSON messages reports, if it reports one.
    fn read(&mut self, line: &str, workspace: &Workspace) -> Result<()> {
        // A macro may print to standard output too.
        let Ok(Message::CompilerArtifact {
            manifest_path,
            target,
            profile,
            executable: Some(executable),
        }) = serde_json::from_str(line)
        else {
            return Ok(());
        };
        if profile.test {
            self.tests
                .push(Program::new(manifest_path, target, executable, workspace)?);
        } else if target.name == SERVERS_PROGRAM {
            self.servers = Some(executable);
        }
        Ok(())
    }
}

impl Program {
    fn new(
        manifest_path: PathBuf,
        target: Target,
        executable: PathBuf,
        workspace: &Workspace,
    ) -> Result<Self> {
        let package = workspace
            .packages()
            .find(|package| package.manifest_path == manifest_path)
            .with_context(|| format!("{} is not in this workspace", manifest_path.display()))?;
        let folder = manifest_path.parent().unwrap_or(Path::new("."));
        Ok(Self {
            package: package.name.clone(),
            target: target.name,
            executable,
            folder: folder.to_owned(),
        })
    }

    #[cfg(test)]
    pub(super) fn at(executable: &str) -> Self {
        Self {
            executable: executable.into(),
            folder: ".".into(),
            ..Self::default()
        }
    }

    /// The names of its tests.
    pub(super) fn tests(&self) -> Result<Vec<String>> {
        let output = self
            .command()
            .args(["--list", "--format", "terse"])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| self.executable.display().to_string())?;
        ensure!(
            output.status.success(),
            "{} does not list its tests",
            self.executable.display()
        );
        let text = String::from_utf8(output.stdout)?;
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// A command that runs this program as cargo would.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package);
        command
    }
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        Workspace::parse(
            r#"{ "workspace_root": "", "target_directory": "", "packages": [{
                "name": "sync-core", "version": "0.1.0", "targets": [], "features": {},
                "manifest_path": "/w/crates/sync-core/Cargo.toml" }] }"#,
        )
        .unwrap()
    }

    fn read(line: &str) -> Built {
        let mut built = Built::default();
        built.read(line, &workspace()).unwrap();
        built
    }

    fn artifact(executable: &str, test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/crates/sync-core#0.1.0",
                "manifest_path":"/w/crates/sync-core/Cargo.toml",
                "target":{{"kind":["lib"],"name":"sync_core"}},
                "profile":{{"test":{test}}},"executable":{executable}}}"#
        )
    }

    #[test]
    fn a_test_program_is_read_from_cargos_message() {
        let built = read(&artifact("\"/t/sync_core-1\"", true));
        let [program] = built.tests.as_slice() else {
            panic!("{built:?}");
        };
        assert_eq!(program.package, "sync-core");
        assert_eq!(program.target, "sync_core");
        assert_eq!(program.folder, Path::new("/w/crates/sync-core"));
    }

    #[test]
    fn the_program_that_asks_servers_is_found_in_a_build_that_has_it() {
        let line = artifact("\"/t/servers\"", false).replace("sync_core", SERVERS_PROGRAM);
        assert_eq!(
            read(&line).servers.as_deref(),
            Some(Path::new("/t/servers"))
        );
    }

    #[test]
    fn other_messages_and_plain_lines_name_no_test_program() {
        for line in [
            artifact("null", true),
            artifact("\"/t/sync-node\"", false),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
            "a line of a macro".to_owned(),
        ] {
            let built = read(&line);
            assert!(built.tests.is_empty() && built.servers.is_none(), "{line}");
        }
    }
}
