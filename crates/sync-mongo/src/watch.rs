//! Notices what other processes and handles commit, while there are waiters.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use mongodb::bson::raw::{RawArrayBuf, RawDocument};
use mongodb::bson::rawdoc;
use sync_core::{Epoch, Result, SpaceName};
use sync_kit::watch::Marks;

use crate::database::Database;
use crate::documents::{BATCH, space_name};
use crate::snapshot::Snapshot;
use crate::space::SpaceDocument;

/// The time between two looks.
const POLL: Duration = Duration::from_millis(50);
/// The time after which every waiter looks for itself, whatever the marks say.
pub(crate) const LONGEST: Duration = Duration::from_secs(2);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: several
/// looks, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// Tells by the documents of spaces which of them were written.
///
/// Change streams would tell earlier. They need a cursor, and on the server a thread, for each
/// process that waits, and a poll beside them.
pub(crate) struct Writes(pub(crate) Weak<Database>);

impl Marks for Writes {
    /// The history, and how many transactions have written the space in it.
    type Mark = (Epoch, i64);

    async fn pause(&mut self) -> Duration {
        POLL
    }

    async fn look(
        &mut self,
        spaces: Vec<SpaceName>,
    ) -> Option<Result<HashMap<SpaceName, Self::Mark>>> {
        let database = self.0.upgrade()?;
        let names: RawArrayBuf = spaces.iter().map(SpaceName::as_str).collect();
        let command = rawdoc! {
            "find": database.collections.spaces.as_str(),
            "filter": { "_id": { "$in": names } },
            "hint": { "_id": 1 },
            "batchSize": BATCH,
        };
        let found = Snapshot::new(&database).find_all(command, mark).await;
        Some(found.map(|marks| marks.into_iter().collect()))
    }
}

fn mark(document: &RawDocument) -> Result<(SpaceName, (Epoch, i64))> {
    let space = SpaceDocument::read(document)?;
    Ok((space_name(document)?, (space.epoch, space.writes)))
}
