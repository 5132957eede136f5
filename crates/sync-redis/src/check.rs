//! Damage that only the backend can see.

use sync_core::{Limit, Result, TimeKey, TimeRange};

use crate::reply::stats;
use crate::scan;
use crate::scripts::Script;
use crate::space::Space;

/// Findings of one kind that are described; more would say the same.
const DESCRIBED: usize = 100;

/// Rows of one look.
const ROWS: usize = 1_000;

/// Compares the sizes of the space's keys with its counters, and every digest with its row.
pub(crate) async fn check(space: &Space) -> Result<Vec<String>> {
    let mut findings = check_sizes(space).await?;
    let mut after: Option<TimeKey> = None;
    loop {
        let part = scan::by_time(TimeRange::ALL, after);
        let (rows, more) = scan::digested(space, part, Limit::rows(ROWS)).await?;
        for (row, digest) in &rows {
            if row.operation.digest() != *digest && findings.len() < DESCRIBED {
                let id = row.operation.id;
                findings.push(format!("the digest of {id} does not fit its row"));
            }
        }
        after = rows.last().map(|(row, _)| row.operation.time_key());
        if !more {
            return Ok(findings);
        }
    }
}

async fn check_sizes(space: &Space) -> Result<Vec<String>> {
    let mut answer = space.look(Script::Sizes, &[]).await?;
    let stats = stats(answer.value()?)?.unwrap_or_default();
    let mut size = || answer.number();
    let (rows, blobs, time, seq) = (size()?, size()?, size()?, size()?);
    let (order, object, tombstones, newest) = (size()?, size()?, size()?, size()?);
    let (values, names) = (size()?, size()?);
    let mut findings = Vec::new();
    for (what, found, expected) in [
        ("rows", rows, stats.total),
        ("rows by time", time, stats.total),
        ("rows by seq", seq, stats.total),
        ("rows by order", order, stats.ordered),
        ("tombstones", tombstones, stats.tombstones),
        ("names of the state", names, values),
    ] {
        if found != expected {
            findings.push(format!("{what}: {found} where {expected} are expected"));
        }
    }
    for (what, found, most) in [
        ("large payloads", blobs, stats.total),
        ("rows by object", object, stats.total),
        ("tombstones by id", newest, stats.tombstones),
    ] {
        if found > most {
            findings.push(format!("{what}: {found}, which is more than {most}"));
        }
    }
    Ok(findings)
}
