//! A connection of the driver's own, beside the store's.

use std::thread;

use sync_core::{Error, ErrorKind, Result};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_postgres::Client;

use crate::config::PostgresConfig;
use crate::{NAME, connection};

impl PostgresConfig {
    /// Connects to the same server, with the same TLS, outside any pool: for a program's own
    /// statements on the tables of others.
    ///
    /// - Any executor may poll the client. A thread serves the connection until the client is
    ///   dropped.
    /// - No setting of this crate's sessions is made.
    /// - [`Unsupported`](ErrorKind::Unsupported) where the configuration adopted a pool: the
    ///   connections are then the program's already.
    pub async fn client(&self) -> Result<Client> {
        self.connect_alone()
            .await
            .map_err(|error| error.of_backend(NAME).during("connect"))
    }

    async fn connect_alone(&self) -> Result<Client> {
        self.validate()?;
        let no_thread = |source| {
            Error::new(ErrorKind::Failed)
                .with_message("no thread for the driver could be started")
                .with_source(source)
        };
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(no_thread)?;
        let (answer, answered) = oneshot::channel();
        let config = self.clone();
        let serve = async move {
            match connection::alone(&config, |_| ()).await {
                Ok((client, running)) => {
                    if answer.send(Ok(client)).is_ok() {
                        // The client's next statement fails with the reason of the end.
                        let _ = running.await;
                    }
                }
                Err(error) => {
                    let _ = answer.send(Err(error));
                }
            }
        };
        thread::Builder::new()
            .name("sync-postgres".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(no_thread)?;
        answered.await.map_err(|_| Error::new(ErrorKind::Closed))?
    }
}
