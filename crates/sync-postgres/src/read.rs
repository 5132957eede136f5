//! Reads: one snapshot, and one round trip wherever the statements are known before it.

use std::collections::HashMap;

use futures_util::future::{join3, join4, join5};
use sync_core::{
    Budget, Bytes, FeedCursor, FeedEntry, FeedKind, Known, Limit, OpId, Operation, Payloads,
    Result, Row, Seq, SpaceName, StateEntry, StateKey, TimeKey, feed, limits,
};
use sync_kit::{Answer, Query};
use tokio_postgres::Row as SqlRow;

use crate::columns::{bytes, object, only, op_id, optional_position, position, reason, value};
use crate::error::corrupt;
use crate::session::{Parameters, Session};
use crate::space::LoadedSpace;
use crate::statements::Statement;

/// Ids of one look-up of a `get`, which may end at the first of them.
const IDS: usize = 1_000;

/// Answers `query` about the space called `name`.
pub(crate) async fn read(session: &Session, name: &SpaceName, query: &Query) -> Result<Answer> {
    let statements = session.statements();
    let space = name.as_str();
    match query {
        Query::Get { ids, max_bytes } => get(session, name, ids, *max_bytes).await,
        Query::Known(ids) => known(session, name, ids).await,
        Query::Time {
            range,
            after,
            limit,
        } => {
            let (ts, id) = range.first_after(after.as_ref());
            let (ts, to) = (ts.as_i64(), range.to.as_i64());
            let (most, bytes) = asked_for(*limit);
            let parameters: Parameters<'_> = &[&space, &ts, &id, &to, &most, &bytes];
            walk(session, &statements.scan_time, parameters, *limit).await
        }
        Query::Keys {
            range,
            after,
            limit,
        } => {
            let (ts, id) = range.first_after(after.as_ref());
            let (ts, to) = (ts.as_i64(), range.to.as_i64());
            let (most, _) = asked_for(*limit);
            let parameters: Parameters<'_> = &[&space, &ts, &id, &to, &most];
            let found = session.read(&statements.scan_keys, parameters).await?;
            Answer::keys(found.iter().map(time_key), *limit)
        }
        Query::Order { after, limit } => {
            let (order, id) = after.as_ref().map_or((0, &[][..]), |key| {
                (key.sync_order.as_i64(), &key.id.as_bytes()[..])
            });
            let (most, bytes) = asked_for(*limit);
            let parameters: Parameters<'_> = &[&space, &order, &id, &most, &bytes];
            walk(session, &statements.scan_order, parameters, *limit).await
        }
        Query::Object {
            object,
            after,
            limit,
        } => {
            let (object, after) = (object.as_bytes(), after.map_or(0, Seq::as_i64));
            let (most, bytes) = asked_for(*limit);
            let parameters: Parameters<'_> = &[&space, &object, &after, &most, &bytes];
            walk(session, &statements.scan_object, parameters, *limit).await
        }
        Query::Feed {
            after,
            limit,
            payloads,
        } => entries(session, name, after.seq(), *limit, *payloads).await,
        Query::AnyAfter(after) => any_after(session, name, *after).await,
        Query::State(keys) => load(session, name, keys).await,
        Query::List {
            prefix,
            after,
            limit,
        } => list(session, name, prefix, after.as_ref(), *limit).await,
        Query::Stats => Ok(Answer::Stats(load_space(session, name).await?.stats())),
    }
}

/// The limit as the server counts it. The row beyond it, or beyond the byte budget, is still sent,
/// and tells that there is one.
fn asked_for(limit: Limit) -> (i64, i64) {
    (
        limit.fetch_rows().into(),
        i64::try_from(limit.max_bytes()).unwrap_or(i64::MAX),
    )
}

/// Rows up to the limit and the byte budget.
async fn walk(
    session: &Session,
    statement: &Statement,
    parameters: Parameters<'_>,
    limit: Limit,
) -> Result<Answer> {
    let found = session.read(statement, parameters).await?;
    Answer::rows(found.iter().map(row), limit)
}

