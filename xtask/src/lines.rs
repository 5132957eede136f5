//! `cargo xtask lines`: how much code each crate has, without its tests.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Marks an item that only tests compile.
const TESTS_ONLY: &str = "#[cfg(test)]";

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut counts = Vec::new();
    for package in workspace.packages() {
        let folder = package.manifest_path.with_file_name("src");
        counts.push((&*package.name, count_below(&folder)?));
    }
    counts.sort_unstable();
    let sum = counts.iter().map(|(_, lines)| lines).sum();
    for (name, lines) in counts.into_iter().chain([("all", sum)]) {
        println!("{lines:>7}  {name}");
    }
    Ok(())
}

/// The lines of all Rust files in `folder` and below, except for `tests.rs` and folders `tests`.
fn count_below(folder: &Path) -> Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            lines += count_below(&path)?;
        } else if is_rust {
            lines += count(&fs::read_to_string(&path)?);
        }
    }
    Ok(lines)
}

/// The lines of a file as rustfmt writes it, without items that only tests compile: such an item
/// ends with the first line that is a closing brace, or ends with a semicolon, at its own depth.
fn count(text: &str) -> usize {
    let mut count = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let item = line.trim_start();
        if item != TESTS_ONLY {
            count += 1;
            continue;
        }
        let depth = line.strip_suffix(item).unwrap_or_default();
        let ends = |line: &str| {
            let rest = line.strip_prefix(depth).unwrap_or_default();
            !rest.starts_with(' ') && (rest.starts_with('}') || rest.ends_with(';'))
        };
        lines.by_ref().find(|line| ends(line));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_tests_are_not_counted() {
        let text = "\
use a::b;
#[cfg(test)]
use c::d;

impl A {
    #[cfg(test)]
    fn f() {
        let x = 1;
    }

    fn g() {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = \"a test\")]
mod tests {
    fn h() {}
}
";
        assert_eq!(count(text), 7);
        assert_eq!(count("#[cfg(test)]\nmod tests;\n"), 0);
    }

    #[test]
    fn files_of_tests_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let tests = folder.path().join("a").join("tests");
        fs::create_dir_all(&tests).unwrap();
        for file in ["lib.rs", "a.rs", "a/tests.rs", "a/tests/b.rs", "notes.md"] {
            fs::write(folder.path().join(file), "one\ntwo\n").unwrap();
        }
        assert_eq!(count_below(folder.path()).unwrap(), 4);
    }
}
