use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use sync_store::{StateKey, sqlite_config};
#[cfg(feature = "postgres")]
use sync_takeover::OldPostgres;
use sync_takeover::{OldDatabase, OldSqlite, TakeoverReport, take_over};

use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// How long a mediator that writes to its file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The options of a `postgres:` URL that say something about one connection for reading.
#[cfg(feature = "postgres")]
const OPTIONS: [&str; 5] = [
    "schema",
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "target_session_attrs",
];

/// The arguments of `take-over`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The mediator's database, which is only read: sqlite:PATH, or postgres://… with the option
    /// schema=NAME where its tables are not in public
    #[arg(
        value_name = "FROM",
        env = "SYNC_NODE_TAKE_OVER",
        hide_env_values = true
    )]
    from: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    /// Rows of the old database.
    rows: u64,
    /// Rows and state entries that earlier runs brought.
    skipped: u64,
    taken: u64,
    present: u64,
    ordered: u64,
    orders_left: u64,
    state_keys: Vec<&'a str>,
    /// Rows that were not taken, and why.
    refused: Vec<String>,
    refused_state: Vec<String>,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    let (scheme, _) = args.from.split_once(':').unwrap_or_default();
    match scheme {
        "sqlite" => {
            refuse_options(&args.from, &[])?;
            let old = OldSqlite::open(sqlite_config(&args.from)?.path(), BUSY_TIMEOUT)?;
            bring(old, &session).await
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let has_schema = refuse_options(&args.from, &OPTIONS)?.contains(&"schema");
            let mut config = sync_store::postgres_config(&args.from)?;
            if !has_schema {
                config = config.schema("public");
            }
            bring(OldPostgres::open(&config).await?, &session).await
        }
        _ => Err(Failure::usage(if cfg!(feature = "postgres") {
            "FROM is sqlite:PATH or postgres://…"
        } else {
            "FROM is sqlite:PATH; postgres://… needs a build with the feature postgres"
        })),
    }
}

/// The names of the URL's options, which have to be among `accepted`.
fn refuse_options<'u>(url: &'u str, accepted: &[&str]) -> Result<Vec<&'u str>> {
    let options = url.split_once('?').map_or("", |(_, options)| options);
    let names = options.split('&').filter(|option| !option.is_empty());
    let names: Vec<_> = names
        .map(|option| option.split('=').next().unwrap_or_default())
        .collect();
    match names.iter().all(|name| accepted.contains(name)) {
        true => Ok(names),
        false if accepted.is_empty() => {
            Err(Failure::usage("FROM takes no options after sqlite:PATH"))
        }
        false => {
            let accepted = accepted.join(", ");
            Err(Failure::usage(format!(
                "the options of FROM are {accepted}"
            )))
        }
    }
}

async fn bring(old: impl OldDatabase, session: &Session) -> Result<Report> {
    let mut progress = Progress::new("rows read");
    let report = take_over(old, &session.store, |now| progress.at(now.read)).await?;
    told(session.space.as_str(), &report)
}

fn told(space: &str, report: &TakeoverReport) -> Result<Report> {
    let document = Document {
        space,
        rows: report.rows,
        skipped: report.skipped,
        taken: report.taken,
        present: report.present,
        ordered: report.ordered,
        orders_left: report.orders_left,
        state_keys: report.state_keys.iter().map(StateKey::as_str).collect(),
        refused: report.refused.iter().map(ToString::to_string).collect(),
        refused_state: report
            .refused_state
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    let mut text = format!(
        "took {} of {} rows, {} of them ordered, and {} state entries into space {space}\n",
        report.taken,
        report.rows,
        report.ordered,
        report.state_keys.len(),
    );
    for (count, what) in [
        (
            report.skipped,
            "rows and state entries were brought by earlier runs",
        ),
        (report.present, "rows were in the space already"),
        (
            report.orders_left,
            "rows came without their order: the space's orders are of another index",
        ),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} {what}");
        }
    }
    for refused in document.refused.iter().chain(&document.refused_state) {
        let _ = writeln!(text, "not taken: {refused}");
    }
    Report::new(&document, text)
}
