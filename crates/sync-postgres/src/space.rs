//! A space's own rows.

use sync_core::plan::Counters;
use sync_core::{Bytes, Epoch, Error, ErrorKind, Result, Seq, SpaceName, Stats};
use tokio_postgres::Row;

use crate::NAME;
use crate::columns::{count, position, value};
use crate::error::corrupt;
use crate::pool::Connection;

/// What there is of a space, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The answering server; absent on a standby.
    server: Option<String>,
    pub(crate) space: Option<Space>,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) incarnation: i32,
    /// The name of its history, as this server tells it.
    pub(crate) epoch: Epoch,
    /// The row does not have that epoch yet.
    pub(crate) moved: bool,
    pub(crate) floor: Seq,
    /// Pages that were committed.
    pub(crate) page: i64,
    pub(crate) head: Seq,
    pub(crate) counters: Counters,
}

impl Found {
    /// The space called `name`, in the transaction of `connection`.
    pub(crate) async fn load(connection: &Connection, name: &SpaceName) -> Result<Self> {
        let statement = &connection.statements().space;
        let rows = connection.rows(statement, &[&name.as_str()]).await?;
        let row = rows.first().ok_or_else(|| {
            Error::new(ErrorKind::Failed).with_message("the server answered nothing")
        })?;
        Self::from_row(row)
    }

    fn from_row(row: &Row) -> Result<Self> {
        let server: Option<String> = value(row, 0)?;
        let Some(incarnation) = value(row, 1)? else {
            return Ok(Self {
                server,
                space: None,
            });
        };
        let stored = Epoch::try_from(value::<&[u8]>(row, 2)?).map_err(corrupt)?;
        let written_by: &str = value(row, 4)?;
        let moved = server.as_deref().is_some_and(|server| server != written_by);
        let epoch = match &server {
            Some(server) if moved => epoch_on(stored, server),
            _ => stored,
        };
        let space = Space {
            incarnation,
            epoch,
            moved,
            floor: position(row, 3)?,
            page: value(row, 5)?,
            head: position(row, 6)?,
            counters: Counters {
                total: count(row, 7)?,
                ordered: count(row, 8)?,
                tombstones: count(row, 9)?,
            },
        };
        Ok(Self {
            server,
            space: Some(space),
        })
    }

    /// The answering server, which is going to write.
    fn writing_server(&self) -> Result<&str> {
        self.server.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::ReadOnly)
                .with_message("the server is a standby")
                .of_backend(NAME)
        })
    }
}

/// The epoch of a space that was last written under another server.
///
/// Its rows may have been left behind by writes that readers have seen, so that it is another
/// history. Every reader has to notice, also before the next page; so all of them work out the same
/// name for it, and the next page writes it down.
fn epoch_on(stored: Epoch, server: &str) -> Epoch {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stored.as_bytes()).update(server.as_bytes());
    let whole = hasher.finalize();
    let mut half = [0; 16];
    half.copy_from_slice(whole.as_slice().split_at(16).0);
    Epoch::new(half)
}

impl Space {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            epoch: Some(self.epoch),
            total: self.counters.total,
            ordered: self.counters.ordered,
            tombstones: self.counters.tombstones,
            head: self.head,
            floor: self.floor,
        }
    }
}

/// Locks the space called `name` and loads it, in the transaction of `connection`: its statements
/// are polled, and so sent, in that order. `None` where somebody has created the space between the
/// two, so that it was not locked.
pub(crate) async fn lock(connection: &Connection, name: &SpaceName) -> Result<Option<Found>> {
    let statement = &connection.statements().lock;
    let (locked, found) = futures_util::future::join(
        async { connection.rows(statement, &[&name.as_str()]).await },
        Found::load(connection, name),
    )
    .await;
    let (locked, found) = (locked?, found?);
    let unlocked = locked.is_empty() && found.space.is_some();
    Ok((!unlocked).then_some(found))
}

/// Creates the space called `name`. `None` where somebody else has in between.
pub(crate) async fn create(
    connection: &Connection,
    name: &SpaceName,
    found: &Found,
) -> Result<Option<i32>> {
    let epoch = Epoch::random()?;
    let statement = &connection.statements().create;
    let server = found.writing_server()?;
    let rows = connection
        .rows(
            statement,
            &[&name.as_str(), &&epoch.as_bytes()[..], &server],
        )
        .await?;
    rows.first().map(|row| value(row, 0)).transpose()
}

/// The incarnation that a reset takes.
pub(crate) async fn next_incarnation(connection: &Connection) -> Result<i32> {
    let statement = &connection.statements().next_incarnation;
    let rows = connection.rows(statement, &[]).await?;
    let row = rows.first();
    row.map_or_else(|| Err(Error::new(ErrorKind::Failed)), |row| value(row, 0))
}

/// Writes the space's row: under the answering server from here on.
pub(crate) async fn save(
    connection: &Connection,
    name: &SpaceName,
    found: &Found,
    (incarnation, epoch, floor): (i32, Epoch, Seq),
) -> Result<()> {
    let statement = &connection.statements().save_space;
    let server = found.writing_server()?;
    let epoch = Bytes::copy_from_slice(epoch.as_bytes());
    connection
        .execute(
            statement,
            &[
                &name.as_str(),
                &incarnation,
                &&epoch[..],
                &floor.as_i64(),
                &server,
            ],
        )
        .await
        .map(drop)
}

/// Writes what every page changes: the page after `page` has left the space like this.
pub(crate) async fn save_counter(
    connection: &Connection,
    (incarnation, page): (i32, i64),
    head: Seq,
    counters: Counters,
) -> Result<()> {
    let statement = &connection.statements().save_counter;
    let saved = connection
        .execute(
            statement,
            &[
                &incarnation,
                &page,
                &head.as_i64(),
                &counters.total.cast_signed(),
                &counters.ordered.cast_signed(),
                &counters.tombstones.cast_signed(),
            ],
        )
        .await?;
    if saved == 1 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt)
        .with_message("the space has no counters")
        .of_backend(NAME))
}

/// Writes the first counters of an incarnation.
pub(crate) async fn create_counter(
    connection: &Connection,
    incarnation: i32,
    head: Seq,
    counters: Counters,
) -> Result<()> {
    let statement = &connection.statements().create_counter;
    connection
        .execute(
            statement,
            &[
                &incarnation,
                &0_i64,
                &head.as_i64(),
                &counters.total.cast_signed(),
                &counters.ordered.cast_signed(),
                &counters.tombstones.cast_signed(),
            ],
        )
        .await
        .map(drop)
}

/// Leaves an incarnation's rows to the sweep, and takes its counters away.
pub(crate) async fn discard(connection: &Connection, incarnation: i32) -> Result<()> {
    let statements = connection.statements();
    let (left, gone) = futures_util::future::join(
        async {
            connection
                .execute(&statements.discard, &[&incarnation])
                .await
        },
        async {
            connection
                .execute(&statements.drop_counter, &[&incarnation])
                .await
        },
    )
    .await;
    left.and(gone).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_one_server_agree_on_the_epoch_and_those_of_two_do_not() {
        let stored = Epoch::new([7; 16]);
        let (a, b) = (
            epoch_on(stored, "1:00000001"),
            epoch_on(stored, "1:00000002"),
        );
        assert_eq!(a, epoch_on(stored, "1:00000001"));
        assert_ne!(a, b);
        assert_ne!(a, stored);
        assert_ne!(a, epoch_on(Epoch::new([8; 16]), "1:00000001"));
    }
}
