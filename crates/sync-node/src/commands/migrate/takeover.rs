//! `migrate` on the deployed mediator's own tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use sync_mdip::{Invalid, Record};
#[cfg(feature = "postgres")]
use sync_store::postgres;
use sync_store::sqlite::{self, LegacyRow, RefusedReason, TakeoverReport};
use sync_store::{Operation, SpaceName, StateKey};

use crate::confirm::confirm;
use crate::failure::Result;
use crate::report::Report;
use crate::settings::Settings;

/// The arguments that ask for a takeover.
#[derive(clap::Args, Debug)]
pub(super) struct Takeover {
    /// Then fill the space from FILE, a SQLite database of the deployed mediator, which is only read
    #[arg(long, value_name = "FILE", group = "way")]
    take_over: Option<PathBuf>,
    /// Then fill the space from the deployed mediator's tables in the store's own PostgreSQL
    /// database, which are only read
    #[cfg(feature = "postgres")]
    #[arg(long, group = "way")]
    take_over_tables: bool,
    /// Turn the store itself, a database of the deployed mediator, into one of this program
    #[arg(long, group = "way")]
    take_over_in_place: bool,
    /// The PostgreSQL schema that holds the deployed tables
    #[cfg(feature = "postgres")]
    #[arg(
        long,
        value_name = "SCHEMA",
        default_value = "public",
        requires = "way"
    )]
    old_schema: String,
    /// Do not ask before --take-over-in-place
    #[arg(long)]
    yes: bool,
}

impl Takeover {
    pub(super) fn is_asked_for(&self) -> bool {
        #[cfg(feature = "postgres")]
        if self.take_over_tables {
            return true;
        }
        self.take_over.is_some() || self.take_over_in_place
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    taken: u64,
    ordered: u64,
    state_keys: Vec<&'a str>,
    /// Rows that were not taken, and why.
    refused: Vec<String>,
    refused_state: Vec<String>,
}

pub(super) async fn run(args: Takeover, settings: &Settings) -> Result<Report> {
    let (store, space) = (settings.store()?, settings.space()?);
    if let Some(old) = args.take_over {
        let config = sync_store::sqlite_config(store)?;
        sync_store::migrate(store).await?;
        let takeover = sqlite::Takeover::from_copy(old, config, space.clone());
        return taken_over(&space, &takeover.reading(operation).run().await?);
    }
    #[cfg(feature = "postgres")]
    if args.take_over_tables {
        let config = sync_store::postgres_config(store)?;
        sync_store::migrate(store).await?;
        let takeover = postgres::Takeover::from_tables(config, space.clone());
        let takeover = takeover.schema(args.old_schema).reading(operation);
        return taken_over(&space, &takeover.run().await?);
    }
    let confirmed = || {
        confirm(
            args.yes,
            "rename the deployed tables, so that the old program no longer starts",
        )
    };
    #[cfg(feature = "postgres")]
    if store.starts_with("postgres") {
        let config = sync_store::postgres_config(store)?;
        confirmed()?;
        let takeover = postgres::Takeover::in_place(config, space.clone());
        let takeover = takeover.schema(args.old_schema).reading(operation);
        return taken_over(&space, &takeover.run().await?);
    }
    let config = sync_store::sqlite_config(store)?;
    confirmed()?;
    let takeover = sqlite::Takeover::in_place(config, space.clone());
    taken_over(&space, &takeover.reading(operation).run().await?)
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
    let document = Document {
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
