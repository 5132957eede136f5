//! The sweep of what resets and drops leave behind, in pieces.

use sync_core::{Result, Swept};
use tokio_postgres::Row;

use crate::columns::{only, value};
use crate::session::{Parameters, Session};

/// Whether an incarnation waits to be swept.
pub(crate) async fn pending(session: &Session) -> Result<bool> {
    let rows = session.read(&session.statements().pending, &[]).await?;
    value(only(&rows)?, 0)
}

/// One transaction of a sweep. It locks no space: no page writes to what a reset has left.
pub(crate) async fn sweep_piece(session: &Session, rows: usize) -> Result<Swept> {
    let statements = session.statements();
    session.begin_page().await?;
    let oldest = session.rows(&statements.oldest_garbage, &[]).await?;
    let Some(oldest) = oldest.first() else {
        // Another program may be sweeping what there is.
        session.roll_back().await;
        return Ok(Swept {
            removed: 0,
            more: false,
        });
    };
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let removed = sweep_in(session, oldest, rows).await?;
    let left = session.rows(&statements.pending, &[]).await?;
    let more = value(only(&left)?, 0)?;
    session.end().await?;
    Ok(Swept { removed, more })
}

async fn sweep_in(session: &Session, oldest: &Row, rows: i64) -> Result<u64> {
    let statements = session.statements();
    let incarnation: i32 = value(oldest, 0)?;
    let mut swept: [i64; 2] = [value(oldest, 1)?, value(oldest, 2)?];
    let mut removed = 0;
    // By seq, because rows lie in the table about as they came; and from where the last piece
    // ended, because an index keeps removed entries for a while.
    for (statement, upto) in [&statements.sweep_operations, &statements.sweep_tombstones]
        .into_iter()
        .zip(&mut swept)
    {
        let left = rows - removed;
        if left > 0 {
            let parameters: Parameters<'_> = &[&incarnation, &*upto, &left];
            let gone = session.rows(statement, parameters).await?;
            if let Some(row) = gone.first() {
                removed += value::<i64>(row, 0)?;
                *upto = value::<Option<i64>>(row, 1)?.unwrap_or(*upto);
            }
        }
    }
    let left = rows - removed;
    if left > 0 {
        let statement = &statements.sweep_state;
        let gone = session.execute(statement, &[&incarnation, &left]).await?;
        removed += gone.cast_signed();
    }
    if removed < rows {
        let statement = &statements.drop_garbage;
        session.execute(statement, &[&incarnation]).await?;
    } else {
        let [operations, tombstones] = swept;
        let statement = &statements.save_garbage;
        session
            .execute(statement, &[&incarnation, &operations, &tombstones])
            .await?;
    }
    Ok(removed.cast_unsigned())
}
