use rusqlite::{Connection, Transaction};
use sync_core::{Page, Result, SpaceName, StateChange, UpsertOutcome, limits};
use sync_takeover::{Reading, RefusedReason, RefusedRow, TakeoverReport};

use super::deployed::{self, Deployed, Raw};
use super::refused;
use crate::SqliteConfig;
use crate::apply;
use crate::digests::Digested;
use crate::error::failed;
use crate::space::Space;

/// Rows and bytes of one page: what the import holds in memory.
const PAGE_ROWS: usize = 1_000;
const PAGE_BYTES: usize = 8 << 20;

/// Old rows on their way into a space, in pages inside one transaction.
pub(super) struct Import<'t> {
    transaction: &'t Transaction<'t>,
    config: &'t SqliteConfig,
    space: &'t SpaceName,
    page: Page,
    bytes: usize,
    /// What a report will say of the page's upserts, should their ids turn out to be present.
    duplicates: Vec<RefusedRow>,
    report: TakeoverReport,
}

impl<'t> Import<'t> {
    /// An import into a space that must be empty.
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        config: &'t SqliteConfig,
        space: &'t SpaceName,
    ) -> Result<Self> {
        if !is_empty(transaction, space).map_err(failed("takeover"))? {
            return Err(refused(format!("the space {space} is not empty")));
        }
        Ok(Self {
            transaction,
            config,
            space,
            page: Page::new(),
            bytes: 0,
            duplicates: Vec::new(),
            report: TakeoverReport::default(),
        })
    }

    /// Brings everything that `old` holds.
    pub(super) fn all(
        mut self,
        deployed: &Deployed,
        old: &Connection,
        reading: &Reading,
    ) -> Result<TakeoverReport> {
        for mut statement in deployed.rows(old).map_err(failed("takeover"))? {
            let mut rows = statement.query([]).map_err(failed("takeover"))?;
            while let Some(row) = rows.next().map_err(failed("takeover"))? {
                self.row(&Raw::of(row).map_err(failed("takeover"))?, reading)?;
            }
        }
        if let Some(mut statement) = deployed.state(old).map_err(failed("takeover"))? {
            let mut rows = statement.query([]).map_err(failed("takeover"))?;
            while let Some(row) = rows.next().map_err(failed("takeover"))? {
                match deployed::state_entry(row).map_err(failed("takeover"))? {
                    Ok((key, value)) => self.state(key, value)?,
                    Err(refused) => self.report.refused_state.push(refused),
                }
            }
        }
        self.flush()?;
        Ok(self.report)
    }

    fn row(&mut self, row: &Raw<'_>, reading: &Reading) -> Result<()> {
        match row.operation(reading) {
            Ok(operation) => {
                self.make_room(operation.payload.len())?;
                self.page.upserts.push(operation);
                self.duplicates.push(row.refused(RefusedReason::Duplicate));
                Ok(())
            }
            Err(reason) => {
                self.report.refused.push(row.refused(reason));
                Ok(())
            }
        }
    }

    fn state(&mut self, key: sync_core::StateKey, value: Vec<u8>) -> Result<()> {
        self.make_room(value.len())?;
        self.report.state_keys.push(key.clone());
        self.page.state.push(StateChange {
            key,
            value: Some(value.into()),
        });
        Ok(())
    }

    /// Writes the page where `bytes` more would be too much for it, and counts them.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let entries = self.page.upserts.len() + self.page.state.len();
        if entries >= PAGE_ROWS || self.bytes + bytes > PAGE_BYTES {
            self.flush()?;
        }
        self.bytes += bytes;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let page = Digested::new(std::mem::take(&mut self.page));
        self.bytes = 0;
        let applied = apply::apply_in(self.transaction, self.config, self.space, &page)?;
        let outcomes = applied.upserts.iter().zip(&page.page().upserts);
        for ((outcome, operation), duplicate) in outcomes.zip(self.duplicates.drain(..)) {
            if *outcome == UpsertOutcome::Inserted {
                self.report.taken += 1;
                self.report.ordered += u64::from(operation.sync_order.is_some());
            } else {
                self.report.refused.push(duplicate);
            }
        }
        Ok(())
    }
}

const _: () =
    assert!(PAGE_ROWS <= limits::PAGE_OPERATIONS && PAGE_ROWS <= limits::PAGE_STATE_CHANGES);

fn is_empty(connection: &Connection, space: &SpaceName) -> rusqlite::Result<bool> {
    let Some(space) = Space::load(connection, space)? else {
        return Ok(true);
    };
    if space.total > 0 || space.tombstones > 0 {
        return Ok(false);
    }
    connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM state WHERE incarnation = ?1)",
        [space.incarnation],
        |row| row.get(0),
    )
}
