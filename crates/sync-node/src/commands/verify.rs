use std::fmt::Write as _;

use serde::Serialize;
use sync_store::{Finding, SyncStoreExt};

use crate::count::Count;
use crate::failure::{Exit, Result};
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `verify`: none.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    clean: bool,
    /// The space changed during every recount, so nothing is known.
    moving: bool,
    rows: u64,
    ordered: u64,
    tombstones: u64,
    head: u64,
    findings: Vec<String>,
}

pub(crate) async fn run(_args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    session.stats().await?;
    let report = session.store.verify().await?;
    let moving = report.findings == [Finding::Moving];
    let space = session.space.as_str();
    let document = Document {
        space,
        clean: report.is_clean(),
        moving,
        rows: report.rows,
        ordered: report.stats.ordered,
        tombstones: report.stats.tombstones,
        head: report.stats.head.value(),
        findings: report.findings.iter().map(ToString::to_string).collect(),
    };
    let exit = match (report.is_clean(), moving) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Retryable,
        (false, false) => Exit::Difference,
    };
    let text = text(&document);
    Ok(Report::new(&document, text)?.with_exit(exit))
}

fn text(document: &Document<'_>) -> String {
    let Document { space, head, .. } = document;
    let mut text = String::new();
    for finding in &document.findings {
        let _ = writeln!(text, "{finding}");
    }
    let _ = if document.clean {
        writeln!(
            text,
            "space {space} is sound: {}, {}, head {head}",
            Count(document.rows, "row"),
            Count(document.tombstones, "tombstone")
        )
    } else {
        let findings = Count(document.findings.len(), "finding");
        writeln!(text, "space {space}: {findings}")
    };
    text
}
