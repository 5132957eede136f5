use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use sync_mdip::{Invalid, Record};
use sync_store::sqlite::{LegacyRow, RefusedReason, Takeover, TakeoverReport};
use sync_store::{Operation, SpaceName, StateKey};

use crate::confirm::confirm;
use crate::failure::Result;
use crate::report::Report;
use crate::settings::Settings;

/// The arguments of `migrate`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Then fill the space from FILE, a SQLite database of the deployed mediator, which is only read
    #[arg(long, value_name = "FILE", conflicts_with = "take_over_in_place")]
    take_over: Option<PathBuf>,
    /// Turn the store itself, a SQLite database of the deployed mediator, into one of this program
    #[arg(long)]
    take_over_in_place: bool,
    /// Do not ask before --take-over-in-place
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Document {
    from: u32,
    to: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TakeoverDocument<'a> {
    space: &'a str,
    taken: u64,
    ordered: u64,
    state_keys: Vec<&'a str>,
    /// Rows that were not taken, and why.
    refused: Vec<String>,
    refused_state: Vec<String>,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    if args.take_over_in_place {
        let config = sync_store::sqlite_config(settings.store()?)?;
        confirm(
            args.yes,
            "rename the deployed tables, so that the old program no longer starts",
        )?;
        let space = settings.space()?;
        let takeover = Takeover::in_place(config, space.clone());
        let report = takeover.reading(operation).run().await?;
        return taken_over(&space, &report);
    }
    if let Some(old) = args.take_over {
        let config = sync_store::sqlite_config(settings.store()?)?;
        sync_store::migrate(settings.store()?).await?;
        let space = settings.space()?;
        let takeover = Takeover::from_copy(old, config, space.clone());
        let report = takeover.reading(operation).run().await?;
        return taken_over(&space, &report);
    }
    let migrated = sync_store::migrate(settings.store()?).await?;
    let (from, to) = (migrated.from, migrated.to);
    let text = match from {
        0 => format!("created the schema, version {to}\n"),
        from if from == to => format!("the schema is at version {to} already\n"),
        from => format!("migrated the schema from version {from} to {to}\n"),
    };
    Report::new(&Document { from, to }, text)
}

/// A deployed row as hydration would store it: with the object, the time and the canonical payload
/// that follow from the record, which has to be what its id claims.
fn operation(row: &LegacyRow<'_>) -> Result<Operation, RefusedReason> {
    let refused = |why: Invalid| RefusedReason::Unreadable(format!("{}: {why}", why.code()));
    let record = Record::parse(row.json.as_bytes()).map_err(refused)?;
    record.verify().map_err(refused)?;
    Ok(record.into_operation(row.sync_order))
}

fn taken_over(space: &SpaceName, report: &TakeoverReport) -> Result<Report> {
    let document = TakeoverDocument {
        space: space.as_str(),
        taken: report.taken,
        ordered: report.ordered,
        state_keys: report.state_keys.iter().map(StateKey::as_str).collect(),
        refused: report.refused.iter().map(ToString::to_string).collect(),
        refused_state: report
            .refused_state
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    let mut text = format!(
        "took {} rows, {} of them ordered, and {} state entries into space {space}\n",
        document.taken,
        document.ordered,
        document.state_keys.len(),
    );
    for refused in document.refused.iter().chain(&document.refused_state) {
        let _ = writeln!(text, "not taken: {refused}");
    }
    Report::new(&document, text)
}
