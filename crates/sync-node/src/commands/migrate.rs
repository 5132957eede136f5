use serde::Serialize;

use crate::failure::Result;
use crate::report::Report;
use crate::settings::Settings;

/// The arguments of `migrate`: none.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Document {
    from: u32,
    to: u32,
}

pub(crate) async fn run(_: Args, settings: &Settings) -> Result<Report> {
    let migrated = sync_store::migrate(settings.store()?).await?;
    let (from, to) = (migrated.from, migrated.to);
    let text = match from {
        0 => format!("created the schema, version {to}\n"),
        from if from == to => format!("the schema is at version {to} already\n"),
        from => format!("migrated the schema from version {from} to {to}\n"),
    };
    Report::new(&Document { from, to }, text)
}
