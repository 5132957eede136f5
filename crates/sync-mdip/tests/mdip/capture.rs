//! The recorded answers of a real Gatekeeper's index export, where they are at hand.

mod files;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use self::files::files;

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

pub(crate) fn exports(file: &str) -> Vec<Export<'_>> {
    file.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
