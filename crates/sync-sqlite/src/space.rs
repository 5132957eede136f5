use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sync_core::{Durability, Epoch, Error, ErrorKind, Result, Seq, SpaceName, Stats};

use crate::NAME;
use crate::columns::position;
use crate::error::{corrupt, failed};

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
    pub(crate) head: Seq,
    pub(crate) floor: Seq,
    pub(crate) total: u64,
    pub(crate) ordered: u64,
    pub(crate) tombstones: u64,
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
            head: position(row, 3)?,
            floor: position(row, 4)?,
            total: count(row, 5)?,
            ordered: count(row, 6)?,
            tombstones: count(row, 7)?,
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
                head: Seq::ZERO,
                floor: Seq::ZERO,
                total: 0,
                ordered: 0,
                tombstones: 0,
                boot: None,
            })
        };
        create().map_err(failed("apply"))
    }

    /// Leaves everything behind for a new incarnation under a new epoch. Seqs go on.
    pub(crate) fn reset(&mut self, transaction: &Transaction<'_>) -> Result<()> {
        self.epoch = Epoch::random()?;
        discard(transaction, self.incarnation).map_err(failed("apply"))?;
        self.incarnation = next_incarnation(transaction).map_err(failed("apply"))?;
        (self.total, self.ordered, self.tombstones) = (0, 0, 0);
        Ok(())
    }

    /// Writes the row back, with a new epoch where writes that were answered may have been lost.
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
                    self.head.as_i64(),
                    self.floor.as_i64(),
                    self.total.cast_signed(),
                    self.ordered.cast_signed(),
                    self.tombstones.cast_signed(),
                    self.boot,
                ])
        };
        save().map(drop).map_err(failed("apply"))
    }

    /// The next seq.
    pub(crate) fn mint(&mut self) -> Result<Seq> {
        self.head = self
            .head
            .next()
            .ok_or_else(|| Error::new(ErrorKind::Exhausted))?;
        Ok(self.head)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: Some(self.epoch),
            total: self.total,
            ordered: self.ordered,
            tombstones: self.tombstones,
            head: self.head,
            floor: self.floor,
        }
    }
}

/// Begins a transaction that writes to the space called `name`.
///
/// The space's row says so on the disk before the first one that is not synced: a crash that takes
/// that one must not take the sign of it as well.
pub(crate) fn begin<'c>(
    connection: &'c Connection,
    name: &SpaceName,
    durability: Durability,
) -> rusqlite::Result<(Transaction<'c>, Option<Space>)> {
    loop {
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
    }
}

/// Commits. Where SQLite could not write, nobody can say whether a later recovery finds the
/// transaction whole in the log; where it says why it refused, nothing was written.
pub(crate) fn commit(transaction: Transaction<'_>, operation: &'static str) -> Result<()> {
    transaction.commit().map_err(|source| {
        let error = failed(operation)(source);
        match error.kind() {
            ErrorKind::Busy | ErrorKind::Full | ErrorKind::ReadOnly => error,
            _ => Error::new(ErrorKind::UnknownOutcome)
                .with_source(error)
                .of_backend(NAME)
                .during(operation),
        }
    })
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
pub(crate) fn discard(connection: &Connection, incarnation: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO garbage (incarnation) VALUES (?1)")?
        .execute([incarnation])
        .map(drop)
}

/// A counter after `gone` of what it counts went. One that is too low for that is damaged, and must
/// not be written back as a number that nobody can read.
pub(crate) fn less(counter: u64, gone: u64) -> Result<u64> {
    counter.checked_sub(gone).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt).with_message("a counter is lower than what it counts")
    })
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
