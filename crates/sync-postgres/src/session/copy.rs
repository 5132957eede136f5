//! `COPY` into a table.

use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::SinkExt;
use sync_core::Result;
use tokio_postgres::CopyInSink;

use super::Session;
use crate::error::failed;
use crate::statements::Statement;

impl Session {
    /// Begins to copy rows into a table. A connection where that fails is not used again: the driver
    /// ends the copy that has not begun, and does not expect what the server says to that.
    pub(crate) async fn copy(&self, statement: &Statement) -> Result<CopyInSink<Bytes>> {
        let connection = self.connection()?;
        let sink = if self.shared.pooled {
            // Prepared and given back before the transaction ends.
            connection.copy_in(statement.text.as_str()).await
        } else {
            let prepared = self.prepared(statement).await?;
            connection.copy_in(&prepared).await
        };
        self.broken.store(sink.is_err(), Ordering::SeqCst);
        sink.map_err(failed)
    }

    /// Sends the rows of a copy and ends it.
    pub(crate) async fn finish_copy(
        &self,
        statement: &Statement,
        sink: CopyInSink<Bytes>,
        rows: impl Iterator<Item = Bytes>,
    ) -> Result<()> {
        let mut sink = pin!(sink);
        let copying = async {
            for part in rows {
                sink.feed(part).await?;
            }
            sink.finish().await
        };
        let copied = self.counting(Some(statement.name), copying).await;
        copied.map(drop).map_err(failed)
    }
}
