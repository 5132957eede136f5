//! What stands under an id, and the statements that run once for each operation.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use sync_core::rules;
use sync_core::{Digest, Object, OpId, Seq, SyncOrder, TombstoneReason, Ts};

use super::Writing;
use crate::columns::{object, optional_position, position};
use crate::error::corrupt;

/// The statements that run once for each operation.
pub(super) struct Statements<'t> {
    pub(super) insert: CachedStatement<'t>,
    pub(super) look_up: CachedStatement<'t>,
    pub(super) grave: CachedStatement<'t>,
    pub(super) set_order: CachedStatement<'t>,
    pub(super) fill_order: CachedStatement<'t>,
}

/// A row, as far as an upsert or backfill asks for it.
pub(super) struct Present {
    pub(super) rid: i64,
    pub(super) digest: Digest,
    pub(super) sync_order: Option<SyncOrder>,
}
/// A row without its payload.
pub(super) struct WholeRow {
    pub(super) rid: i64,
    pub(super) ts: Ts,
    pub(super) sync_order: Option<SyncOrder>,
    pub(super) object: Option<Object>,
}

impl Writing<'_> {
    pub(super) fn find(&mut self, id: OpId) -> rusqlite::Result<Option<Present>> {
        let Some(space) = &self.space else {
            return Ok(None);
        };
        self.statements
            .look_up
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                Ok(Present {
                    rid: row.get(0)?,
                    digest: Digest::try_from(row.get_ref(1)?.as_blob()?).map_err(corrupt)?,
                    sync_order: optional_position(row, 2)?,
                })
            })
            .optional()
    }

    pub(super) fn find_whole(&self, id: OpId) -> rusqlite::Result<Option<WholeRow>> {
        let Some(space) = &self.space else {
            return Ok(None);
        };
        self.transaction
            .prepare_cached(
                "SELECT rid, ts, sync_order, object FROM operation
                 WHERE incarnation = ?1 AND id = ?2",
            )?
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                Ok(WholeRow {
                    rid: row.get(0)?,
                    ts: position(row, 1)?,
                    sync_order: optional_position(row, 2)?,
                    object: object(row.get_ref(3)?)?,
                })
            })
            .optional()
    }

    /// The tombstone that stands for `id` where it has no row.
    pub(super) fn grave(&mut self, id: OpId) -> rusqlite::Result<Option<rules::Tombstone>> {
        let Some(space) = self.space.as_ref().filter(|space| space.tombstones > 0) else {
            return Ok(None);
        };
        let head_before = self.head_before;
        self.statements
            .grave
            .query_row(params![space.incarnation, id.as_bytes()], |row| {
                let lifted: bool = row.get(3)?;
                let seq: Seq = position(row, 0)?;
                let grave = rules::Tombstone {
                    reason: TombstoneReason::from_code(row.get(1)?).map_err(corrupt)?,
                    source_seq: optional_position(row, 2)?,
                    by_this_page: seq > head_before,
                };
                Ok((!lifted).then_some(grave))
            })
            .optional()
            .map(Option::flatten)
    }
}

impl<'t> Statements<'t> {
    pub(super) fn prepare(connection: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: connection.prepare_cached(
                "INSERT INTO operation
                   (incarnation, id, ts, sync_order, seq, digest, object, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (incarnation, id) DO NOTHING",
            )?,
            look_up: connection.prepare_cached(
                "SELECT rid, digest, sync_order FROM operation WHERE incarnation = ?1 AND id = ?2",
            )?,
            grave: connection.prepare_cached(
                "SELECT seq, reason, source_seq, lifted FROM tombstone INDEXED BY tombstone_id
                 WHERE incarnation = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
            )?,
            set_order: connection
                .prepare_cached("UPDATE operation SET sync_order = ?2 WHERE rid = ?1")?,
            fill_order: connection.prepare_cached(
                "UPDATE operation SET sync_order = ?3
                 WHERE incarnation = ?1 AND id = ?2 AND sync_order IS NULL",
            )?,
        })
    }
}
