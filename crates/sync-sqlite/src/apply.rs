//! The one write: a page, in one transaction.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};
use sync_core::play::{
    InsertedRow, LiveRow, NewTombstone, Played, SpaceRow, StoredTombstone, Tables, play,
};
use sync_core::{
    Bytes, Digest, Error, ErrorKind, Object, OpId, Result, SpaceName, StateKey, SyncOrder,
    TombstoneReason, Ts,
};
use sync_kit::Written;
use sync_kit::digests::Digested;

use crate::columns::{object, optional_position, position};
use crate::error::{corrupt, failed};
use crate::space::{self, Space};
use crate::{SqliteConfig, state};

/// Applies `page` to the space called `name`, all or nothing.
pub(crate) fn apply(
    connection: &mut Connection,
    config: &SqliteConfig,
    name: &SpaceName,
    page: &Digested,
) -> Result<Written> {
    let faults = &config.faults;
    faults.boundary("begin")?;
    let (transaction, space) = space::begin(connection, name, config.durability)?;
    let exists = space.is_some();
    let mut row = space.as_ref().map_or_else(SpaceRow::default, |s| s.row);
    let mut rows = Rows::new(&transaction, config, name, space)?;
    let Played { applied, changed } = play(page.page(), page.digests(), &mut row, &mut rows)?;
    if changed {
        faults.boundary("space")?;
        rows.save(row)?;
        drop(rows);
        faults.boundary("commit")?;
        space::commit(transaction)?;
        faults.committed()?;
    }
    Ok(Written {
        applied,
        changed,
        garbage: page.page().reset && exists,
    })
}

/// The tables of one space, in the transaction of a page.
struct Rows<'t> {
    transaction: &'t Transaction<'t>,
    config: &'t SqliteConfig,
    name: &'t SpaceName,
    /// Absent until something is written to a space that did not exist.
    space: Option<Space>,
    statements: Statements<'t>,
}

/// The statements that run once for each operation.
struct Statements<'t> {
    insert: CachedStatement<'t>,
    row: CachedStatement<'t>,
    tombstone: CachedStatement<'t>,
    set_order: CachedStatement<'t>,
    set_order_if_absent: CachedStatement<'t>,
}

impl<'t> Rows<'t> {
    fn new(
        transaction: &'t Transaction<'t>,
        config: &'t SqliteConfig,
        name: &'t SpaceName,
        space: Option<Space>,
    ) -> Result<Self> {
        Ok(Self {
            transaction,
            config,
            name,
            space,
            statements: Statements::prepare(transaction).map_err(failed)?,
        })
    }

    /// Writes the space's own row.
    fn save(&mut self, row: SpaceRow) -> Result<()> {
        let (transaction, durability) = (self.transaction, self.config.durability);
        let space = self.space_mut()?;
        space.row = row;
        space.save(transaction, durability)
    }

    /// The space, created where this is the first write to it.
    fn space_mut(&mut self) -> Result<&mut Space> {
        if self.space.is_none() {
            self.boundary("create")?;
            self.space = Some(Space::create(self.transaction, self.name)?);
        }
        self.space
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Failed))
    }

    fn boundary(&self, name: &'static str) -> Result<()> {
        self.config.faults.boundary(name)
    }

    /// Runs a statement that is not worth keeping prepared for the whole page.
    fn execute(&self, text: &str, parameters: impl rusqlite::Params) -> Result<()> {
        self.transaction
            .prepare_cached(text)
            .and_then(|mut statement| statement.execute(parameters))
            .map(drop)
            .map_err(failed)
    }
}

impl<'t> Statements<'t> {
    fn prepare(connection: &'t Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: connection.prepare_cached(
                "INSERT INTO operation
                   (incarnation, id, ts, sync_order, seq, digest, object, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (incarnation, id) DO NOTHING",
            )?,
            row: connection.prepare_cached(
                "SELECT rid, digest, sync_order FROM operation WHERE incarnation = ?1 AND id = ?2",
            )?,
            tombstone: connection.prepare_cached(
                "SELECT seq, reason, source_seq, lifted FROM tombstone INDEXED BY tombstone_id
                 WHERE incarnation = ?1 AND id = ?2 ORDER BY seq DESC LIMIT 1",
            )?,
            set_order: connection
                .prepare_cached("UPDATE operation SET sync_order = ?2 WHERE rid = ?1")?,
            set_order_if_absent: connection.prepare_cached(
                "UPDATE operation SET sync_order = ?3
                 WHERE incarnation = ?1 AND id = ?2 AND sync_order IS NULL",
            )?,
        })
    }
}

