//! Reads: one dispatch, over one snapshot.

use std::sync::Arc;
use std::time::Duration;

use sync_core::{Result, SpaceName};
use sync_kit::backoff::{Policy, retrying};
use sync_kit::{Answer, Query};

use crate::database::Database;
use crate::error::is_retryable_read;
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;
use crate::{feed, scan, state};

/// For how long a read is tried again whose connection, or whose primary, went away.
const READ_AGAIN: Policy = Policy {
    deadline: Duration::from_secs(5),
    first: Duration::from_millis(20),
    longest: Duration::from_millis(200),
};

/// Answers `query` of the space called `name`.
pub(crate) async fn read(
    database: &Arc<Database>,
    name: &SpaceName,
    query: &Query,
) -> Result<Answer> {
    let attempt = || answer(database, name, query);
    retrying(READ_AGAIN, is_retryable_read, tokio::time::sleep, attempt).await
}

async fn answer(database: &Arc<Database>, name: &SpaceName, query: &Query) -> Result<Answer> {
    let mut snapshot = Snapshot::new(database);
    let Some(space) = SpaceDocument::load(&mut snapshot, name).await? else {
        return Ok(Answer::nothing(query));
    };
    let (snapshot, space) = (&mut snapshot, &space);
    match query {
        Query::Get { ids, max_bytes } => scan::get(snapshot, space, ids, *max_bytes).await,
        Query::Known(ids) => scan::known(snapshot, space, ids).await,
        Query::Time {
            range,
            after,
            limit,
        } => scan::time(snapshot, space, *range, *after, *limit).await,
        Query::Keys {
            range,
            after,
            limit,
        } => scan::keys(snapshot, space, *range, *after, *limit).await,
        Query::Order { after, limit } => scan::order(snapshot, space, *after, *limit).await,
        Query::Object {
            object,
            after,
            limit,
        } => scan::object(snapshot, space, object, *after, *limit).await,
        Query::Feed {
            after,
            limit,
            payloads,
        } => feed::entries(snapshot, space, *after, *limit, *payloads).await,
        Query::AnyAfter(after) => feed::any(snapshot, space, *after).await,
        Query::State(keys) => state::values(snapshot, space, keys).await,
        Query::List {
            prefix,
            after,
            limit,
        } => state::list(snapshot, space, prefix, after.as_ref(), *limit).await,
        Query::Stats => Ok(Answer::Stats(Some(space.stats()))),
    }
}