async fn get(
    session: &Session,
    name: &SpaceName,
    ids: &[OpId],
    max_bytes: usize,
) -> Result<Answer> {
    let statement = &session.statements().get;
    session.prepare(&[statement]).await?;
    session.begin_read().await?;
    let mut rows = Vec::new();
    let mut budget = Budget::new(max_bytes);
    'parts: for part in ids.chunks(IDS) {
        let wanted: Vec<&[u8]> = part.iter().map(|id| &id.as_bytes()[..]).collect();
        let left = i64::try_from(budget.left()).unwrap_or(i64::MAX);
        let found = session
            .rows(statement, &[&name.as_str(), &wanted, &left])
            .await?;
        let mut found = found.iter().peekable();
        for (index, _) in part.iter().enumerate() {
            let here = |row: &&SqlRow| {
                let ordinal: i64 = row.try_get(6).unwrap_or_default();
                usize::try_from(ordinal) == Ok(index + 1)
            };
            let found = found.next_if(here).map(row).transpose()?;
            if !budget.takes(found.as_ref().map_or(0, Row::weight)) {
                break 'parts;
            }
            rows.push(found);
        }
    }
    session.end().await?;
    Ok(Answer::Found(rows))
}

async fn known(session: &Session, name: &SpaceName, ids: &[OpId]) -> Result<Answer> {
    let statements = session.statements();
    let (live, dead) = (&statements.known_rows, &statements.look_up_tombstones);
    let wanted: Vec<&[u8]> = ids.iter().map(|id| &id.as_bytes()[..]).collect();
    let parameters: Parameters<'_> = &[&name.as_str(), &wanted];
    session.prepare(&[live, dead]).await?;
    let (begun, live, dead, ended) = join4(
        session.begin_read(),
        session.rows(live, parameters),
        session.rows(dead, parameters),
        session.end(),
    )
    .await;
    begun?;
    let (live, dead) = (live?, dead?);
    ended?;
    let mut known = HashMap::with_capacity(live.len() + dead.len());
    for row in &dead {
        let tombstone = Known::Tombstoned {
            reason: reason(row, 2)?,
            seq: position(row, 1)?,
            source_seq: optional_position(row, 3)?,
        };
        known.insert(op_id(row, 0)?, tombstone);
    }
    // A live row outweighs the tombstones from before it.
    for row in &live {
        let row_of = Known::Live {
            ts: position(row, 1)?,
            seq: position(row, 2)?,
            sync_order: optional_position(row, 3)?,
        };
        known.insert(op_id(row, 0)?, row_of);
    }
    let answer = |id| known.get(id).copied().unwrap_or(Known::Unknown);
    Ok(Answer::Known(ids.iter().map(answer).collect()))
}

async fn load_space(session: &Session, name: &SpaceName) -> Result<LoadedSpace> {
    session.prepare(&[&session.statements().space]).await?;
    let (begun, loaded, ended) = join3(
        session.begin_read(),
        LoadedSpace::load(session, name),
        session.end(),
    )
    .await;
    begun?;
    let loaded = loaded?;
    ended?;
    Ok(loaded)
}

async fn any_after(session: &Session, name: &SpaceName, after: FeedCursor) -> Result<Answer> {
    let statements = session.statements();
    let any = &statements.any_after;
    session.prepare(&[&statements.space, any]).await?;
    let (begun, loaded, rows, ended) = join4(
        session.begin_read(),
        LoadedSpace::load(session, name),
        session.rows(any, &[&name.as_str(), &after.seq().as_i64()]),
        session.end(),
    )
    .await;
    begun?;
    let (loaded, rows) = (loaded?, rows?);
    ended?;
    Ok(Answer::Any {
        space: loaded.stats(),
        any: value(only(&rows)?, 0)?,
    })
}