impl Tables for Rows<'_> {
    type Handle = i64;

    fn reset(&mut self) -> Result<()> {
        self.boundary("reset")?;
        let transaction = self.transaction;
        // A space that this page creates leaves nothing behind.
        if self.space.is_some() {
            self.space_mut()?.reset(transaction)
        } else {
            self.space_mut().map(drop)
        }
    }

    fn row(&mut self, id: &OpId, whole: bool) -> Result<Option<LiveRow<i64>>> {
        self.boundary("row")?;
        let Some(space) = &self.space else {
            return Ok(None);
        };
        let key = params![space.incarnation, id.as_bytes()];
        let live = |row: &rusqlite::Row<'_>| {
            Ok(LiveRow {
                handle: row.get(0)?,
                digest: Digest::try_from(row.get_ref(1)?.as_blob()?).map_err(corrupt)?,
                sync_order: optional_position(row, 2)?,
                ts: if whole { position(row, 3)? } else { Ts::ZERO },
                object: if whole {
                    object(row.get_ref(4)?)?
                } else {
                    None
                },
            })
        };
        let found = if whole {
            self.transaction
                .prepare_cached(
                    "SELECT rid, digest, sync_order, ts, object FROM operation
                     WHERE incarnation = ?1 AND id = ?2",
                )
                .and_then(|mut row| row.query_row(key, live).optional())
        } else {
            self.statements.row.query_row(key, live).optional()
        };
        found.map_err(failed)
    }

    fn tombstone(&mut self, id: &OpId) -> Result<Option<StoredTombstone>> {
        let Some(space) = &self.space else {
            return Ok(None);
        };
        let key = params![space.incarnation, id.as_bytes()];
        let found = self.statements.tombstone.query_row(key, |row| {
            let lifted: bool = row.get(3)?;
            let tombstone = StoredTombstone {
                seq: position(row, 0)?,
                reason: TombstoneReason::from_code(row.get(1)?).map_err(corrupt)?,
                source_seq: optional_position(row, 2)?,
            };
            Ok((!lifted).then_some(tombstone))
        });
        found.optional().map(Option::flatten).map_err(failed)
    }

    fn insert(&mut self, row: &InsertedRow<'_>) -> Result<()> {
        match self.insert_if_new(row)? {
            Some(true) => Ok(()),
            _ => Err(Error::new(ErrorKind::Corrupt)
                .with_message("a row that the index of ids does not find")),
        }
    }

    fn insert_if_new(&mut self, row: &InsertedRow<'_>) -> Result<Option<bool>> {
        self.boundary("insert")?;
        let incarnation = self.space_mut()?.incarnation;
        let operation = row.operation;
        let inserted = self.statements.insert.execute(params![
            incarnation,
            operation.id.as_bytes(),
            operation.ts.as_i64(),
            row.sync_order.map(SyncOrder::as_i64),
            row.seq.as_i64(),
            row.digest.as_bytes(),
            operation.object.as_ref().map(Object::as_bytes),
            &operation.payload[..],
        ]);
        Ok(Some(inserted.map_err(failed)? > 0))
    }

    fn remove(&mut self, _: &OpId, row: &LiveRow<i64>) -> Result<()> {
        self.boundary("delete row")?;
        self.execute("DELETE FROM operation WHERE rid = ?1", [row.handle])
    }

    fn set_order(&mut self, _: &OpId, row: &LiveRow<i64>, sync_order: SyncOrder) -> Result<()> {
        self.boundary("order")?;
        self.statements
            .set_order
            .execute(params![row.handle, sync_order.as_i64()])
            .map(drop)
            .map_err(failed)
    }

    fn set_order_if_absent(&mut self, id: &OpId, sync_order: SyncOrder) -> Result<Option<bool>> {
        self.boundary("order")?;
        let Some(space) = &self.space else {
            return Ok(Some(false));
        };
        let key = (space.incarnation, id.as_bytes(), sync_order.as_i64());
        let set = self.statements.set_order_if_absent.execute(key);
        Ok(Some(set.map_err(failed)? > 0))
    }

    fn add_tombstone(&mut self, tombstone: NewTombstone) -> Result<()> {
        self.boundary("tombstone")?;
        let incarnation = self.space_mut()?.incarnation;
        self.execute(
            "INSERT INTO tombstone
               (incarnation, seq, id, ts, object, reason, source_seq, lifted)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)",
            params![
                incarnation,
                tombstone.seq.as_i64(),
                tombstone.id.as_bytes(),
                tombstone.ts.map(Ts::as_i64),
                tombstone.object.as_ref().map(Object::as_bytes),
                tombstone.reason.code(),
                tombstone.source_seq.map(SyncOrder::as_i64),
            ],
        )
    }

    fn raise_tombstone(
        &mut self,
        _: &OpId,
        tombstone: &StoredTombstone,
        source_seq: SyncOrder,
    ) -> Result<()> {
        self.boundary("source seq")?;
        let incarnation = self.space_mut()?.incarnation;
        self.execute(
            "UPDATE tombstone SET source_seq = ?3 WHERE incarnation = ?1 AND seq = ?2",
            params![incarnation, tombstone.seq.as_i64(), source_seq.as_i64()],
        )
    }

    fn lift_tombstone(&mut self, _: &OpId, tombstone: &StoredTombstone) -> Result<()> {
        self.boundary("lift")?;
        let incarnation = self.space_mut()?.incarnation;
        self.execute(
            "UPDATE tombstone SET lifted = 1 WHERE incarnation = ?1 AND seq = ?2",
            params![incarnation, tombstone.seq.as_i64()],
        )
    }

    fn state(&mut self, key: &StateKey) -> Result<Option<Bytes>> {
        self.boundary("state")?;
        match &self.space {
            Some(space) => state::load(self.transaction, space.incarnation, key).map_err(failed),
            None => Ok(None),
        }
    }

    fn set_state(&mut self, key: &StateKey, value: Option<&Bytes>) -> Result<()> {
        self.boundary("set state")?;
        let (incarnation, key) = (self.space_mut()?.incarnation, key.as_str());
        match value {
            Some(value) => self.execute(
                "INSERT INTO state (incarnation, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (incarnation, key) DO UPDATE SET value = excluded.value",
                params![incarnation, key, &value[..]],
            ),
            None => self.execute(
                "DELETE FROM state WHERE incarnation = ?1 AND key = ?2",
                params![incarnation, key],
            ),
        }
    }
}
