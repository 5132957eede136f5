//! A read: one script or transaction, which is one snapshot.

use sync_core::{Limit, Payloads, Result};
use sync_kit::{Answer, Query};

use crate::reply::stats;
use crate::scripts::Script;
use crate::space::Space;
use crate::{feed, scan, state};

pub(crate) async fn read(space: &Space, query: Query) -> Result<Answer> {
    match query {
        Query::Get { ids, max_bytes } => scan::get(space, &ids, max_bytes).await,
        Query::Known(ids) => scan::known(space, &ids).await,
        Query::Time {
            range,
            after,
            limit,
        } => scan::rows(space, scan::by_time(range, after), limit).await,
        Query::Keys {
            range,
            after,
            limit,
        } => scan::keys(space, range, after, limit).await,
        Query::Order { after, limit } => scan::rows(space, scan::by_order(after), limit).await,
        Query::Object {
            object,
            after,
            limit,
        } => scan::rows(space, scan::of_object(&object, after), limit).await,
        Query::Feed {
            after,
            limit,
            payloads,
        } => {
            let (space, entries, more) = feed::entries(space, after, limit, payloads).await?;
            Ok(Answer::Feed {
                space,
                entries,
                more,
            })
        }
        Query::AnyAfter(after) => {
            let first = feed::entries(space, after, Limit::rows(1), Payloads::Skip);
            let (space, entries, _) = first.await?;
            let any = !entries.is_empty();
            Ok(Answer::Any { space, any })
        }
        Query::State(keys) => state::load(space, &keys).await,
        Query::List {
            prefix,
            after,
            limit,
        } => state::list(space, &prefix, after.as_ref(), limit).await,
        Query::Stats => {
            let mut answer = space.look(Script::Stats, &[]).await?;
            Ok(Answer::Stats(stats(answer.value()?)?))
        }
    }
}
