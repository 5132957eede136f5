//! How pages of other processes are noticed: by `LISTEN` where a session is ours, and by polling.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use sync_core::{Result, SpaceName};
use sync_kit::Spaces;
use sync_kit::streak::Streak;
use sync_kit::watch::Marks;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{AsyncMessage, Client};

use crate::columns::value;
use crate::error::failed;
use crate::pool::Pool;
use crate::session::Session;
use crate::statements::quoted;
use crate::{NAME, PostgresConfig, connection};

/// How often the database is asked what has changed while no connection listens.
const POLL: Duration = Duration::from_millis(100);
/// How often it is asked while one does: a notification may be lost with its sender. It is also the
/// time between two attempts to listen.
const SLOW_POLL: Duration = Duration::from_secs(1);
/// What [`Capabilities::notify_delay`](sync_core::Capabilities::notify_delay) promises: more than a
/// poll, for a machine that is busy.
pub(crate) const NOTIFY_DELAY: Duration = Duration::from_millis(250);

/// What changes when the feed of a space may answer something else.
pub(crate) struct Changes {
    config: PostgresConfig,
    pool: Arc<Pool>,
    spaces: Weak<Spaces<Streak>>,
    listener: Option<Listener>,
    /// When to try to listen again.
    next_try: Instant,
}

/// The connection that listens.
struct Listener {
    /// The connection ends with it.
    _client: Client,
    running: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Changes {
    pub(crate) fn new(
        config: PostgresConfig,
        pool: Arc<Pool>,
        spaces: Weak<Spaces<Streak>>,
    ) -> Self {
        Self {
            config,
            pool,
            spaces,
            listener: None,
            next_try: Instant::now(),
        }
    }

    async fn listen(&self) -> Result<Listener> {
        let heard = Weak::clone(&self.spaces);
        let (client, running) = connection::alone(&self.config, move |message| {
            if let (AsyncMessage::Notification(news), Some(spaces)) = (message, heard.upgrade()) {
                spaces.notify(news.payload());
            }
        })
        .await?;
        let listen = format!("LISTEN {}", quoted(&self.config.schema));
        let listening = client.batch_execute(&listen).await;
        let listener = Listener {
            _client: client,
            running,
        };
        listening.map_err(failed)?;
        Ok(listener)
    }

    async fn listen_again(&mut self) {
        self.next_try = Instant::now() + SLOW_POLL;
        match self.listen().await {
            Ok(listener) => {
                self.listener = Some(listener);
                // What was told before is lost.
                if let Some(spaces) = self.spaces.upgrade() {
                    spaces.notify_all();
                }
            }
            Err(error) => {
                tracing::warn!(backend = NAME, %error, "cannot listen, polling instead");
            }
        }
    }
}

impl Marks for Changes {
    /// Epoch, floor, head and timeline. A space that does not exist has a mark too.
    type Mark = String;

    async fn pause(&mut self) -> Duration {
        let may_listen = self.config.has_sessions() && self.next_try <= Instant::now();
        if self.listener.is_none() && may_listen {
            self.listen_again().await;
        }
        let Some(listener) = &mut self.listener else {
            return POLL;
        };
        if timeout(SLOW_POLL, &mut listener.running).await.is_ok() {
            // The connection is lost, and notifications may be.
            self.listener = None;
        }
        Duration::ZERO
    }

    async fn look(&mut self, spaces: Vec<SpaceName>) -> Option<Result<HashMap<SpaceName, String>>> {
        // A server that does not answer is no news: a waiter that looked for itself would fail.
        loop {
            let looked = self
                .pool
                .read_once(&spaces, |session, spaces| marks(session, spaces).boxed());
            match looked.await {
                Ok(marks) => return Some(Ok(marks)),
                Err(error) => {
                    tracing::debug!(backend = NAME, %error, "cannot look for changes");
                    sleep(POLL).await;
                }
            }
        }
    }
}

async fn marks(session: &Session, spaces: &[SpaceName]) -> Result<HashMap<SpaceName, String>> {
    let names: Vec<&str> = spaces.iter().map(SpaceName::as_str).collect();
    let rows = session.read(&session.statements().watch, &[&names]).await?;
    let mark = |row| Ok((SpaceName::new(value(row, 0)?)?, value(row, 1)?));
    rows.iter().map(mark).collect()
}
