use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sync_core::play::{Counters, SpaceRow};
use sync_core::{Durability, Epoch, Error, ErrorKind, Result, Seq, SpaceName, Stats};
use sync_kit::{Altered, Change};

use crate::columns::position;
use crate::error::{corrupt, failed};
use crate::sweep;

/// The name of this boot of the machine: what was written without fsync is certain until it ends.
/// Where the system does not tell, each process is taken for a boot of its own.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let told = told.trim();
    if told.is_empty() {
        format!("process-{:032x}", fastrand::u128(..))
    } else {
        told.to_owned()
    }
});

/// A space's own row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) row_id: i64,
    pub(crate) epoch: Epoch,
    pub(crate) incarnation: i64,
    pub(crate) floor: Seq,
    pub(crate) row: SpaceRow,
    /// The boot of the machine in which the last page was written without fsync.
    boot: Option<String>,
}

impl Space {
    /// The space called `name`, where it exists.
    pub(crate) fn load(
        connection: &Connection,
        name: &SpaceName,
    ) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT space_id, epoch, incarnation, head, floor, total, ordered, tombstones, boot
                 FROM space WHERE name = ?1",
            )?
            .query_row([name.as_str()], Self::from_row)
            .optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            row_id: row.get(0)?,
            epoch: Epoch::try_from(row.get_ref(1)?.as_blob()?).map_err(corrupt)?,
            incarnation: row.get(2)?,
            row: SpaceRow {
                head: position(row, 3)?,
                counters: Counters {
                    total: count(row, 5)?,
                    ordered: count(row, 6)?,
                    tombstones: count(row, 7)?,
                },
            },
            floor: position(row, 4)?,
            boot: row.get(8)?,
        })
    }

    /// Creates the space.
    pub(crate) fn create(transaction: &Transaction<'_>, name: &SpaceName) -> Result<Self> {
        let epoch = Epoch::random()?;
        let create = || {
            let incarnation = next_incarnation(transaction)?;
            transaction
                .prepare_cached(
                    "INSERT INTO space
                       (name, epoch, incarnation, head, floor, total, ordered, tombstones)
                     VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0)",
                )?
                .execute(params![name.as_str(), epoch.as_bytes(), incarnation])?;
            Ok(Self {
                row_id: transaction.last_insert_rowid(),
                epoch,
                incarnation,
                floor: Seq::ZERO,
                row: SpaceRow::default(),
                boot: None,
            })
        };
        create().map_err(failed)
    }

    /// Leaves everything behind for a new incarnation under a new epoch. Seqs and floor go on.
    pub(crate) fn reset(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        self.epoch = Epoch::random()?;
        discard(transaction, self.incarnation).map_err(failed)?;
        self.incarnation = next_incarnation(transaction).map_err(failed)?;
        Ok(())
    }

    /// Writes the row back, with a new epoch where acknowledged writes may have been lost.
    pub(crate) fn save(
        &mut self,
        transaction: &Transaction<'_>,
        durability: Durability,
    ) -> Result<()> {
        if self.boot.as_ref().is_some_and(|boot| *boot != *BOOT) {
            self.epoch = Epoch::random()?;
        }
        self.boot = (durability < Durability::Machine).then(|| BOOT.clone());
        let save = || {
            transaction
                .prepare_cached(
                    "UPDATE space SET epoch = ?2, incarnation = ?3, head = ?4, floor = ?5,
                       total = ?6, ordered = ?7, tombstones = ?8, boot = ?9
                     WHERE space_id = ?1",
                )?
                .execute(params![
                    self.row_id,
                    self.epoch.as_bytes(),
                    self.incarnation,
                    self.row.head.as_i64(),
                    self.floor.as_i64(),
                    self.row.counters.total.cast_signed(),
                    self.row.counters.ordered.cast_signed(),
                    self.row.counters.tombstones.cast_signed(),
                    self.boot,
                ])
        };
        save().map(drop).map_err(failed)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: Some(self.epoch),
            total: self.row.counters.total,
            ordered: self.row.counters.ordered,
            tombstones: self.row.counters.tombstones,
            head: self.row.head,
            floor: self.floor,
        }
    }
}

