//! What a database holds, and what it should.

use mongodb::bson::{Bson, Document, doc};
use sync_core::schema::{Contents, Migration, Recorded};
use sync_core::{Error, ErrorKind, Result, schema};

use crate::database::{Collections, Database};
use crate::documents::whole;
use crate::error::{NAMESPACE_NOT_FOUND, code, to_its_end};

/// The owner of the collections, as documents of the schema's collection name it.
pub(crate) const APPLICATION: &str = "sync-store";

/// Every released migration, oldest first. A released one never changes.
pub(crate) const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "init",
    text: include_str!("../migrations/V1__init.json"),
}];

/// The commands of a migration, with the full names of the collections.
pub(crate) fn commands(migration: &Migration, collections: &Collections) -> Result<Vec<Document>> {
    let commands: Vec<Document> = serde_json::from_str(migration.text).map_err(|source| {
        Error::new(ErrorKind::Failed)
            .with_message(format!("migration {} is not readable", migration.version))
            .with_source(source)
    })?;
    let prefixed = |command: Document| {
        let mut fields = command.into_iter();
        // A command's first field names it, and holds the name of its collection.
        let first = fields.next().map(|(name, value)| match value {
            Bson::String(collection) => (name, Bson::String(collections.full(&collection))),
            value => (name, value),
        });
        first.into_iter().chain(fields).collect()
    };
    Ok(commands.into_iter().map(prefixed).collect())
}

/// Looks at the collections under our names, without writing: what they are, and which migrations
/// are recorded. The version is 0 where a migration began and did not end.
pub(crate) async fn contents(database: &Database) -> Result<(Contents, Vec<Recorded>)> {
    let documents = documents(database).await?;
    let is_ours = |document: &&Document| {
        let application = document.get_str("application");
        application.is_ok_and(|application| application == APPLICATION)
    };
    let ours: Vec<_> = documents.iter().filter(is_ours).collect();
    if ours.is_empty() {
        let foreign = !documents.is_empty() || any_collection(database).await?;
        let contents = if foreign {
            Contents::Foreign
        } else {
            Contents::Empty
        };
        return Ok((contents, Vec::new()));
    }
    let recorded = ours.into_iter().filter_map(|document| {
        Some(Recorded {
            version: u32::try_from(whole(document, "_id")?).ok()?,
            checksum: document.get_str("checksum").unwrap_or_default().to_owned(),
        })
    });
    let recorded: Vec<_> = recorded.collect();
    let version = recorded.iter().map(|applied| applied.version).max();
    let version = version.unwrap_or_default();
    Ok((Contents::Ours { version }, recorded))
}

/// Refuses a database that is not as this crate leaves it.
pub(crate) async fn require(database: &Database) -> Result<()> {
    let (contents, _) = contents(database).await?;
    schema::require(contents, &MIGRATIONS).map_err(explain_foreign)?;
    match missing_indexes(database).await?.into_iter().next() {
        None => Ok(()),
        Some(missing) => Err(Error::new(ErrorKind::Corrupt).with_message(missing)),
    }
}

/// Says what to do about collections that are not ours.
pub(crate) fn explain_foreign(error: Error) -> Error {
    if *error.kind() != ErrorKind::Foreign {
        return error;
    }
    error.with_message(
        "another program has collections of these names in the database; take another database, \
         or a collection prefix",
    )
}

/// A sentence for each index of the migrations that is missing or is another one.
pub(crate) async fn missing_indexes(database: &Database) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for migration in &MIGRATIONS {
        for command in commands(migration, &database.collections)? {
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
    match first_batch(database, command).await {
        Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(Vec::new()),
        other => other,
    }
}

/// The documents of the schema's collection.
async fn documents(database: &Database) -> Result<Vec<Document>> {
    let command = doc! {
        "find": database.collections.schema.as_str(),
        "readConcern": { "level": "majority" },
        "limit": 1_000,
        "singleBatch": true,
        "batchSize": 1_000,
    };
    first_batch(database, command).await
}

async fn any_collection(database: &Database) -> Result<bool> {
    // The schema's own collection, without a document, is what a migration leaves that was killed
    // at its first command.
    let mut others = database.collections.all().to_vec();
    others.retain(|name| *name != database.collections.schema);
    let command = doc! {
        "listCollections": 1,
        "filter": { "name": { "$in": others } },
        "nameOnly": true,
        "authorizedCollections": true,
    };
    Ok(!first_batch(database, command).await?.is_empty())
}

async fn first_batch(database: &Database, command: Document) -> Result<Vec<Document>> {
    let driver = database.driver.clone();
    let run = async move { driver.run_command(command).await };
    let answer = to_its_end(database.timeout, run).await?;
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
            for command in commands(migration, &collections).unwrap() {
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
