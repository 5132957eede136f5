//! What a database holds, and what it should.

use mongodb::bson::{Bson, Document, doc};
use sync_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::NAME;
use crate::database::{Collections, Database};
use crate::error::{failed, named, timed_out};

/// The schema this crate reads and writes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Who the collections belong to, as documents of the schema's collection say it.
pub(crate) const APPLICATION: &str = "sync-store";

pub(crate) struct Migration {
    pub(crate) version: u32,
    pub(crate) name: &'static str,
    pub(crate) json: &'static str,
}

/// Every released migration, oldest first. A released one never changes.
pub(crate) const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [Migration {
    version: 1,
    name: "init",
    json: include_str!("../migrations/V1__init.json"),
}];

impl Migration {
    /// The commands, with the full names of the collections.
    pub(crate) fn commands(&self, collections: &Collections) -> Result<Vec<Document>> {
        let commands: Vec<Document> = serde_json::from_str(self.json).map_err(|source| {
            Error::new(ErrorKind::Failed)
                .with_message(format!("migration {} is not readable", self.version))
                .with_source(source)
                .of_backend(NAME)
        })?;
        let prefixed = |command: Document| {
            let named = command
                .into_iter()
                .enumerate()
                .map(|(index, (key, value))| {
                    // A command's first field names it, and holds the name of its collection.
                    match value {
                        Bson::String(collection) if index == 0 => {
                            (key, Bson::String(collections.full(&collection)))
                        }
                        value => (key, value),
                    }
                });
            named.collect()
        };
        Ok(commands.into_iter().map(prefixed).collect())
    }

    pub(crate) fn checksum(&self) -> String {
        blake3::hash(self.json.as_bytes()).to_hex().to_string()
    }
}

/// What is in a database under the names that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing.
    Empty,
    /// Collections of this crate; version 0 where a migration began and did not end.
    Ours { version: u32 },
    /// Collections of another program.
    Foreign,
}

/// Looks at the collections without writing.
pub(crate) async fn contents(
    database: &Database,
    operation: &'static str,
) -> Result<(Contents, Vec<Document>)> {
    let records = records(database, operation).await?;
    let ours = |record: &&Document| {
        let application = record.get_str("application");
        application.is_ok_and(|application| application == APPLICATION)
    };
    let versions: Vec<_> = records.iter().filter(ours).cloned().collect();
    if !versions.is_empty() {
        let version = versions
            .iter()
            .filter_map(version)
            .max()
            .unwrap_or_default();
        return Ok((Contents::Ours { version }, versions));
    }
    let taken = !records.is_empty() || any_collection(database, operation).await?;
    let contents = if taken {
        Contents::Foreign
    } else {
        Contents::Empty
    };
    Ok((contents, versions))
}

/// The version that a record of the schema's collection says was applied.
pub(crate) fn version(record: &Document) -> Option<u32> {
    match record.get("_id")? {
        Bson::Int32(version) => u32::try_from(*version).ok(),
        Bson::Int64(version) => u32::try_from(*version).ok(),
        _ => None,
    }
}

/// Refuses a database whose schema is not the supported one.
pub(crate) async fn require(database: &Database, operation: &'static str) -> Result<()> {
    let (contents, _) = contents(database, operation).await?;
    let found = match contents {
        Contents::Ours { version } if version == SCHEMA_VERSION => {
            let missing = missing_indexes(database).await.map_err(named(operation))?;
            return match missing.into_iter().next() {
                None => Ok(()),
                Some(missing) => Err(Error::new(ErrorKind::Corrupt)
                    .with_message(missing)
                    .of_backend(NAME)
                    .during(operation)),
            };
        }
        Contents::Ours { version } => version,
        Contents::Empty => 0,
        Contents::Foreign => return Err(foreign(operation)),
    };
    Err(mismatch(found, operation))
}

pub(crate) fn mismatch(found: u32, operation: &'static str) -> Error {
    Error::new(ErrorKind::SchemaMismatch {
        found,
        supported: SCHEMA_VERSION,
    })
    .of_backend(NAME)
    .during(operation)
}

/// The refusal of collections that are not ours.
pub(crate) fn foreign(operation: &'static str) -> Error {
    Error::new(ErrorKind::Foreign)
        .with_message(
            "another program has collections of these names in the database; take another \
             database, or a collection prefix",
        )
        .of_backend(NAME)
        .during(operation)
}

