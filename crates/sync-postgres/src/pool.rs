//! The connections that pages and reads take in turn.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Pool as Connections, PoolError, TimeoutType, Timeouts};
use sync_core::{Error, ErrorKind, Result};
use sync_kit::backoff::{Policy, retrying};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::PostgresConfig;
use crate::connection;
use crate::error::{no_connection, passes};
use crate::session::{Session, Shared, Work};

/// A pool of connections, of which writers never take all.
pub(crate) struct Pool {
    connections: Connections,
    shared: Arc<Shared>,
    timeout: Duration,
    retries: Policy,
    /// As many permits as writers may have connections.
    writers: Arc<Semaphore>,
}

impl Pool {
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self> {
        let connections = connection::pool(config)?;
        let size = connections.status().max_size;
        Ok(Self {
            connections,
            shared: Arc::new(Shared::new(config)),
            timeout: config.pool_timeout,
            retries: Policy::until(config.retry_timeout),
            writers: Arc::new(Semaphore::new((size / 2).max(1))),
        })
    }

    /// Runs `work` on a connection for reading; again, for a bounded time, where it failed in a way
    /// that passes.
    pub(crate) async fn read<I: Sync, T>(&self, input: &I, work: Work<I, T>) -> Result<T> {
        let attempt = || async {
            let session = self.connect(None).await?;
            session.run(work, input).await
        };
        retrying(self.retries, passes, tokio::time::sleep, attempt).await
    }

    /// Runs `work` on a connection for writing, once those that asked before have theirs; again as
    /// [`read`](Self::read).
    pub(crate) async fn write<I: Sync, T>(&self, input: &I, work: Work<I, T>) -> Result<T> {
        let attempt = || async {
            let permit = Arc::clone(&self.writers).acquire_owned();
            let permit = match tokio::time::timeout(self.timeout, permit).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Err(Error::new(ErrorKind::Closed)),
                Err(_) => return Err(no_connection(PoolError::Timeout(TimeoutType::Wait))),
            };
            let session = self.connect(Some(permit)).await?;
            session.run(work, input).await
        };
        retrying(self.retries, passes, tokio::time::sleep, attempt).await
    }

    /// Runs `work` on a connection for reading, once.
    pub(crate) async fn read_once<I: Sync, T>(&self, input: &I, work: Work<I, T>) -> Result<T> {
        self.connect(None).await?.run(work, input).await
    }

    async fn connect(&self, permit: Option<OwnedSemaphorePermit>) -> Result<Session> {
        let timeouts = Timeouts {
            wait: Some(self.timeout),
            create: None,
            recycle: None,
        };
        let connection = self.connections.timeout_get(&timeouts).await;
        let connection = connection.map_err(no_connection)?;
        Ok(Session::new(connection, Arc::clone(&self.shared), permit))
    }
}
