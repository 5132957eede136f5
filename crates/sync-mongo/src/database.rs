//! The connection: one database of a replica set.

use std::time::Duration;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;
use mongodb::options::{ClientOptions, DriverInfo, ServerAddress, WriteConcern};
use mongodb::{Client, Database as DriverDatabase};
use sync_core::{Error, ErrorKind, Result, Retry};
use sync_kit::fault::Faults;

use crate::MongoConfig;
use crate::config::Source;
use crate::error::{failed, refusals, to_its_end};

/// The time after which a server that does not answer is given up, unless the URL names another.
const SELECTION: Duration = Duration::from_secs(5);
/// The wire version of MongoDB 5.0, the first that reads snapshots outside of transactions.
const WIRE_VERSION: i32 = 13;
/// What our connections are called in the server's log.
const APP_NAME: &str = "sync-mongo";

/// The connections to a database, and how long each answer is waited for.
pub(crate) struct Database {
    pub(crate) client: Client,
    pub(crate) driver: DriverDatabase,
    pub(crate) collections: Collections,
    pub(crate) app_name: String,
    pub(crate) busy_timeout: Duration,
    pub(crate) commit_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) faults: Faults,
}

/// The names of the collections.
#[derive(Clone, Debug)]
pub(crate) struct Collections {
    prefix: String,
    pub(crate) spaces: String,
    pub(crate) operations: String,
    pub(crate) tombstones: String,
    pub(crate) state: String,
    pub(crate) garbage: String,
    pub(crate) schema: String,
}

impl Collections {
    pub(crate) fn new(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{name}");
        Self {
            prefix: prefix.to_owned(),
            spaces: name("spaces"),
            operations: name("operations"),
            tombstones: name("tombstones"),
            state: name("state"),
            garbage: name("garbage"),
            schema: name("schema"),
        }
    }

    /// The full name of the collection that a migration calls `name`.
    pub(crate) fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn all(&self) -> [&str; 6] {
        [
            &self.spaces,
            &self.operations,
            &self.tombstones,
            &self.state,
            &self.garbage,
            &self.schema,
        ]
    }
}

impl Database {
    /// Connects, and refuses a deployment that cannot keep the contract.
    pub(crate) async fn connect(config: &MongoConfig) -> Result<Self> {
        config.check()?;
        let (client, name, app_name) = match &config.source {
            Source::Client(client, name) => (client.clone(), name.clone(), String::new()),
            Source::Url(url) => client(url).await?,
        };
        let database = Self {
            driver: client.database(&name),
            client,
            collections: Collections::new(&config.collection_prefix),
            app_name,
            busy_timeout: config.busy_timeout,
            commit_timeout: config.commit_timeout,
            timeout: config.timeout,
            faults: config.faults.clone(),
        };
        let hello = database.hello().await?;
        require_replica_set(&hello)?;
        Ok(database)
    }

    pub(crate) async fn hello(&self) -> Result<Document> {
        let admin = self.client.database("admin");
        let hello = async move { admin.run_command(doc! { "hello": 1 }).await };
        to_its_end(self.timeout, hello).await
    }

    /// Runs a command outside of any transaction.
    pub(crate) async fn run(&self, command: RawDocumentBuf) -> Result<Document> {
        let driver = self.driver.clone();
        let run = async move { driver.run_raw_command(command).await };
        let answer = to_its_end(self.timeout, run).await?;
        refusals(&answer)?;
        Ok(answer)
    }
}

/// What a write waits for: a majority has it on its disks, so that no failover takes it back.
pub(crate) fn majority(limit: Duration) -> WriteConcern {
    let mut concern = WriteConcern::majority();
    concern.journal = Some(true);
    concern.w_timeout = Some(limit);
    concern
}

