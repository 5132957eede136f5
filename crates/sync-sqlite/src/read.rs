//! A read: one snapshot of the file.

use rusqlite::{Connection, TransactionBehavior};
use sync_core::SpaceName;
use sync_kit::{Answer, Query};

use crate::space::Space;
use crate::{feed, scan, state};

pub(crate) fn read(
    connection: &mut Connection,
    name: &SpaceName,
    query: &Query,
) -> rusqlite::Result<Answer> {
    let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let Some(space) = Space::load(&snapshot, name)? else {
        return Ok(Answer::nothing(query));
    };
    let incarnation = space.incarnation;
    match query {
        Query::Get { ids, max_bytes } => scan::get(&snapshot, incarnation, ids, *max_bytes),
        Query::Known(ids) => scan::known(&snapshot, &space, ids),
        Query::Time {
            range,
            after,
            limit,
        } => scan::by_time(&snapshot, incarnation, *range, after.as_ref(), *limit),
        Query::Keys {
            range,
            after,
            limit,
        } => scan::keys(&snapshot, incarnation, *range, after.as_ref(), *limit),
        Query::Order { after, limit } => {
            scan::by_order(&snapshot, incarnation, after.as_ref(), *limit)
        }
        Query::Object {
            object,
            after,
            limit,
        } => scan::by_object(&snapshot, incarnation, object, *after, *limit),
        Query::Feed {
            after,
            limit,
            payloads,
        } => feed::feed(&snapshot, &space, *after, *limit, *payloads),
        Query::AnyAfter(seq) => feed::any_after(&snapshot, &space, *seq),
        Query::State(keys) => {
            let values = keys
                .iter()
                .map(|key| state::load(&snapshot, incarnation, key));
            Ok(Answer::Values(values.collect::<rusqlite::Result<_>>()?))
        }
        Query::List {
            prefix,
            after,
            limit,
        } => state::list(&snapshot, incarnation, prefix, after.as_ref(), *limit),
        Query::Stats => Ok(Answer::Stats(Some(space.stats()))),
    }
}
