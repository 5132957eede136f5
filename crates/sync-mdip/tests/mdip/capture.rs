//! The recorded answers of a real Gatekeeper's index export, where they are at hand.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One response.
#[derive(Deserialize)]
pub(crate) struct Export<'a> {
    #[serde(borrow)]
    pub(crate) dids: Vec<History<'a>>,
    #[serde(borrow, default)]
    pub(crate) operations: Vec<Change<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct History<'a> {
    pub(crate) did: String,
    #[serde(borrow)]
    pub(crate) events: Vec<Event<'a>>,
}

#[derive(Deserialize)]
pub(crate) struct Change<'a> {
    pub(crate) did: String,
    #[serde(borrow)]
    pub(crate) event: Event<'a>,
}

#[derive(Deserialize)]
pub(crate) struct Event<'a> {
    #[serde(borrow)]
    pub(crate) operation: &'a RawValue,
    pub(crate) opid: Option<String>,
}

/// The files of responses, one response a line: from the directory that `SYNC_MDIP_CAPTURE` names,
/// else from `shared/data/gatekeeper` beside the workspace. `None` where there is none.
pub(crate) fn files() -> Option<Vec<String>> {
    let directory = std::env::var_os("SYNC_MDIP_CAPTURE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/data/gatekeeper"
            ))
        },
        PathBuf::from,
    );
    let names = [
        "changes-from-zero-limit500.ndjson",
        "changes-after-snapshot-limit500.ndjson",
        "snapshot-limit500.ndjson",
    ];
    directory.exists().then(|| {
        names
            .map(|name| std::fs::read_to_string(directory.join(name)).unwrap())
            .to_vec()
    })
}

pub(crate) fn exports(file: &str) -> Vec<Export<'_>> {
    file.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
