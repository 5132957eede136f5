//! Damage that only the database can show.

use sync_core::{Digest, Result, SpaceName, Ts};

use crate::columns::{object, op_id, position, value};
use crate::error::corrupt;
use crate::session::Session;

/// Findings that are described; more of them say nothing new.
const DESCRIBED: usize = 20;
/// Rows that are read at once.
const ROWS: i64 = 100;

/// Compares every row's digest with its payload, and looks at every state key for a second value.
/// Whether indexes agree with their tables is checked by the server's own `amcheck`.
pub(crate) async fn check(session: &Session, name: &SpaceName) -> Result<Vec<String>> {
    let statements = session.statements();
    let mut findings = Vec::new();
    session.begin_read().await?;
    let twice = session
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
        let rows = session
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
    session.end().await?;
    Ok(findings)
}
