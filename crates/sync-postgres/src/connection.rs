//! Connections to the server.

use std::fmt::Write as _;
use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use sync_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client};

use crate::config::{PostgresConfig, Server};
use crate::error::failed;
use crate::tls;

/// The settings of a session, in the form that `SET` takes.
///
/// The planner may neither sort nor read a table whole: it takes a table without statistics for a
/// small one, and every statement has an index in its order. The plans that are left have so high an
/// estimated cost that the server would compile them, so that `jit` is off too.
fn settings(config: &PostgresConfig) -> [(&'static str, String); 10] {
    let off = || "off".to_owned();
    let millis = |timeout: Duration| timeout.as_millis().min(i32::MAX as u128).to_string();
    [
        ("enable_seqscan", off()),
        ("enable_bitmapscan", off()),
        ("enable_sort", off()),
        ("enable_hashjoin", off()),
        ("enable_mergejoin", off()),
        ("jit", off()),
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("statement_timeout", millis(config.statement_timeout)),
        ("lock_timeout", millis(config.lock_timeout)),
        // A writer whose machine has gone must not lock its space for ever.
        ("idle_in_transaction_session_timeout", "60000".to_owned()),
    ]
}

/// Makes a server that would answer before a commit is on its disk wait for that. A stronger setting
/// stays as it is.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', {local})
  WHERE current_setting('synchronous_commit') = 'off'";

/// Makes the settings for a session, or `local`ly for the transaction in which the text is run.
pub(crate) fn set_up(config: &PostgresConfig, local: bool) -> String {
    let scope = if local { "SET LOCAL" } else { "SET" };
    let mut text = String::new();
    for (name, value) in settings(config) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{scope} {name} = {value};");
    }
    text.push_str(&DURABLE.replace("{local}", if local { "true" } else { "false" }));
    text
}

/// The pool of `config`, which connects when a connection is asked for.
pub(crate) fn pool(config: &PostgresConfig) -> Result<Pool> {
    let server = match &config.server {
        Server::Adopted(pool) => return Ok(pool.clone()),
        Server::Own(_) => config.driver().unwrap_or_default(),
    };
    let manager = Manager::from_config(
        server,
        tls::connector(config)?,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let mut builder = Pool::builder(manager)
        .max_size(config.pool_size)
        .runtime(Runtime::Tokio1);
    if config.has_sessions() {
        let text = set_up(config, false);
        builder = builder.post_create(Hook::async_fn(move |client, _| {
            let text = text.clone();
            Box::pin(async move {
                let set = client.batch_execute(&text).await;
                set.map_err(HookError::Backend)
            })
        }));
    }
    let built = builder.build();
    built.map_err(|source| Error::new(ErrorKind::Failed).with_source(source))
}

/// A connection outside every pool, and the task that drives it. Notices and notifications of the
/// server go to `heard`.
pub(crate) async fn alone(
    config: &PostgresConfig,
    heard: impl Fn(AsyncMessage) + Send + 'static,
) -> Result<(Client, JoinHandle<()>)> {
    let Some(server) = config.driver() else {
        return Err(Error::new(ErrorKind::Unsupported));
    };
    let tls = tls::connector(config)?;
    let (client, mut connection) = server.connect(tls).await.map_err(failed)?;
    let task = tokio::spawn(async move {
        let mut messages = pin!(poll_fn(move |cx| connection.poll_message(cx)));
        while let Some(Ok(message)) = messages.next().await {
            heard(message);
        }
    });
    Ok((client, task))
}
