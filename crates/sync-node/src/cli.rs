use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::commands::{
    demo, dump, generate, invalid, load, migrate, new_epoch, prune, reject, reset, revive, status,
    take_over, tombstones, verify,
};
use crate::failure::{Failure, Result};
use crate::settings::{Global, HydrateArgs};

/// Fills and maintains an ordered sync store.
#[derive(Debug, Parser)]
#[command(name = "sync-node", version, after_help = EXIT_CODES, arg_required_else_help = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the whole job: generates a log, fills stores from it, kills, resumes and compares
    Demo(demo::Args),
    /// Makes a log of signed operations of any length, in the form of a Gatekeeper's answers
    Generate(generate::Args),
    /// Fills a space from a Gatekeeper (an MDIP registry's server), or from a file of its answers
    Hydrate(HydrateArgs),
    /// Lists records of the source that are no valid operations, and why
    Invalid(invalid::Args),
    /// Shows counts, head, floor, epoch, state, fingerprint, and the backend's promises
    ///
    /// Shows every space, unless --space, the environment or the file names one.
    Status(status::Args),
    /// Recounts a space and compares every walk with every other and with the counters
    ///
    /// Ends with 3 if the space changed during every recount.
    Verify(verify::Args),
    /// Writes a space as NDJSON, one record a line
    Dump(dump::Args),
    /// Loads the output of dump into a space
    Load(load::Args),
    /// Brings the database to the schema of this version, or creates it
    Migrate(migrate::Args),
    /// Brings the operations and state of a deployed mediator's database into the space
    ///
    /// The old database is only read. A run that was killed is run again and goes on where it was.
    TakeOver(take_over::Args),
    /// Drops old tombstones, but not those of reject
    Prune(prune::Args),
    /// Empties a space of rows, tombstones and state, and begins a new epoch
    ///
    /// The floor stays and seqs go on, so that no seq is ever used twice.
    Reset(reset::Args),
    /// Begins a new epoch over the same rows, after a backup was restored
    NewEpoch(new_epoch::Args),
    /// Lists tombstones, oldest first
    Tombstones(tombstones::Args),
    /// Removes operations: no source and no peer brings them back until `revive` lifts the tombstone
    Reject(reject::Args),
    /// Lifts the tombstones of operations, so that they may come again
    Revive(revive::Args),
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 may succeed when run again, 4 verification found a difference";

impl Cli {
    /// Reads the command line. `--help` and `--version` print and end the process here.
    pub(crate) fn read() -> Result<Self> {
        Self::try_parse().map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => {
                let text = error.render().to_string();
                let text = text.strip_prefix("error: ").unwrap_or(&text);
                Failure::usage(without_urls(text.trim_end()))
            }
        })
    }
}

/// `text` with its URLs cut behind the scheme. The message about a misplaced URL repeats it, and it
/// may hold a password.
fn without_urls(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"');
        shown.push_str("://…");
        shown.push_str(
            part.find(ends)
                .and_then(|end| part.get(end..))
                .unwrap_or_default(),
        );
    }
    shown
}
