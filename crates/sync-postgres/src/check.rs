//! Damage that only the database can show.

use sync_core::{Digest, Result, SpaceName, Ts};

use crate::columns::{object, op_id, position, value};
use crate::error::corrupt;
use crate::pool::Connection;

/// Findings that are described; more of them say nothing new.
const DESCRIBED: usize = 20;
/// Rows that are read at once.
const ROWS: i64 = 100;

/// Every row's digest against its payload, and every state key for a second value. That indexes fit
/// their tables is the business of the server's own `amcheck`.
pub(crate) async fn check(connection: &Connection, name: &SpaceName) -> Result<Vec<String>> {
    let statements = connection.statements();
    let mut findings = Vec::new();
    connection.begin_read().await?;
    let twice = connection
        .rows(&statements.check_state, &[&name.as_str()])
        .await?;
    for row in &twice {
        findings.push(format!(
            "the state key {:?} has two values",
            value::<&str>(row, 0)?
        ));
    }
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows = connection
            .rows(&statements.check, &[&name.as_str(), &after, &ROWS])
            .await?;
        let Some(last) = rows.last() else { break };
        after = op_id(last, 0)?.as_bytes().to_vec();
        for row in &rows {
            let ts: Ts = position(row, 1)?;
            let object = object(row, 2)?;
            let stored = Digest::try_from(value::<&[u8]>(row, 4)?).map_err(corrupt)?;
            let found = Digest::of(ts, object.as_ref(), value(row, 3)?);
            if found != stored && findings.len() < DESCRIBED {
                findings.push(format!(
                    "the digest of {} does not fit its row",
                    op_id(row, 0)?
                ));
            }
        }
    }
    connection.end().await?;
    Ok(findings)
}
