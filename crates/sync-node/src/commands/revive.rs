use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use sync_store::{LiftOutcome, OpId, Operation, Page, SyncStore, UpsertOutcome};

use crate::dump::{Record, parse};
use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// The arguments of `revive`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The operations, 64 hexadecimal digits each
    #[arg(required = true, value_name = "ID")]
    ids: Vec<OpId>,
    /// Insert the operations at once, from this dump; - is standard input
    ///
    /// Records of other operations are passed over. Without it an operation comes back from its
    /// source or a peer, when it next sends it.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    space: &'a str,
    results: Vec<Decided>,
}

#[derive(Serialize)]
struct Decided {
    id: String,
    lifted: bool,
    inserted: bool,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let ids: BTreeSet<OpId> = args.ids.into_iter().collect();
    let operations = match &args.from {
        Some(path) => find(path, &ids)?,
        None => BTreeMap::new(),
    };
    let missing = ids.iter().find(|id| !operations.contains_key(id));
    if let (Some(_), Some(missing)) = (&args.from, missing) {
        return Err(Failure::input(format!(
            "the dump holds no row of {missing}"
        )));
    }
    let session = Session::open(settings).await?;
    session.stats().await?;
    let mut page = Page::new().upserts(operations.into_values());
    page.lifts.extend(&ids);
    let upserted: Vec<OpId> = page.upserts.iter().map(|operation| operation.id).collect();
    let applied = session.store.apply(page).await?;
    let inserted: BTreeSet<_> = upserted
        .iter()
        .zip(&applied.upserts)
        .filter(|(_, outcome)| **outcome == UpsertOutcome::Inserted)
        .map(|(id, _)| *id)
        .collect();
    let results: Vec<_> = ids
        .iter()
        .zip(&applied.lifts)
        .map(|(id, outcome)| Decided {
            id: id.to_string(),
            lifted: *outcome == LiftOutcome::Lifted,
            inserted: inserted.contains(id),
        })
        .collect();
    let text = results.iter().map(Decided::to_text).collect();
    let space = session.space.as_str();
    Report::new(&Document { space, results }, text)
}

/// The rows of `ids` in a dump; of two rows of one id the later.
fn find(path: &std::path::Path, ids: &BTreeSet<OpId>) -> Result<BTreeMap<OpId, Operation>> {
    let mut lines = crate::dump::open(path)?;
    let mut found = BTreeMap::new();
    while let Some(line) = lines.next()? {
        if let Record::Row(operation) = parse(&line)?
            && ids.contains(&operation.id)
        {
            found.insert(operation.id, operation);
        }
    }
    Ok(found)
}

impl Decided {
    fn to_text(&self) -> String {
        let what = match (self.lifted, self.inserted) {
            (_, true) => "is back",
            (true, false) => "may come again, from its source or a peer",
            (false, false) => "has no tombstone that stands",
        };
        format!("{} {what}\n", self.id)
    }
}
