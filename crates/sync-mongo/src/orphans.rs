//! Transactions of processes that have died.
//!
//! The server keeps the transaction of a client that is gone, and with it the space's document, until
//! `transactionLifetimeLimitSeconds`, a minute by default. A writer that waits for the document ends
//! the transaction earlier, where it is idle and the connection that it came on is closed: together
//! they say that its owner is gone. A transaction that was ended in error is tried again by its owner,
//! so that a mistake costs time and nothing else.

use std::collections::HashSet;

use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Result;
use tokio::time::timeout;

use crate::NAME;
use crate::database::Database;

/// Ends the orphans among this user's transactions. Best effort: the server may not allow the look.
pub(crate) async fn end(database: &Database) {
    match timeout(database.timeout, try_end(database)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(ended)) => {
            tracing::info!(backend = NAME, ended, "ended abandoned transactions");
        }
        Ok(Err(error)) => {
            tracing::debug!(backend = NAME, %error, "could not look for abandoned transactions");
        }
    }
}

async fn try_end(database: &Database) -> Result<usize> {
    let admin = database.client.database("admin");
    let look = doc! {
        "aggregate": 1,
        "pipeline": [
            { "$currentOp": {
                "allUsers": false, "idleSessions": true, "idleConnections": true, "localOps": true,
            } },
            { "$project": {
                "type": 1, "connectionId": 1, "appName": 1, "lsid": 1, "transaction": 1,
            } },
        ],
        // One batch: a look that is cut short must not leave a cursor.
        "cursor": { "batchSize": 100_000 },
    };
    let answer = admin.run_command(look).await?;
    let empty = Vec::new();
    let operations = answer
        .get_document("cursor")
        .and_then(|cursor| cursor.get_array("firstBatch"))
        .unwrap_or(&empty);
    let operations = operations.iter().filter_map(Bson::as_document);
    let orphans = orphans(operations, &database.app_name);
    if !orphans.is_empty() {
        let sessions: Vec<_> = orphans.iter().map(|id| doc! { "id": id.clone() }).collect();
        admin.run_command(doc! { "killSessions": sessions }).await?;
    }
    Ok(orphans.len())
}

/// The ids of sessions of our name with an idle transaction whose connection is gone.
fn orphans<'o>(
    operations: impl Iterator<Item = &'o Document> + Clone,
    app_name: &str,
) -> Vec<Bson> {
    let is_session = |operation: &Document| is(operation, "type", "idleSession");
    let connections: HashSet<i64> = operations
        .clone()
        .filter(|operation| !is_session(operation))
        .filter_map(connection)
        .collect();
    operations
        .filter(|operation| is_session(operation) && operation.contains_key("transaction"))
        .filter(|operation| is(operation, "appName", app_name))
        .filter(|operation| connection(operation).is_some_and(|id| !connections.contains(&id)))
        .filter_map(|operation| operation.get_document("lsid").ok()?.get("id").cloned())
        .collect()
}

fn is(operation: &Document, field: &str, value: &str) -> bool {
    operation.get_str(field).is_ok_and(|found| found == value)
}

fn connection(operation: &Document) -> Option<i64> {
    match operation.get("connectionId")? {
        Bson::Int32(id) => Some((*id).into()),
        Bson::Int64(id) => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_idle_transaction_of_a_closed_connection_is_an_orphan() {
        let session = |connection: i64, id: i32| {
            doc! {
                "type": "idleSession", "connectionId": connection, "appName": "ours",
                "lsid": { "id": id }, "transaction": { "timeOpenMicros": 1_i64 },
            }
        };
        let operations = [
            doc! { "type": "op", "connectionId": 1 },
            doc! { "type": "op", "desc": "a thread of the server's own" },
            session(1, 10),
            session(2, 20),
            doc! {
                "type": "idleSession", "connectionId": 2, "appName": "ours", "lsid": { "id": 30 },
            },
        ];
        assert_eq!(orphans(operations.iter(), "ours"), [Bson::Int32(20)]);
        assert_eq!(orphans(operations.iter(), "theirs"), []);
    }
}
