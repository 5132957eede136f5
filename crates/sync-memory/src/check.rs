use imbl::OrdMap;
use sync_core::{OrderKey, Row};

use crate::space::{Entry, Space, Stored};

/// Every contradiction within a snapshot, described.
pub(crate) fn check(space: &Space) -> Vec<String> {
    let mut findings = Vec::new();
    check_rows(space, &mut findings);
    check_indexes(space, &mut findings);
    check_log(space, &mut findings);
    findings
}

fn check_rows(space: &Space, findings: &mut Vec<String>) {
    for (id, Stored { row, digest }) in space.rows.iter().map(|(id, stored)| (id, &**stored)) {
        let Row { operation, seq } = row;
        if operation.id != *id {
            findings.push(format!("the row of {id} is of {}", operation.id));
        }
        if operation.digest() != *digest {
            findings.push(format!("the digest of {id} does not fit its row"));
        }
        if !matches!(space.log.get(seq), Some(Entry::Live(of)) if of == id) {
            findings.push(format!("the row of {id} has no entry in the feed at {seq}"));
        }
        if !space.by_time.contains(&operation.time_key()) {
            findings.push(format!("the row of {id} is missing by time"));
        }
        if let Some(sync_order) = operation.sync_order
            && !space.by_order.contains(&OrderKey {
                sync_order,
                id: *id,
            })
        {
            findings.push(format!("the row of {id} is missing by order"));
        }
        if let Some(object) = operation.object.clone()
            && space.by_object.get(&(object, *seq)) != Some(id)
        {
            findings.push(format!("the row of {id} is missing by object"));
        }
    }
}

/// Every row is in its indexes; equal counts say that nothing else is.
fn check_indexes(space: &Space, findings: &mut Vec<String>) {
    let rows = || space.rows.values().map(|stored| &stored.row.operation);
    let ordered = rows().filter(|operation| operation.sync_order.is_some());
    let about = rows().filter(|operation| operation.object.is_some());
    for (index, entries, expected) in [
        ("time", space.by_time.len(), space.rows.len()),
        ("order", space.by_order.len(), ordered.count()),
        ("object", space.by_object.len(), about.count()),
    ] {
        if entries != expected {
            findings.push(format!(
                "entries by {index}: {entries}, rows that belong there: {expected}"
            ));
        }
    }
}

fn check_log(space: &Space, findings: &mut Vec<String>) {
    let mut tombstones = 0;
    // The newest entry of an id says whether a tombstone keeps it away.
    let mut newest = OrdMap::new();
    for (seq, entry) in &space.log {
        if *seq > space.head {
            findings.push(format!("the feed has {seq}, above the head"));
        }
        match entry {
            Entry::Live(id) => {
                newest.remove(id);
                let row = space.rows.get(id);
                if row.is_none_or(|stored| stored.row.seq != *seq) {
                    findings.push(format!("the feed shows {id} at {seq}, where no row is"));
                }
            }
            Entry::Tombstone(tombstone) => {
                tombstones += 1;
                if tombstone.lifted {
                    newest.remove(&tombstone.id);
                } else {
                    newest.insert(tombstone.id, *seq);
                }
            }
        }
    }
    let counted = space.stats().tombstones;
    if counted != tombstones {
        findings.push(format!(
            "tombstones by count: {counted}, in the feed: {tombstones}"
        ));
    }
    if newest != space.newest {
        findings.push(format!(
            "the look-up of tombstones (ids: {}) does not fit the feed (ids: {})",
            space.newest.len(),
            newest.len()
        ));
    }
    if space.floor > space.head {
        findings.push(format!("the floor {} is above the head", space.floor));
    }
}

#[cfg(test)]
mod tests;
