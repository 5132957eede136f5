//! Reads that agree: every one of them sees the database as of one moment, and nothing that a
//! failover could take back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use mongodb::bson::raw::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use mongodb::bson::{Timestamp, rawdoc};
use mongodb::error::Result as DriverResult;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use sync_core::Result;

use crate::database::Database;
use crate::documents::unreadable;
use crate::error::{failed, timed_out};

/// The most documents of one answer of the server. More make no scan faster.
pub(crate) const BATCH: i64 = 20_000;

/// Makes something of a document.
pub(crate) type Decode<T> = fn(&RawDocument) -> Result<T>;

/// The database as of the moment of the first read.
pub(crate) struct Snapshot {
    pub(crate) database: Arc<Database>,
    operation: &'static str,
    /// Known from the first answer on.
    at: Option<Timestamp>,
}

impl Snapshot {
    pub(crate) fn new(database: &Arc<Database>, operation: &'static str) -> Self {
        Self {
            database: Arc::clone(database),
            operation,
            at: None,
        }
    }

    /// Runs a `find` command, which says nothing of read concerns.
    pub(crate) async fn find<T>(
        &mut self,
        mut command: RawDocumentBuf,
        decode: Decode<T>,
    ) -> Result<Found<T>> {
        let mut concern = rawdoc! { "level": "snapshot" };
        if let Some(at) = self.at {
            concern.append(cstr!("atClusterTime"), at);
        }
        command.append(cstr!("readConcern"), concern);
        let cursor = self.database.driver.run_raw_cursor_command(command);
        let cursor = tokio::time::timeout(self.database.timeout, cursor.batch())
            .await
            .map_err(|_| timed_out(self.operation))?
            .map_err(failed(self.operation))?;
        let mut found = Found {
            cursor,
            operation: self.operation,
            timeout: self.database.timeout,
            decode,
            items: VecDeque::new(),
        };
        // The first batch is here already.
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

/// What a `find` finds, batch by batch.
pub(crate) struct Found<T> {
    cursor: RawBatchCursor,
    operation: &'static str,
    timeout: Duration,
    decode: Decode<T>,
    items: VecDeque<T>,
}

impl<T> Found<T> {
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        while self.items.is_empty() {
            if self.next_batch().await?.is_none() {
                return Ok(None);
            }
        }
        Ok(self.items.pop_front())
    }

    async fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        let batch = tokio::time::timeout(self.timeout, self.cursor.next())
            .await
            .map_err(|_| timed_out(self.operation))?;
        let Some(batch) = batch.transpose().map_err(failed(self.operation))? else {
            return Ok(None);
        };
        decode(&batch, self.decode, self.operation, |item| {
            self.items.push_back(item);
        })?;
        Ok(Some(batch))
    }
}

/// Takes what a batch holds.
pub(crate) fn decode<T>(
    batch: &RawBatch,
    decode: Decode<T>,
    operation: &'static str,
    mut take: impl FnMut(T),
) -> Result<()> {
    let documents: DriverResult<_> = batch.doc_slices();
    for document in documents.map_err(failed(operation))? {
        if let Some(document) = document.map_err(unreadable)?.as_document() {
            take(decode(document)?);
        }
    }
    Ok(())
}

/// The moment that an answer is of.
fn moment(batch: &RawBatch) -> Result<Option<Timestamp>> {
    let answer = batch.as_raw_document();
    let cursor = answer.get_document("cursor").map_err(unreadable)?;
    let at = cursor.get("atClusterTime").map_err(unreadable)?;
    Ok(at.and_then(RawBsonRef::as_timestamp))
}

/// How a command asks for documents by their keys.
pub(crate) fn one_of(keys: RawArrayBuf) -> RawDocumentBuf {
    rawdoc! { "_id": { "$in": keys } }
}