/// The space, and its rows and tombstones after `after`.
async fn entries(
    session: &Session,
    name: &SpaceName,
    after: Seq,
    limit: Limit,
    payloads: Payloads,
) -> Result<Answer> {
    let statements = session.statements();
    let (name_text, after) = (name.as_str(), after.as_i64());
    let (most, bytes) = asked_for(limit);
    let plain: Parameters<'_> = &[&name_text, &after, &most];
    let weighed: Parameters<'_> = &[&name_text, &after, &most, &bytes];
    let (live, parameters) = match payloads {
        Payloads::Skip => (&statements.feed_live, plain),
        Payloads::Include => (&statements.feed_live_payloads, weighed),
    };
    let dead = &statements.feed_dead;
    session.prepare(&[&statements.space, live, dead]).await?;
    let (begun, loaded, live, dead, ended) = join5(
        session.begin_read(),
        LoadedSpace::load(session, name),
        session.rows(live, parameters),
        session.rows(dead, plain),
        session.end(),
    )
    .await;
    begun?;
    let (loaded, live, dead) = (loaded?, live?, dead?);
    ended?;
    let (live, dead) = (
        live.iter().map(live_entry),
        dead.iter().map(tombstone_entry),
    );
    let (entries, more) = feed::merge(live, dead, limit)?;
    Ok(Answer::Feed {
        space: loaded.stats(),
        entries,
        more,
    })
}

async fn load(session: &Session, name: &SpaceName, keys: &[StateKey]) -> Result<Answer> {
    let wanted: Vec<&str> = keys.iter().map(StateKey::as_str).collect();
    let statement = &session.statements().look_up_state;
    let rows = session.read(statement, &[&name.as_str(), &wanted]).await?;
    let mut found: HashMap<&str, Bytes> = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(value(row, 0)?, bytes(row, 1)?);
    }
    let value = |key: &&str| found.get(*key).cloned();
    Ok(Answer::Values(wanted.iter().map(value).collect()))
}

async fn list(
    session: &Session,
    name: &SpaceName,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Result<Answer> {
    let after = after.map_or("", StateKey::as_str);
    let from = after.max(prefix);
    // The highest character, as often as a key has room for it: no key with the prefix is above.
    let highest = '\u{10ffff}';
    let fit = limits::STATE_KEY_BYTES / highest.len_utf8();
    let upto = format!("{prefix}{}", highest.to_string().repeat(fit));
    let (most, bytes) = asked_for(limit);
    let parameters: Parameters<'_> = &[&name.as_str(), &from, &upto, &after, &most, &bytes];
    let statement = &session.statements().list_state;
    let found = session.read(statement, parameters).await?;
    Answer::state(found.iter().map(state_entry), limit)
}

/// A row whose first columns are id, ts, sync order, seq, object, payload.
fn row(found: &SqlRow) -> Result<Row> {
    let operation = Operation {
        id: op_id(found, 0)?,
        ts: position(found, 1)?,
        sync_order: optional_position(found, 2)?,
        object: object(found, 4)?,
        payload: bytes(found, 5)?,
    };
    Ok(Row {
        operation,
        seq: position(found, 3)?,
    })
}

fn time_key(found: &SqlRow) -> Result<TimeKey> {
    Ok(TimeKey {
        ts: position(found, 0)?,
        id: op_id(found, 1)?,
    })
}

fn state_entry(found: &SqlRow) -> Result<StateEntry> {
    Ok(StateEntry {
        key: StateKey::new(value(found, 0)?).map_err(corrupt)?,
        value: bytes(found, 1)?,
    })
}

fn live_entry(found: &SqlRow) -> Result<FeedEntry> {
    let payload = (found.len() > 5).then(|| bytes(found, 5)).transpose()?;
    let sync_order = optional_position(found, 4)?;
    entry(
        found,
        FeedKind::Live {
            sync_order,
            payload,
        },
    )
}

fn tombstone_entry(found: &SqlRow) -> Result<FeedEntry> {
    let kind = FeedKind::Tombstone {
        reason: reason(found, 4)?,
        source_seq: optional_position(found, 5)?,
        lifted: value(found, 6)?,
    };
    entry(found, kind)
}

fn entry(found: &SqlRow, kind: FeedKind) -> Result<FeedEntry> {
    Ok(FeedEntry {
        seq: position(found, 0)?,
        id: op_id(found, 1)?,
        ts: optional_position(found, 2)?,
        object: object(found, 3)?,
        kind,
    })
}
