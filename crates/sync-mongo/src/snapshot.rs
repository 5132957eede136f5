//! Reads that agree: all of them see the database as of one moment, and nothing that a failover could
//! take back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use mongodb::bson::raw::{RawBsonRef, RawDocumentBuf, cstr};
use mongodb::bson::{Timestamp, rawdoc};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use sync_core::{Budget, Limit, Result};

use crate::database::Database;
use crate::documents::{Decode, decode, unreadable};
use crate::error::to_its_end;

/// The database as of the moment of the first read.
pub(crate) struct Snapshot {
    pub(crate) database: Arc<Database>,
    /// Known from the first answer on.
    at: Option<Timestamp>,
}

impl Snapshot {
    pub(crate) fn new(database: &Arc<Database>) -> Self {
        Self {
            database: Arc::clone(database),
            at: None,
        }
    }

    /// Runs a `find` command, which names no read concern.
    pub(crate) async fn find<T>(
        &mut self,
        mut command: RawDocumentBuf,
        decode: Decode<T>,
    ) -> Result<Decoded<T>> {
        let mut concern = rawdoc! { "level": "snapshot" };
        if let Some(at) = self.at {
            concern.append(cstr!("atClusterTime"), at);
        }
        command.append(cstr!("readConcern"), concern);
        let timeout = self.database.timeout;
        let driver = self.database.driver.clone();
        let find = async move { driver.run_raw_cursor_command(command).batch().await };
        let mut found = Decoded {
            cursor: Some(to_its_end(timeout, find).await?),
            timeout,
            decode,
            items: VecDeque::new(),
        };
        // The first batch came with the cursor.
        if let Some(first) = found.next_batch().await?
            && self.at.is_none()
        {
            self.at = moment(&first)?;
        }
        Ok(found)
    }

    /// Every document of a `find`.
    pub(crate) async fn find_all<T>(
        &mut self,
        command: RawDocumentBuf,
        decode: Decode<T>,
    ) -> Result<Vec<T>> {
        let mut found = self.find(command, decode).await?;
        let mut all = Vec::new();
        while let Some(item) = found.next().await? {
            all.push(item);
        }
        Ok(all)
    }
}

/// The documents of a `find`, read batch by batch.
pub(crate) struct Decoded<T> {
    /// Absent while the next batch is asked for, and after an error.
    cursor: Option<RawBatchCursor>,
    timeout: Duration,
    decode: Decode<T>,
    items: VecDeque<T>,
}

impl<T> Decoded<T> {
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        while self.items.is_empty() {
            if self.next_batch().await?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.items.pop_front())
    }

    /// The first documents, up to the row limit and the byte budget, and the next one after them:
    /// the one that did not fit.
    pub(crate) async fn take(
        mut self,
        limit: Limit,
        weight: impl Fn(&T) -> usize,
    ) -> Result<(Vec<T>, Option<T>)> {
        let mut taken = Vec::new();
        let mut budget = Budget::new(limit.max_bytes());
        while let Some(item) = self.next().await? {
            if taken.len() == limit.max_rows() || !budget.takes(weight(&item)) {
                return Ok((taken, Some(item)));
            }
            taken.push(item);
        }
        Ok((taken, None))
    }

    async fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let Some(mut cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let next = async move { Ok((cursor.next().await.transpose()?, cursor)) };
        let (batch, cursor) = to_its_end(self.timeout, next).await?;
        self.cursor = Some(cursor);
        let Some(batch) = batch else {
            return Ok(None);
        };
        decode(&batch, self.decode, |item| self.items.push_back(item))?;
        Ok(Some(batch))
    }
}

/// The moment that an answer is of.
fn moment(batch: &RawBatch) -> Result<Option<Timestamp>> {
    let answer = batch.as_raw_document();
    let cursor = answer.get_document("cursor").map_err(unreadable)?;
    let at = cursor.get("atClusterTime").map_err(unreadable)?;
    Ok(at.and_then(RawBsonRef::as_timestamp))
}
