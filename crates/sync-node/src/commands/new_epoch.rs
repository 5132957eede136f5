use serde::Serialize;
use sync_store::SyncStore;

use crate::failure::Result;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `new-epoch`: none.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    epoch: String,
}

pub(crate) async fn run(_args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let epoch = session.existing(session.store.new_epoch().await?)?;
    let space = session.space.as_str();
    let document = Document {
        space,
        epoch: epoch.to_string(),
    };
    Report::new(&document, format!("space {space} is at epoch {epoch}\n"))
}