/// Every index of the migrations that is not there, or is another one, as a sentence.
pub(crate) async fn missing_indexes(database: &Database) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for migration in &MIGRATIONS {
        for command in migration.commands(&database.collections)? {
            let Ok(collection) = command.get_str("createIndexes") else {
                continue;
            };
            let present = indexes(database, collection).await?;
            let wanted = command.get_array("indexes").into_iter().flatten();
            for wanted in wanted.filter_map(Bson::as_document) {
                let name = wanted.get_str("name").unwrap_or_default();
                let found = present
                    .iter()
                    .find(|index| index.get_str("name").is_ok_and(|found| found == name));
                let what = match found {
                    None => "missing",
                    Some(found) if same_index(found, wanted) => continue,
                    Some(_) => "another one than this program's",
                };
                missing.push(format!("the index {name} of {collection} is {what}"));
            }
        }
    }
    Ok(missing)
}

fn same_index(found: &Document, wanted: &Document) -> bool {
    let hidden = found.get_bool("hidden").unwrap_or_default();
    let parts = ["key", "partialFilterExpression", "unique", "sparse"];
    let same = |part: &&str| same_value(found.get(part), wanted.get(part));
    !hidden && parts.iter().all(same)
}

/// Compares as the server does, for which 1 of any type is 1.
fn same_value(a: Option<&Bson>, b: Option<&Bson>) -> bool {
    match (a, b) {
        (Some(Bson::Document(a)), Some(Bson::Document(b))) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((x, a), (y, b))| x == y && same_value(Some(a), Some(b)))
        }
        (Some(a), Some(b)) => match (as_number(a), as_number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

fn as_number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(number) => Some(f64::from(*number)),
        #[expect(clippy::cast_precision_loss, reason = "1 and -1")]
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    }
}

async fn indexes(database: &Database, collection: &str) -> Result<Vec<Document>> {
    let command = doc! { "listIndexes": collection, "cursor": { "batchSize": 1_000 } };
    match first_batch(database, "connect", command).await {
        // NamespaceNotFound: a collection that does not exist has no index.
        Err(error) if crate::error::code(&error) == Some(26) => Ok(Vec::new()),
        other => other,
    }
}

async fn records(database: &Database, operation: &'static str) -> Result<Vec<Document>> {
    let command = doc! {
        "find": database.collections.schema.as_str(),
        "readConcern": { "level": "majority" },
        "limit": 1_000,
        "singleBatch": true,
        "batchSize": 1_000,
    };
    first_batch(database, operation, command).await
}

async fn any_collection(database: &Database, operation: &'static str) -> Result<bool> {
    let names = database.collections.all();
    // The schema's own collection, without a document, is what a migration leaves that was killed
    // at its first command.
    let others: Vec<_> = names
        .into_iter()
        .filter(|name| *name != database.collections.schema)
        .collect();
    let command = doc! {
        "listCollections": 1,
        "filter": { "name": { "$in": others } },
        "nameOnly": true,
        "authorizedCollections": true,
    };
    let found = first_batch(database, operation, command).await?;
    Ok(!found.is_empty())
}

async fn first_batch(
    database: &Database,
    operation: &'static str,
    command: Document,
) -> Result<Vec<Document>> {
    let answer = timeout(database.timeout, database.driver.run_command(command))
        .await
        .map_err(|_| timed_out(operation))?
        .map_err(failed(operation))?;
    let batch = answer
        .get_document("cursor")
        .and_then(|cursor| cursor.get_array("firstBatch"));
    let documents = batch.into_iter().flatten().filter_map(Bson::as_document);
    Ok(documents.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_is_readable_and_its_collections_take_the_prefix() {
        let collections = Collections::new("a_");
        for migration in &MIGRATIONS {
            for command in migration.commands(&collections).unwrap() {
                let (_, collection) = command.iter().next().unwrap();
                let collection = collection.as_str().unwrap();
                assert!(collections.all().contains(&collection), "{collection}");
            }
        }
    }

    #[test]
    fn an_index_is_the_same_whatever_type_its_directions_have() {
        let wanted = doc! { "key": { "a": 1, "b": 1 } };
        assert!(same_index(
            &doc! { "v": 2, "key": { "a": 1.0, "b": 1_i64 } },
            &wanted
        ));
        for other in [
            doc! { "key": { "b": 1, "a": 1 } },
            doc! { "key": { "a": 1 } },
            doc! { "key": { "a": 1, "b": -1 } },
            doc! { "key": { "a": 1, "b": 1 }, "unique": true },
            doc! { "key": { "a": 1, "b": 1 }, "hidden": true },
            doc! { "key": { "a": 1, "b": 1 }, "partialFilterExpression": { "a": 1 } },
        ] {
            assert!(!same_index(&other, &wanted), "{other}");
        }
    }
}
