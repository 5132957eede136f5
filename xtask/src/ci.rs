//! `cargo xtask ci`: the checks that are not tests. Each is a step that a person can run alone.

mod dependencies;
mod features;
mod package;
mod spdx;
mod text;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args as ClapArgs, ValueEnum};
use xshell::{Shell, cmd};

use crate::migrate::Migrations;
use crate::problems::conclude;
use crate::workspace::Workspace;

#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The steps to run, in this order; all of them unless given
    steps: Vec<Step>,
    /// Name the steps and what each checks
    #[arg(long, conflicts_with = "steps")]
    list: bool,
}

/// One check. The quick ones come first, and those that share builds stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    Format,
    Text,
    Migrations,
    Dependencies,
    Purity,
    Clippy,
    Containers,
    Features,
    Doc,
    Package,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Text => "text",
            Self::Migrations => "migrations",
            Self::Dependencies => "dependencies",
            Self::Purity => "purity",
            Self::Clippy => "clippy",
            Self::Containers => "containers",
            Self::Features => "features",
            Self::Doc => "doc",
            Self::Package => "package",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Format => "every file is as rustfmt writes it",
            Self::Text => {
                "no long Rust file, no ignored test, no path of a machine, no registry host"
            }
            Self::Migrations => "migrations are numbered without gaps and released ones unchanged",
            Self::Dependencies => "licences, banned crates and sources are as deny.toml says",
            Self::Purity => {
                "no driver and no runtime where none belongs, no adapter in another's tree"
            }
            Self::Clippy => "no warning in any target with all features",
            Self::Containers => "the program that starts containers passes its tests",
            Self::Features => {
                "crates with features build without warning with each alone, none and all"
            }
            Self::Doc => "the documentation builds without warning",
            Self::Package => "every publishable crate packages and builds from its package",
        }
    }

    fn run(self, shell: &Shell, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Format => Ok(cmd!(shell, "cargo fmt --all --check").run()?),
            Self::Text => text::check(shell, workspace),
            Self::Migrations => {
                let migrations = Migrations::read(&workspace.root().join("migrations"))?;
                println!("{}", migrations.summary());
                conclude(&migrations.problems())
            }
            Self::Dependencies => dependencies::check(shell, workspace),
            Self::Purity => features::check_trees(shell, workspace),
            Self::Clippy => {
                cmd!(
                    shell,
                    "cargo clippy --workspace --all-targets --all-features -- -D warnings"
                )
                .run()?;
                Ok(())
            }
            Self::Containers => {
                cmd!(shell, "cargo test --package sync-containers").run()?;
                Ok(())
            }
            Self::Features => features::check_builds(shell, workspace),
            Self::Doc => {
                cmd!(shell, "cargo doc --workspace --all-features --no-deps")
                    .env("RUSTDOCFLAGS", "-D warnings")
                    .run()?;
                Ok(())
            }
            Self::Package => package::check(shell, workspace),
        }
    }
}

pub(crate) fn run(shell: &Shell, workspace: &Workspace, args: &Args) -> Result<()> {
    if args.list {
        for step in Step::value_variants() {
            println!("{:<14}{}", step.name(), step.about());
        }
        return Ok(());
    }
    let steps = if args.steps.is_empty() {
        Step::value_variants()
    } else {
        &args.steps
    };

    let mut failed = Vec::new();
    let mut summary = String::new();
    for &step in steps {
        println!("\n== {}: {}", step.name(), step.about());
        let started = Instant::now();
        let result = step.run(shell, workspace);
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        let line = format!(
            "{:<14}{verdict:<8}{}",
            step.name(),
            seconds(started.elapsed())
        );
        println!("== {line}");
        if let Err(error) = result {
            eprintln!("{error:#}");
            failed.push(format!("step {} failed: {error:#}", step.name()));
        }
        summary.push_str(&line);
        summary.push('\n');
    }
    println!("\n{summary}");
    conclude(&failed)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
