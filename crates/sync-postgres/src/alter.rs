//! Changes of a space as a whole: a new epoch, the floor, a piece of a prune, and the end of a space.

use futures_util::future::join;
use sync_core::plan::Counters;
use sync_core::{Epoch, Error, ErrorKind, Result, Seq, SpaceName, TombstoneReason};
use sync_kit::{Altered, Change};

use crate::columns::{only, optional_position, value};
use crate::session::Session;
use crate::space::{self, LoadedSpace, StoredSpace};

/// Tombstones that one transaction of a prune looks at.
const PIECE: i64 = 1_000;

/// Changes the space called `name`, in one transaction.
pub(crate) async fn alter(session: &Session, name: &SpaceName, change: Change) -> Result<Altered> {
    let Some((loaded, stored)) = begin(session, name).await? else {
        return Ok(Altered::Absent);
    };
    let StoredSpace {
        incarnation,
        epoch,
        floor,
        ..
    } = stored;
    match change {
        Change::NewEpoch => {
            let epoch = Epoch::random()?;
            space::save(session, name, &loaded, (incarnation, epoch, floor)).await?;
            session.commit(name).await?;
            Ok(Altered::Epoch(epoch))
        }
        Change::RaiseFloor(up_to) => {
            let raised = floor.max(up_to.min(stored.head));
            if raised == floor {
                session.roll_back().await;
            } else {
                space::save(session, name, &loaded, (incarnation, epoch, raised)).await?;
                session.commit(name).await?;
            }
            Ok(Altered::Floor(raised))
        }
        Change::PrunePiece(after) => prune_piece(session, name, &loaded, &stored, after).await,
    }
}

/// Removes the space called `name`, whose rows are left to the sweep. Whether it existed.
pub(crate) async fn drop_space(session: &Session, name: &SpaceName) -> Result<bool> {
    let Some((_, stored)) = begin(session, name).await? else {
        return Ok(false);
    };
    let statement = &session.statements().drop_space;
    let dropped = session.execute(statement, &[&name.as_str()]).await?;
    space::all_written(dropped, 1)?;
    space::discard(session, stored.incarnation).await?;
    session.commit(name).await?;
    Ok(true)
}

/// Begins a transaction that writes to the space called `name`, if it exists.
async fn begin(session: &Session, name: &SpaceName) -> Result<Option<(LoadedSpace, StoredSpace)>> {
    let statements = session.statements();
    session
        .prepare(&[&statements.lock, &statements.space, &statements.notify])
        .await?;
    let (begun, locked) = join(session.begin_page(), space::lock(session, name)).await;
    begun?;
    // Created a moment ago; the next attempt waits for it.
    let loaded = locked?.ok_or_else(|| Error::new(ErrorKind::Busy))?;
    let stored = loaded.stored.clone();
    if stored.is_none() {
        session.roll_back().await;
    }
    Ok(stored.map(|stored| (loaded, stored)))
}

async fn prune_piece(
    session: &Session,
    name: &SpaceName,
    loaded: &LoadedSpace,
    stored: &StoredSpace,
    after: Seq,
) -> Result<Altered> {
    let (incarnation, counters) = (stored.incarnation, stored.counters);
    let nothing = Altered::Pruned {
        dropped: 0,
        next: None,
    };
    if counters.tombstones == 0 {
        session.roll_back().await;
        return Ok(nothing);
    }
    let statements = session.statements();
    let (after, floor) = (after.as_i64(), stored.floor.as_i64());
    let operator = i16::from(TombstoneReason::Operator.code());
    let rows = session
        .rows(
            &statements.prune,
            &[&incarnation, &after, &floor, &PIECE, &operator],
        )
        .await?;
    let piece = only(&rows)?;
    let dropped = value::<i64>(piece, 0)?.cast_unsigned();
    let whole = value::<i64>(piece, 1)? == PIECE;
    let last: Option<Seq> = optional_position(piece, 2)?;
    if dropped == 0 {
        session.roll_back().await;
    } else {
        let counters = Counters {
            tombstones: Counters::less(counters.tombstones, dropped)?,
            ..counters
        };
        let page = (incarnation, stored.page);
        let statement = &statements.save_counter;
        space::save_counter(session, statement, page, stored.head, counters).await?;
        if stored.moved {
            let row = (incarnation, stored.epoch, stored.floor);
            space::save(session, name, loaded, row).await?;
        }
        session.commit(name).await?;
    }
    Ok(Altered::Pruned {
        dropped,
        next: last.filter(|_| whole),
    })
}
