//! Damage that only the file can show.

use rusqlite::{Connection, TransactionBehavior, params};
use sync_core::{Digest, SpaceName, Ts};

use crate::columns::{object, op_id, position};
use crate::error::corrupt;
use crate::space::Space;

/// Findings that are described; more of them say nothing new.
const DESCRIBED: usize = 20;

/// SQLite's own check of tables and indexes, and every row's digest against its payload.
pub(crate) fn check(
    connection: &mut Connection,
    name: &SpaceName,
) -> rusqlite::Result<Vec<String>> {
    let connection = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let mut findings = Vec::new();
    let mut integrity = connection.prepare(&format!("PRAGMA integrity_check({DESCRIBED})"))?;
    let mut rows = integrity.query([])?;
    while let Some(row) = rows.next()? {
        let line: String = row.get(0)?;
        if line != "ok" {
            findings.push(line);
        }
    }
    if let Some(space) = Space::load(&connection, name)? {
        check_digests(&connection, &space, &mut findings)?;
    }
    Ok(findings)
}

fn check_digests(
    connection: &Connection,
    space: &Space,
    findings: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT id, ts, object, payload, digest FROM operation WHERE incarnation = ?1")?;
    let mut rows = statement.query(params![space.incarnation])?;
    while let Some(row) = rows.next()? {
        let ts: Ts = position(row, 1)?;
        let object = object(row.get_ref(2)?)?;
        let payload = row.get_ref(3)?.as_blob()?;
        let stored = Digest::try_from(row.get_ref(4)?.as_blob()?).map_err(corrupt)?;
        if Digest::of(ts, object.as_ref(), payload) != stored && findings.len() < DESCRIBED {
            findings.push(format!(
                "the digest of {} does not fit its row",
                op_id(row, 0)?
            ));
        }
    }
    Ok(())
}
