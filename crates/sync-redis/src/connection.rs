//! One connection to one server.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, Value};
use tokio::net::lookup_host;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::{Address, RedisConfig};
use crate::error::Failure;
use crate::stream::Transport;

/// A connection that any number of calls use at once. The server answers them in turn.
#[derive(Clone)]
pub(crate) struct Connection {
    driver: MultiplexedConnection,
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    /// Bytes that the operating system took, so that a call knows whether it was sent.
    written: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(
        config: &RedisConfig,
        transport: &Transport,
        address: &Address,
    ) -> Result<Self, Failure> {
        let opening = async {
            let written = Arc::new(AtomicU64::new(0));
            let found: Vec<_> = lookup_host((address.host.as_str(), address.port))
                .await
                .map_err(|error| Failure::NoHost(address.clone(), error))?
                .collect();
            let stream = transport
                .connect(address, &found, Arc::clone(&written))
                .await
                .map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidData => Failure::Handshake(address.clone(), error),
                    _ => Failure::NotSent(error.into()),
                })?;
            // Timeouts are this module's: the driver's would leave it unsaid whether a call was
            // sent.
            let settings = AsyncConnectionConfig::new()
                .set_connection_timeout(None)
                .set_response_timeout(None);
            let (driver, work) =
                MultiplexedConnection::new_with_config(&login(config), stream, settings)
                    .await
                    .map_err(Failure::NotSent)?;
            Ok((driver, work.boxed(), written))
        };
        let opened = timeout(config.connect_timeout, opening).await;
        let (driver, work, written) = match opened {
            Ok(opened) => opened?,
            Err(_) => return Err(Failure::NoConnection(address.clone())),
        };
        let closed = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closed);
        let task = tokio::spawn(async move {
            work.await;
            ended.store(true, Ordering::SeqCst);
        });
        Ok(Self {
            driver,
            shared: Arc::new(Shared {
                written,
                closed,
                task: task.abort_handle(),
            }),
            timeout: config.timeout,
        })
    }

    /// Whether it may still be used.
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::SeqCst)
    }

    /// Ends it for every call that uses it.
    pub(crate) fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.task.abort();
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn command(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut driver = self.driver.clone();
        self.answer(command.query_async(&mut driver)).await
    }

    /// Sends several commands at once and waits for their answers.
    pub(crate) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Value, Failure> {
        let mut driver = self.driver.clone();
        self.answer(pipeline.query_async(&mut driver)).await
    }

    /// The same, with each answer for itself, also those that are errors.
    pub(crate) async fn answers(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut driver = self.driver.clone();
        self.answer(driver.req_packed_commands(pipeline, 0, pipeline.len()))
            .await
    }

    async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, Failure> {
        let before = self.shared.written.load(Ordering::SeqCst);
        match timeout(self.timeout, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if error.is_unrecoverable_error() => {
                self.close();
                // Whatever was written since may have been this call.
                if self.shared.written.load(Ordering::SeqCst) == before {
                    Err(Failure::NotSent(error))
                } else {
                    Err(Failure::Lost(error))
                }
            }
            Ok(Err(error)) => Err(Failure::Refused(error)),
            Err(_) => {
                self.close();
                Err(Failure::NoAnswer)
            }
        }
    }
}

/// What the driver logs in with.
pub(crate) fn login(config: &RedisConfig) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = &config.username {
        login = login.set_username(username);
    }
    if let Some(password) = &config.password {
        login = login.set_password(password);
    }
    login.set_db(config.database)
}