/// A client for `url`, the database that it names, and what its connections are called.
async fn client(url: &str) -> Result<(Client, String, String)> {
    // The driver's message would repeat parts of the URL, and among them the password.
    let mut options =
        ClientOptions::parse(url)
            .await
            .map_err(|error| match failed(error).kind() {
                ErrorKind::Config => refused(
                    ErrorKind::Config,
                    "the driver does not understand the connection string",
                ),
                kind => refused(
                    kind.clone(),
                    "the connection string's hosts cannot be found",
                )
                .with_retry(Retry::Never),
            })?;
    let name = options.default_database.clone().ok_or_else(|| {
        refused(
            ErrorKind::Config,
            "the URL names no database: mongodb://HOST/DATABASE",
        )
    })?;
    options.server_selection_timeout.get_or_insert(SELECTION);
    options.connect_timeout.get_or_insert(SELECTION);
    let app_name = options
        .app_name
        .get_or_insert_with(|| APP_NAME.to_owned())
        .clone();
    options.driver_info = Some(DriverInfo::builder().name(APP_NAME).build());
    // Pages and reads are tried again as a whole by this crate.
    options.retry_writes = Some(false);
    options.retry_reads = Some(false);
    options.write_concern = None;
    options.read_concern = None;
    options.selection_criteria = None;
    require_known_host(&options.hosts).await?;
    let direct = options.clone();
    let client = Client::with_options(options).map_err(failed)?;
    explain(&client, direct).await?;
    Ok((client, name, app_name))
}

/// Fails fast on hosts that cannot be resolved, instead of waiting out server selection.
async fn require_known_host(hosts: &[ServerAddress]) -> Result<()> {
    let mut unknown = None;
    for host in hosts {
        let ServerAddress::Tcp { host, port } = host else {
            return Ok(());
        };
        match tokio::net::lookup_host((host.as_str(), port.unwrap_or(27_017))).await {
            Ok(_) => return Ok(()),
            Err(error) => unknown = Some((host.clone(), error)),
        }
    }
    let Some((host, error)) = unknown else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Unavailable)
        .with_retry(Retry::Never)
        .with_message(format!("no address is known for the host {host}"))
        .with_source(error))
}

/// Says why no primary was found, where the first host can tell: the driver leaves a standalone
/// server out of a replica set, and then knows of no server at all.
async fn explain(client: &Client, mut direct: ClientOptions) -> Result<()> {
    let admin = client.database("admin");
    let Err(error) = admin.run_command(doc! { "hello": 1 }).await else {
        return Ok(());
    };
    let missed = is_selection(&error);
    let error = failed(error);
    let Some(host) = direct.hosts.first().cloned().filter(|_| missed) else {
        return Err(error);
    };
    let wanted = direct.repl_set_name.take();
    direct.hosts = vec![host];
    direct.direct_connection = Some(true);
    direct.server_selection_timeout = Some(Duration::from_secs(1));
    let Ok(client) = Client::with_options(direct) else {
        return Err(error);
    };
    let Ok(hello) = client
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await
    else {
        return Err(error);
    };
    require_replica_set(&hello)?;
    match (hello.get_str("setName"), wanted) {
        (Ok(found), Some(wanted)) if found != wanted => Err(refused(
            ErrorKind::Config,
            "the server is a member of another replica set than the one that the URL names",
        )),
        _ => Err(error.with_message("the replica set has no primary that can be reached")),
    }
}

fn is_selection(error: &DriverError) -> bool {
    matches!(
        *error.kind,
        mongodb::error::ErrorKind::ServerSelection { .. }
    )
}

/// Refuses everything but a replica set of a version that has the reads and transactions we need.
fn require_replica_set(hello: &Document) -> Result<()> {
    let version = hello.get_i32("maxWireVersion").unwrap_or_default();
    if version < WIRE_VERSION {
        return Err(refused(
            ErrorKind::Unsupported,
            "the server is older than MongoDB 5.0",
        ));
    }
    if hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Err(refused(
            ErrorKind::Unsupported,
            "the server is the router of a sharded cluster; connect to a replica set",
        ));
    }
    if !hello.contains_key("setName") {
        return Err(refused(
            ErrorKind::Unsupported,
            "the server is standalone, and has no transactions; start it with --replSet and run \
             rs.initiate() once: a replica set of one member is enough",
        ));
    }
    Ok(())
}

fn refused(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replica_set_of_a_version_with_snapshots_will_do() {
        let member = doc! { "maxWireVersion": 17, "setName": "rs0" };
        assert!(require_replica_set(&member).is_ok());
        for (hello, message) in [
            (doc! { "maxWireVersion": 17 }, "standalone"),
            (doc! { "maxWireVersion": 9, "setName": "rs0" }, "5.0"),
            (doc! { "maxWireVersion": 17, "msg": "isdbgrid" }, "sharded"),
            // Started with --replSet and not initiated.
            (
                doc! { "maxWireVersion": 17, "isreplicaset": true },
                "rs.initiate()",
            ),
        ] {
            let error = require_replica_set(&hello).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