/// Begins a transaction that writes to the space called `name`.
///
/// The space's row is marked on the disk before the first transaction that is not synced: a crash
/// that takes that one must not take the mark as well.
pub(crate) fn begin<'c>(
    connection: &'c Connection,
    name: &SpaceName,
    durability: Durability,
) -> Result<(Transaction<'c>, Option<Space>)> {
    let begin = || loop {
        let transaction = immediate(connection)?;
        let space = Space::load(&transaction, name)?;
        // A space that is lost whole comes back under another epoch.
        let marked = space.as_ref().is_none_or(|space| space.boot.is_some());
        if marked || durability == Durability::Machine {
            return Ok((transaction, space));
        }
        transaction.rollback()?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let marked = mark(connection, name);
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        marked?;
    };
    begin().map_err(failed)
}

/// Commits. Where SQLite could not write, a later recovery may or may not find the transaction whole
/// in the log; where it says why it refused, nothing was written.
pub(crate) fn commit(transaction: Transaction<'_>) -> Result<()> {
    transaction.commit().map_err(|source| {
        let error = failed(source);
        match error.kind() {
            ErrorKind::Busy | ErrorKind::Full | ErrorKind::ReadOnly => error,
            _ => Error::new(ErrorKind::UnknownOutcome).with_source(error),
        }
    })
}

/// Changes the space as a whole.
pub(crate) fn alter(
    connection: &Connection,
    name: &SpaceName,
    durability: Durability,
    change: Change,
) -> Result<Altered> {
    let (transaction, Some(mut space)) = begin(connection, name, durability)? else {
        return Ok(Altered::Absent);
    };
    let altered = match change {
        Change::NewEpoch => {
            space.epoch = Epoch::random()?;
            Altered::Epoch(space.epoch)
        }
        Change::RaiseFloor(up_to) => {
            let floor = space.floor.max(up_to.min(space.row.head));
            if floor == space.floor {
                return Ok(Altered::Floor(floor));
            }
            space.floor = floor;
            Altered::Floor(floor)
        }
        Change::PrunePiece(after) => {
            let (dropped, next) = sweep::prune(&transaction, &space, after).map_err(failed)?;
            let pruned = Altered::Pruned { dropped, next };
            if dropped == 0 {
                return Ok(pruned);
            }
            let counters = &mut space.row.counters;
            counters.tombstones = Counters::less(counters.tombstones, dropped)?;
            pruned
        }
    };
    space.save(&transaction, durability)?;
    commit(transaction)?;
    Ok(altered)
}

/// Removes the space called `name` and leaves its rows to the sweep. Whether it existed.
pub(crate) fn drop_space(connection: &Connection, name: &SpaceName) -> Result<bool> {
    let transaction = immediate(connection).map_err(failed)?;
    let Some(space) = Space::load(&transaction, name).map_err(failed)? else {
        return Ok(false);
    };
    let remove = || {
        transaction
            .prepare_cached("DELETE FROM space WHERE space_id = ?1")?
            .execute([space.row_id])?;
        discard(&transaction, space.incarnation)
    };
    remove().map_err(failed)?;
    commit(transaction)?;
    Ok(true)
}

fn mark(connection: &Connection, name: &SpaceName) -> rusqlite::Result<()> {
    let transaction = immediate(connection)?;
    transaction
        .prepare_cached("UPDATE space SET boot = ?2 WHERE name = ?1 AND boot IS NULL")?
        .execute(params![name.as_str(), *BOOT])?;
    transaction.commit()
}

/// Not checked at compile time, because it may have to begin twice; SQLite refuses to nest them.
fn immediate(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// Leaves an incarnation's rows to the sweep.
fn discard(connection: &Connection, incarnation: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO garbage (incarnation) VALUES (?1)")?
        .execute([incarnation])
        .map(drop)
}

fn next_incarnation(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("UPDATE incarnation SET next = next + 1 RETURNING next - 1")?
        .query_row([], |row| row.get(0))
}

fn count(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}
