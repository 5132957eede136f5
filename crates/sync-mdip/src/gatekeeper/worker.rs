//! The thread that sends requests to the Gatekeeper.

use std::sync::mpsc;
use std::thread;

use futures_channel::oneshot;
use sync_core::SyncOrder;
use sync_hydrate::{ChangesPage, SnapshotCursor, SnapshotPage, SourceError, SourceErrorKind};

use super::GatekeeperConfig;
use super::answer::Exporter;

type Reply<T> = oneshot::Sender<Result<T, SourceError>>;

/// A request to the thread.
#[derive(Debug)]
pub(crate) enum Ask {
    Snapshot {
        after: Option<SnapshotCursor>,
        limit: u32,
        reply: Reply<SnapshotPage>,
    },
    Changes {
        after: SyncOrder,
        limit: u32,
        reply: Reply<ChangesPage>,
    },
}

/// Starts the thread. It ends once the sender is dropped.
pub(crate) fn start(config: GatekeeperConfig) -> Result<mpsc::Sender<Ask>, SourceError> {
    let (asks, asked) = mpsc::channel();
    thread::Builder::new()
        .name("gatekeeper".to_owned())
        .spawn(move || {
            let mut exporter = Exporter::new(config);
            for ask in asked {
                answer(&mut exporter, ask);
            }
        })
        .map_err(|error| {
            let message = "the source's thread cannot be started";
            SourceError::new(SourceErrorKind::Io, message).with_source(error)
        })?;
    Ok(asks)
}

fn answer(exporter: &mut Exporter, ask: Ask) {
    // Sending the answer fails where the request was cancelled, which is no error.
    match ask {
        Ask::Snapshot {
            after,
            limit,
            reply,
        } => {
            let page = exporter.snapshot(after.as_ref(), limit, &|| reply.is_canceled());
            let _ = reply.send(page);
        }
        Ask::Changes {
            after,
            limit,
            reply,
        } => {
            let page = exporter.changes(after, limit, &|| reply.is_canceled());
            let _ = reply.send(page);
        }
    }
}
