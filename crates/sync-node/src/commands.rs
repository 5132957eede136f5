//! One file for each command. A command reads its arguments, works on the store, and returns a report.

pub(crate) mod demo;
pub(crate) mod dump;
pub(crate) mod generate;
pub(crate) mod hydrate;
mod ids;
pub(crate) mod invalid;
pub(crate) mod load;
pub(crate) mod migrate;
pub(crate) mod new_epoch;
pub(crate) mod prune;
pub(crate) mod reject;
pub(crate) mod reset;
pub(crate) mod revive;
pub(crate) mod status;
pub(crate) mod take_over;
pub(crate) mod tombstones;
pub(crate) mod verify;

use crate::cli::{Cli, Command};
use crate::failure::Result;
use crate::report::Report;
use crate::settings::Settings;

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<Report> {
    let settings = Settings::of(cli.global)?;
    match cli.command {
        Command::Demo(args) => demo::run(args, &settings).await,
        Command::Generate(args) => generate::run(args, &settings),
        Command::Hydrate(args) => hydrate::run(args, &settings).await,
        Command::Invalid(args) => invalid::run(args, &settings).await,
        Command::Status(args) => status::run(args, &settings).await,
        Command::Verify(args) => verify::run(args, &settings).await,
        Command::Dump(args) => dump::run(args, &settings).await,
        Command::Load(args) => load::run(args, &settings).await,
        Command::Migrate(args) => migrate::run(args, &settings).await,
        Command::TakeOver(args) => take_over::run(args, &settings).await,
        Command::Prune(args) => prune::run(args, &settings).await,
        Command::Reset(args) => reset::run(args, &settings).await,
        Command::NewEpoch(args) => new_epoch::run(args, &settings).await,
        Command::Tombstones(args) => tombstones::run(args, &settings).await,
        Command::Reject(args) => reject::run(args, &settings).await,
        Command::Revive(args) => revive::run(args, &settings).await,
    }
}
