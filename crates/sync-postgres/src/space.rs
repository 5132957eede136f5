//! A space's own rows: `space` and `counter`.

use futures_util::future::join;
use sync_core::plan::Counters;
use sync_core::{Epoch, Error, ErrorKind, Result, Seq, SpaceName, Stats};
use tokio_postgres::Row;

use crate::columns::{count, only, position, value};
use crate::error::corrupt;
use crate::session::Session;
use crate::statements::Statement;

/// The answer to a look at a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadedSpace {
    /// The answering server; absent on a standby.
    server: Option<String>,
    /// The space, where it exists.
    pub(crate) stored: Option<StoredSpace>,
}

/// A space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSpace {
    pub(crate) incarnation: i32,
    /// The name of its history, as this server tells it.
    pub(crate) epoch: Epoch,
    /// Another server wrote last, so that the stored epoch is not this one yet.
    pub(crate) moved: bool,
    pub(crate) floor: Seq,
    /// Pages that were committed.
    pub(crate) page: i64,
    pub(crate) head: Seq,
    pub(crate) counters: Counters,
}

impl LoadedSpace {
    /// Loads the space called `name`, in the transaction of `session`.
    pub(crate) async fn load(session: &Session, name: &SpaceName) -> Result<Self> {
        let statement = &session.statements().space;
        let rows = session.rows(statement, &[&name.as_str()]).await?;
        Self::from_row(only(&rows)?)
    }

    fn from_row(row: &Row) -> Result<Self> {
        let server: Option<String> = value(row, 0)?;
        let Some(incarnation) = value(row, 1)? else {
            let stored = None;
            return Ok(Self { server, stored });
        };
        let stored = Epoch::try_from(value::<&[u8]>(row, 2)?).map_err(corrupt)?;
        let written_by: &str = value(row, 4)?;
        let moved = server.as_deref().is_some_and(|server| server != written_by);
        let epoch = match &server {
            Some(server) if moved => epoch_on(stored, server),
            _ => stored,
        };
        let stored = StoredSpace {
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
        let stored = Some(stored);
        Ok(Self { server, stored })
    }

    /// The space as readers see it, where it exists.
    pub(crate) fn stats(&self) -> Option<Stats> {
        self.stored.as_ref().map(|space| Stats {
            epoch: Some(space.epoch),
            total: space.counters.total,
            ordered: space.counters.ordered,
            tombstones: space.counters.tombstones,
            head: space.head,
            floor: space.floor,
        })
    }

    /// The answering server, which is going to write.
    fn writing_server(&self) -> Result<&str> {
        self.server
            .as_deref()
            .ok_or_else(|| Error::new(ErrorKind::ReadOnly).with_message("the server is a standby"))
    }
}

/// The epoch of a space that was last written under another server.
///
/// This server may have lost writes of that one that readers have seen, so that its rows are another
/// history. Every reader has to notice, also before the next page; so all of them work out the same
/// name for it, and the next page writes it down.
fn epoch_on(stored: Epoch, server: &str) -> Epoch {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stored.as_bytes()).update(server.as_bytes());
    let mut epoch = [0; 16];
    hasher.finalize_xof().fill(&mut epoch);
    Epoch::new(epoch)
}

/// Locks the space called `name` and loads it, in the transaction of `session`: its statements are
/// polled, and so sent, in that order. `None` where the space was created between the two, so that
/// it was not locked.
pub(crate) async fn lock(session: &Session, name: &SpaceName) -> Result<Option<LoadedSpace>> {
    let statement = &session.statements().lock;
    let (locked, loaded) = join(
        async { session.rows(statement, &[&name.as_str()]).await },
        LoadedSpace::load(session, name),
    )
    .await;
    let (locked, loaded) = (locked?, loaded?);
    let unlocked = locked.is_empty() && loaded.stored.is_some();
    Ok((!unlocked).then_some(loaded))
}

/// Creates the space called `name`, and answers its incarnation. `None` where another process has
/// created it since it was loaded.
pub(crate) async fn create(
    session: &Session,
    name: &SpaceName,
    loaded: &LoadedSpace,
) -> Result<Option<i32>> {
    let statement = &session.statements().create;
    let (name, epoch) = (name.as_str(), Epoch::random()?);
    let server = loaded.writing_server()?;
    let rows = session
        .rows(statement, &[&name, &&epoch.as_bytes()[..], &server])
        .await?;
    rows.first().map(|row| value(row, 0)).transpose()
}

/// The incarnation that a reset takes.
pub(crate) async fn next_incarnation(session: &Session) -> Result<i32> {
    let statement = &session.statements().next_incarnation;
    value(only(&session.rows(statement, &[]).await?)?, 0)
}

/// Writes the space's row: under the answering server from here on.
pub(crate) async fn save(
    session: &Session,
    name: &SpaceName,
    loaded: &LoadedSpace,
    (incarnation, epoch, floor): (i32, Epoch, Seq),
) -> Result<()> {
    let statement = &session.statements().save_space;
    let server = loaded.writing_server()?;
    let (name, epoch, floor) = (name.as_str(), &epoch.as_bytes()[..], floor.as_i64());
    session
        .execute(statement, &[&name, &incarnation, &epoch, &floor, &server])
        .await
        .map(drop)
}

/// Writes what every page changes, by `statement`: the first counters of an incarnation, or those
/// after the page with the number `page`.
pub(crate) async fn save_counter(
    session: &Session,
    statement: &Statement,
    (incarnation, page): (i32, i64),
    head: Seq,
    counters: Counters,
) -> Result<()> {
    let [total, ordered, tombstones] =
        [counters.total, counters.ordered, counters.tombstones].map(u64::cast_signed);
    let saved = session
        .execute(
            statement,
            &[
                &incarnation,
                &page,
                &head.as_i64(),
                &total,
                &ordered,
                &tombstones,
            ],
        )
        .await?;
    all_written(saved, 1)
}

/// Leaves an incarnation's rows to the sweep, and removes its counters.
pub(crate) async fn discard(session: &Session, incarnation: i32) -> Result<()> {
    let statements = session.statements();
    let (left, removed) = join(
        async { session.execute(&statements.discard, &[&incarnation]).await },
        async {
            let statement = &statements.drop_counter;
            session.execute(statement, &[&incarnation]).await
        },
    )
    .await;
    left.and(removed).map(drop)
}

/// Refuses a write that did not find every row that a look-up in the same transaction had found.
pub(crate) fn all_written(written: u64, wanted: usize) -> Result<()> {
    if written == wanted as u64 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt)
        .with_message(format!("{written} rows were written instead of {wanted}")))
}

#[cfg(test)]
mod tests;
