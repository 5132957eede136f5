mod compare;
mod expected;
mod node;

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use sync_hydrate::Phase;
use sync_mdip_simulator::{Config, Gatekeeper, Log};

use self::compare::Compared;
use self::expected::Expected;
use self::node::{Contents, Node};
use crate::count::Count;
use crate::failure::{Exit, Failure, Result};
use crate::progress;
use crate::report::Report;
use crate::settings::Settings;

/// The two databases, named after the processes that fill them.
const KILLED: &str = "killed.db";
const UNDISTURBED: &str = "undisturbed.db";
/// How long the Gatekeeper waits before each answer to a process that is to be killed, so that it
/// is still at work when that is decided.
const SLOW: Duration = Duration::from_millis(20);

/// The arguments of `demo`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Operations of the log
    #[arg(
        long,
        value_name = "N",
        default_value = "10000",
        value_parser = clap::value_parser!(u32).range(200..)
    )]
    operations: u32,
    /// The same seed and number make the same log
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep the two databases in this folder, which is created if it does not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    log: Made,
    /// The contents of the file after each kill.
    kills: Vec<Contents>,
    #[serde(flatten)]
    held: Compared,
    seconds: f64,
}

/// The generated log.
#[derive(Serialize)]
struct Made {
    rows: u64,
    operations: u32,
    /// The position of the snapshot that the Gatekeeper answers.
    checkpoint: u64,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let began = Instant::now();
    let mut steps = Steps {
        json: settings.json,
        count: 0,
    };
    // Removed when it goes out of scope.
    let temporary = match &args.keep {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(|error| Failure::io("a folder", error))?),
    };
    let folder = match (&args.keep, &temporary) {
        (Some(folder), _) => fresh(folder)?,
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err(Failure::refused("no folder")),
    };

    let (log, made) = make(&args, &mut steps)?;
    let expected = Expected::of(&log)?;
    let gatekeeper = Gatekeeper::start(log)
        .map_err(|error| Failure::io("a port of the loopback for the Gatekeeper", error))?;
    steps.say(&format!(
        "a Gatekeeper (the server of an MDIP registry) inside this process serves it at {}; its \
         snapshot is of position {}, and the rest of the log comes after it",
        gatekeeper.url(),
        made.checkpoint
    ));

    let node = Node::new(&folder, gatekeeper.url(), args.operations)?;
    let kills = fill_with_kills(&node, &gatekeeper, &made, &mut steps).await?;
    fill_undisturbed(&node, &mut steps).await?;
    let (killed, undisturbed) = (node.open(KILLED).await?, node.open(UNDISTURBED).await?);
    let mut held = compare::compare(&killed, &undisturbed, &expected).await?;
    for seen in &kills {
        let findings = seen.findings.iter();
        held.differences
            .extend(findings.map(|finding| format!("after a kill: {finding}")));
    }
    steps.say("both are recounted, and compared with each other and with the log");

    let document = Document {
        log: made,
        kills,
        held,
        seconds: (began.elapsed().as_secs_f64() * 1e3).round() / 1e3,
    };
    let mut text = document.to_text();
    if let Some(folder) = &args.keep {
        let _ = writeln!(text, "the databases are in {}", folder.display());
    }
    let exit = if document.held.differences.is_empty() {
        Exit::Done
    } else {
        Exit::Difference
    };
    Ok(Report::new(&document, text)?.with_exit(exit))
}

