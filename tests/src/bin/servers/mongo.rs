use std::time::Duration;

use anyhow::Result;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::{Client, Database};

/// The name of the replica set of one.
const SET: &str = "rs0";

/// The code of a server that is a set already, maybe by an attempt whose answer got lost.
const ALREADY_INITIALIZED: i32 = 23;

/// How often a new set is asked whether it has its primary.
const POLL: Duration = Duration::from_millis(20);

pub(crate) async fn version(url: &str) -> Result<String> {
    let admin = Client::with_uri_str(url).await?.database("admin");
    let answer = admin.run_command(doc! { "buildInfo": 1 }).await?;
    Ok(format!("MongoDB {}", answer.get_str("version")?))
}

/// Makes the server at `address` a replica set of itself, and waits until it takes writes.
pub(crate) async fn initiate(address: &str) -> Result<String> {
    let url = format!("mongodb://{address}/?directConnection=true");
    let admin = Client::with_uri_str(&url).await?.database("admin");
    let member = doc! { "_id": 0, "host": address };
    let config = doc! { "_id": SET, "members": [member] };
    let initiated = admin.run_command(doc! { "replSetInitiate": config }).await;
    match initiated.map_err(|error| *error.kind) {
        Err(ErrorKind::Command(error)) if error.code == ALREADY_INITIALIZED => {}
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    while !is_primary(&admin).await? {
        tokio::time::sleep(POLL).await;
    }
    Ok(url)
}

async fn is_primary(admin: &Database) -> Result<bool> {
    let hello: Document = admin.run_command(doc! { "hello": 1 }).await?;
    Ok(hello.get_bool("isWritablePrimary").unwrap_or_default())
}
