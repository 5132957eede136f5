//! A source over HTTP: the index export of a Gatekeeper.

mod answer;
mod client;
mod config;
mod url;
mod worker;

use std::sync::mpsc;

use futures_channel::oneshot;
use sync_core::SyncOrder;
use sync_hydrate::{
    ChangesPage, SnapshotCursor, SnapshotPage, Source, SourceError, SourceErrorKind,
};

pub use self::config::GatekeeperConfig;
pub use self::url::{GatekeeperUrl, UrlError};
use self::worker::Ask;

/// A [`Source`] over a Gatekeeper's `POST /api/v1/index/export`.
///
/// Requests are made on a thread of the source's own, one at a time, so that any executor can await
/// them. A future that is dropped ends its request at the next byte or the next attempt. The
/// thread ends with the source.
///
/// | event | result |
/// | --- | --- |
/// | 503, any other 5xx, 408, 429 | asked again, then [`Unavailable`](SourceErrorKind::Unavailable) |
/// | no connection, or one that dies, also inside an answer | asked again, then `Unavailable` |
/// | no answer, or not all of it, in [time](GatekeeperConfig::timeout) | asked again, then [`Timeout`](SourceErrorKind::Timeout) |
/// | any other 4xx | [`Refused`](SourceErrorKind::Refused), with what the Gatekeeper says |
/// | a redirect | `Refused`: a POST, perhaps with a password, is not sent to another host |
/// | an answer that violates the protocol | [`Protocol`](SourceErrorKind::Protocol) |
/// | an answer [too long](GatekeeperConfig::body_bytes) | asked again with half the limit, which grows back on later pages |
/// | one row's answer too long | that row is an invalid record, `too_large` |
///
/// Of an answer that is too long the record's [`start`](sync_hydrate::InvalidRecord::start) and
/// [`sha256`](sync_hydrate::InvalidRecord::sha256) are those of what was read of the answer. It goes on
/// after the cursor that the answer says, or else after the next position of the log. A snapshot
/// cannot go on without a cursor: `Protocol`.
#[derive(Debug)]
pub struct GatekeeperSource {
    name: String,
    asks: mpsc::Sender<Ask>,
}

impl GatekeeperSource {
    /// A source by its configuration. Nothing is sent yet.
    ///
    /// [`Io`](SourceErrorKind::Io) where the system has no thread left.
    pub fn new(config: GatekeeperConfig) -> Result<Self, SourceError> {
        Ok(Self {
            name: config
                .name
                .clone()
                .unwrap_or_else(|| config.url.to_string()),
            asks: worker::start(config)?,
        })
    }

    async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<T, SourceError>>) -> Ask,
    ) -> Result<T, SourceError> {
        let (reply, answer) = oneshot::channel();
        let ended = || SourceError::new(SourceErrorKind::Io, "the source's thread has ended");
        self.asks.send(ask(reply)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Source for GatekeeperSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn snapshot(
        &self,
        after: Option<&SnapshotCursor>,
        limit: u32,
    ) -> Result<SnapshotPage, SourceError> {
        self.ask(|reply| Ask::Snapshot {
            after: after.cloned(),
            limit,
            reply,
        })
        .await
    }

    async fn changes(&self, after: SyncOrder, limit: u32) -> Result<ChangesPage, SourceError> {
        self.ask(|reply| Ask::Changes {
            after,
            limit,
            reply,
        })
        .await
    }
}
