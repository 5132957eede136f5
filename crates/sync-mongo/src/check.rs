//! Damage that only the database can show.

use std::sync::Arc;

use mongodb::bson::raw::RawDocument;
use mongodb::bson::rawdoc;
use sync_core::{Digest, OpId, Result, SpaceName};

use crate::database::Database;
use crate::documents::{BATCH, Fields, OperationKey};
use crate::error::corrupt;
use crate::schema;
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;

/// The most findings that are described; more of them say nothing new.
const DESCRIBED: usize = 20;
/// Rows of one snapshot: the server keeps the past for a few minutes, and a large space takes longer.
const ROWS: i64 = BATCH;

/// The indexes, and every row's digest against its payload.
pub(crate) async fn check(database: &Arc<Database>, name: &SpaceName) -> Result<Vec<String>> {
    let mut findings = schema::missing_indexes(database).await?;
    let mut after: Option<OpId> = None;
    loop {
        let mut snapshot = Snapshot::new(database);
        let Some(space) = SpaceDocument::load(&mut snapshot, name).await? else {
            return Ok(findings);
        };
        let from = after.unwrap_or(OpId::new([0; 32]));
        let first = OperationKey::new(space.incarnation, &from);
        let last = OperationKey::new(space.incarnation, &OpId::new([0xff; 32]));
        let bound = if after.is_some() {
            rawdoc! { "$gt": first.binary(), "$lte": last.binary() }
        } else {
            rawdoc! { "$gte": first.binary(), "$lte": last.binary() }
        };
        let command = rawdoc! {
            "find": database.collections.operations.as_str(),
            "filter": { "_id": bound },
            "sort": { "_id": 1 },
            "hint": { "_id": 1 },
            "limit": ROWS,
        };
        let mut found = snapshot.find(command, fits).await?;
        let mut rows = 0;
        while let Some((id, fits)) = found.next().await? {
            rows += 1;
            after = Some(id);
            if !fits && findings.len() < DESCRIBED {
                findings.push(format!("the digest of {id} does not fit its row"));
            }
        }
        if rows < ROWS {
            return Ok(findings);
        }
    }
}

/// Whether a row's digest fits it.
fn fits(document: &RawDocument) -> Result<(OpId, bool)> {
    let fields = Fields::of(document)?;
    let stored = Digest::try_from(fields.digest()?).map_err(corrupt)?;
    let row = fields.row()?;
    Ok((row.operation.id, row.operation.digest() == stored))
}
