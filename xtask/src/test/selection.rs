//! What `cargo xtask test` and `cargo xtask test --quick` run. This is the one place that decides.

use crate::backend::BackendName;
use crate::workspace::Workspace;

/// The crates of a quick run, and the features of each that its tests need. None of them brings a
/// driver that talks to a server, and nothing here starts one.
const QUICK: &[(&str, &[&str])] = &[
    ("sync-core", &[]),
    ("sync-memory", &["fault-injection"]),
    ("sync-sqlite", &["fault-injection"]),
    ("sync-store", &["memory", "sqlite"]),
    ("sync-kit", &[]),
    ("sync-hydrate", &[]),
    ("sync-peers", &[]),
    ("sync-reconcile", &[]),
    ("sync-mdip", &["gatekeeper"]),
    ("sync-mdip-simulator", &[]),
    ("sync-takeover", &["sqlite"]),
    ("sync-node", &[]),
];

/// What a quick run leaves to the whole one, as beginnings of labels: tests that run the same code
/// again, in another configuration or under repeated kills.
const NOT_QUICK: &[&str] = &[
    // The conformance suite with the other durability.
    "sync-sqlite conformance normal::",
    // Loads, hydrations and takeovers that are killed up to 200 times.
    "sync-sqlite kill ",
    "sync-node hydrate_kill ",
    "sync-node takeover_kill ",
];

/// The automation's own tests, built alone: the build that started this command is then the one
/// under test, and the features of its dependencies do not reach the others.
const OWN: &str = "xtask";

/// The program that starts containers: `cargo xtask ci containers` tests it, because it takes a hundred
/// crates to build that no other test needs.
const CONTAINERS: &str = "sync-containers";

/// The tests of one run.
pub(super) struct Selection {
    /// What `cargo test` selects them by.
    pub(super) build: Vec<String>,
    /// The same for the rest, which has no examples in its documentation.
    pub(super) own: Option<Vec<String>>,
    /// The backends whose conformance suite is among them.
    pub(super) backends: Vec<BackendName>,
    left_out: &'static [&'static str],
}

impl Selection {
    /// Every test of the workspace but those of [`CONTAINERS`]. With all features: an adapter's fault injection is behind one.
    pub(super) fn everything(workspace: &Workspace) -> Self {
        Self {
            build: words(&[
                "--workspace",
                "--exclude",
                OWN,
                "--exclude",
                CONTAINERS,
                "--all-features",
            ]),
            own: Some(words(&["--package", OWN])),
            backends: BackendName::present(workspace),
            left_out: &[],
        }
    }

    /// Those that need no server.
    pub(super) fn quick() -> Self {
        let mut build = Vec::new();
        let mut features = Vec::new();
        for (package, wanted) in QUICK {
            build.extend(words(&["--package", package]));
            features.extend(wanted.iter().map(|feature| format!("{package}/{feature}")));
        }
        build.extend(["--features".to_owned(), features.join(",")]);
        Self {
            build,
            own: None,
            backends: vec![BackendName::Memory, BackendName::Sqlite],
            left_out: NOT_QUICK,
        }
    }

    /// Whether the test of this label runs.
    pub(super) fn has(&self, label: &str) -> bool {
        !self.left_out.iter().any(|start| label.starts_with(start))
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_run_builds_no_crate_of_a_backend_with_a_server() {
        let build = Selection::quick().build.join(" ");
        for name in ["postgres", "redis", "mongo"] {
            assert!(!build.contains(name), "{build}");
        }
        assert!(build.contains("sync-sqlite/fault-injection"), "{build}");
    }

    #[test]
    fn a_quick_run_leaves_out_what_is_listed_and_nothing_else() {
        let quick = Selection::quick();
        assert!(!quick.has("sync-sqlite conformance normal::a_case"));
        assert!(quick.has("sync-sqlite conformance full::a_case"));
    }
}