/// The folder to keep databases in, which must not hold databases of another demo.
fn fresh(folder: &Path) -> Result<PathBuf> {
    let failed = |error| Failure::io(folder.display(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    if let Some(name) = [KILLED, UNDISTURBED]
        .iter()
        .find(|name| folder.join(name).exists())
    {
        return Err(Failure::refused(format!(
            "{name} exists in {}: give another folder",
            folder.display()
        )));
    }
    std::fs::canonicalize(folder).map_err(failed)
}

fn make(args: &Args, steps: &mut Steps) -> Result<(Log, Made)> {
    let mut config = Config::new(args.seed, args.operations);
    // No row tells which operations a reorganisation displaced: a snapshot from after it lacks
    // them, and the log has them, so that two stores filled in two ways would rightly differ.
    config.shares.reorganisations = 0;
    let rows = sync_mdip_simulator::generate(config);
    let mut log = Log::from_rows(rows).map_err(|error| Failure::input(error.to_string()))?;
    let rows = log.newest();
    let checkpoint = rows * 3 / 5;
    log.snapshot_at(checkpoint);
    let made = Made {
        rows,
        operations: args.operations,
        checkpoint,
    };
    steps.say(&format!(
        "made a log of {}: {}, removals, operations accepted again, and operations on DIDs (MDIP's \
         decentralized identifiers) that are private to their Gatekeeper",
        Count(rows, "row"),
        Count(args.operations, "signed operation")
    ));
    Ok((log, made))
}

/// Fills the first database in processes that are killed on the way, and then in one that is not.
async fn fill_with_kills(
    node: &Node,
    gatekeeper: &Gatekeeper,
    made: &Made,
    steps: &mut Steps,
) -> Result<Vec<Contents>> {
    node.migrate(KILLED).await?;
    let mut kills = Vec::new();
    gatekeeper.delay(SLOW);
    for moment in [Moment::Snapshot, Moment::Changes, Moment::Backfill] {
        let is_reached = |contents: &Contents| moment.is_reached(contents, made);
        let Some(seen) = node.kill_when(KILLED, is_reached).await? else {
            return Err(Failure::refused(format!(
                "the process ended before it could be killed {moment}; more --operations take longer"
            )));
        };
        steps.say(&format!(
            "a process that fills {KILLED} is killed {moment}; {seen}"
        ));
        kills.push(seen);
    }
    gatekeeper.delay(Duration::ZERO);
    node.fill(KILLED, &[])?;
    let seen = node.look(KILLED).await?;
    steps.say(&format!(
        "the next process goes on there to the end; {seen}"
    ));
    Ok(kills)
}

/// Fills the second database in one go, from the log alone.
async fn fill_undisturbed(node: &Node, steps: &mut Steps) -> Result<()> {
    node.migrate(UNDISTURBED).await?;
    node.fill(UNDISTURBED, &["--changes-only"])?;
    let seen = node.look(UNDISTURBED).await?;
    steps.say(&format!(
        "another process fills {UNDISTURBED} from the log alone, in one go; {seen}"
    ));
    steps.say(
        "tombstones in effect are compared, because both files need the same; the others are of \
         operations that were added again, and a snapshot shows nothing of those removals",
    );
    Ok(())
}

/// Where a process is killed.
#[derive(Clone, Copy)]
enum Moment {
    Snapshot,
    Changes,
    Backfill,
}

impl Moment {
    /// Whether the file has come as far as that.
    fn is_reached(self, seen: &Contents, made: &Made) -> bool {
        let is_past = |at: Option<u64>, position| at.is_some_and(|at| at >= position);
        match self {
            Self::Snapshot => {
                seen.phase == Phase::Snapshot.name() && seen.rows * 4 >= made.checkpoint
            }
            Self::Changes => is_past(seen.cursor, made.checkpoint.midpoint(made.rows)),
            Self::Backfill => {
                seen.phase == Phase::Order.name() && is_past(seen.walked, made.checkpoint / 2)
            }
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Snapshot => "in the snapshot",
            Self::Changes => "in the changes after it",
            Self::Backfill => "in the backfill",
        })
    }
}

/// The lines that tell the steps.
struct Steps {
    json: bool,
    count: u32,
}

impl Steps {
    fn say(&mut self, what: &str) {
        self.count += 1;
        let line = format!("{}. {what}\n", self.count);
        progress::clear_line();
        if self.json {
            progress::show(&line);
        } else {
            // The demo goes on if this fails. Printing the report fails then, and its exit code says so.
            let mut out = std::io::stdout();
            let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        }
    }
}

impl Document {
    fn to_text(&self) -> String {
        let Compared {
            rows,
            tombstones,
            fingerprint,
            differences,
        } = &self.held;
        let kills = self.kills.len();
        if differences.is_empty() {
            return format!(
                "proven in {:.0} s: killed {} or never, by snapshot and backfill or by the log alone, a \
                 store ends with the same {}, each with the order the log gave it, and with the same \
                 {} in effect (fingerprint {fingerprint})\n",
                self.seconds,
                Count(kills, "time"),
                Count(rows, "operation"),
                Count(tombstones, "tombstone")
            );
        }
        let mut text = String::new();
        for difference in differences {
            let _ = writeln!(text, "{difference}");
        }
        text.push_str("not proven: there are differences\n");
        text
    }
}
