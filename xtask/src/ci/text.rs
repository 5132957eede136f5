//! What no file of the repository may contain, and source files that never got into it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use xshell::{Shell, cmd};

use crate::problems::conclude;
use crate::workspace::Workspace;

const MAX_RUST_LINES: usize = 600;

/// First folders of absolute paths that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["root", "home", "work", "Users"];

/// Hosts of package registries: what cargo downloads, and from where, is each user's own setting.
const REGISTRIES: &[&str] = &["crates", "npmjs", "pypi", "debian"];
const REGISTRY_DOMAINS: &[&str] = &["io", "org", "com"];

/// Cargo writes the name of the default registry into this file, whichever host serves it.
const LOCK_FILE: &str = "Cargo.lock";

/// Folders and extensions of what people write. Git ignoring such a file is a mistake that only a
/// fresh clone would show.
const SOURCE_FOLDERS: &[&str] = &["crates", "migrations", "tests", "xtask"];
const SOURCE_EXTENSIONS: &[&str] = &["lua", "md", "rs", "sql", "toml"];

pub(super) fn check(shell: &Shell, workspace: &Workspace) -> Result<()> {
    let files = cmd!(
        shell,
        "git ls-files --cached --others --exclude-standard -z"
    )
    .read()?;
    let mut problems = ignored_sources(shell)?;
    let mut count = 0;
    for file in files.split_terminator('\0') {
        let path = workspace.root().join(file);
        // A link's target is a file of its own, and a deleted file is listed until it is committed.
        if !path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file())
        {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| file.to_owned())?;
        count += 1;
        problems.extend(check_file(
            Path::new(file),
            &String::from_utf8_lossy(&bytes),
        ));
    }
    ensure!(count > 0, "git lists no file here");
    println!("{count} files");
    conclude(&problems)
}

fn ignored_sources(shell: &Shell) -> Result<Vec<String>> {
    let folders = SOURCE_FOLDERS;
    let files = cmd!(
        shell,
        "git ls-files --others --ignored --exclude-standard -z -- {folders...}"
    );
    let files = files.read()?;
    let sources = files
        .split_terminator('\0')
        .filter(|file| is_source(Path::new(file)));
    Ok(sources
        .map(|file| format!("{file}: a source file that git ignores"))
        .collect())
}

fn is_source(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| SOURCE_EXTENSIONS.iter().any(|e| extension == *e))
}

fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut problem = |line: usize, what: &str| {
        problems.push(format!("{}:{line}: {what}", path.display()));
    };
    let is_rust = path.extension().is_some_and(|extension| extension == "rs");
    let is_lock_file = path.file_name().is_some_and(|name| name == LOCK_FILE);
    for (line, n) in text.lines().zip(1..) {
        let attribute = line.trim_start().strip_prefix("#[");
        if is_rust && attribute.is_some_and(|attribute| attribute.starts_with("ignore")) {
            problem(n, "an ignored test: a test runs or is not there");
        }
        if has_machine_path(line) {
            problem(n, "a path of one machine");
        }
        if !is_lock_file && has_registry_host(line) {
            problem(n, "the host of a package registry");
        }
    }
    let lines = text.lines().count();
    if is_rust && lines > MAX_RUST_LINES {
        problem(
            lines,
            &format!("{lines} lines, at most {MAX_RUST_LINES}: split it along a seam"),
        );
    }
    problems
}

/// An absolute path into one of [`MACHINE_FOLDERS`]. `a/home/b` is relative and none.
fn has_machine_path(line: &str) -> bool {
    line.match_indices('/').any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let starts_here =
            !before.ends_with(|c: char| c.is_ascii_alphanumeric() || "_.-".contains(c));
        let folder = rest
            .trim_start_matches('/')
            .split_once('/')
            .map(|(folder, _)| folder);
        starts_here && folder.is_some_and(|folder| MACHINE_FOLDERS.contains(&folder))
    })
}

/// `host.domain` of a registry, as a whole word.
fn has_registry_host(line: &str) -> bool {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    words.into_iter().any(|word| {
        let labels: Vec<_> = word.split('.').collect();
        labels.windows(2).any(|pair| match pair {
            [host, domain] => REGISTRIES.contains(host) && REGISTRY_DOMAINS.contains(domain),
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        check_file(Path::new(path), text)
    }

    #[test]
    fn an_absolute_path_of_a_machine_is_found_anywhere() {
        for folder in MACHINE_FOLDERS {
            for line in [
                format!("/{folder}/x"),
                format!("see \"/{folder}/x\""),
                format!("file:///{folder}/x"),
            ] {
                assert_eq!(
                    problems("a.md", &line),
                    ["a.md:1: a path of one machine"],
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn relative_and_shared_paths_are_allowed() {
        for line in [
            "docs/home/x",
            "../root/x",
            "/tmp/x",
            "/usr/bin/env",
            "a/b",
            "/rooted/x",
            "//",
        ] {
            assert_eq!(problems("a.md", line), [""; 0], "{line}");
        }
    }

    #[test]
    fn a_registry_host_is_found_but_not_in_the_lock_file() {
        let line = format!("https://index.{}.{}/x", "crates", "io");
        assert_eq!(
            problems("a.md", &line),
            ["a.md:1: the host of a package registry"]
        );
        assert_eq!(problems("sub/Cargo.lock", &line), [""; 0]);
        assert_eq!(problems("a.md", "crates and io, docs.rs, debian"), [""; 0]);
    }

    #[test]
    fn an_ignored_test_is_found_in_rust_files() {
        let attribute = format!("fn a() {{}}\n    #[{} = \"slow\"]\n", "ignore");
        assert_eq!(problems("a.rs", &attribute).len(), 1);
        assert_eq!(problems("a.md", &attribute), [""; 0]);
    }

    #[test]
    fn git_ignores_no_source_file_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        let shell = Shell::new().unwrap();
        shell.change_dir(folder.path());
        cmd!(shell, "git init --quiet").run().unwrap();
        shell.write_file(".gitignore", "**/build\n*.db\n").unwrap();
        shell
            .write_file("crates/a/src/build/sqlite.rs", "")
            .unwrap();
        shell.write_file("crates/a/src/lib.rs", "").unwrap();
        shell.write_file("crates/a/sync.db", "").unwrap();
        assert_eq!(
            ignored_sources(&shell).unwrap(),
            ["crates/a/src/build/sqlite.rs: a source file that git ignores"]
        );
    }

    #[test]
    fn a_rust_file_may_have_600_lines_and_not_one_more() {
        assert_eq!(problems("a.rs", &"x\n".repeat(600)), [""; 0]);
        assert_eq!(problems("a.rs", &"x\n".repeat(601)).len(), 1);
        assert_eq!(problems("a.md", &"x\n".repeat(601)), [""; 0]);
    }
}
