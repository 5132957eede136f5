//! Migrations, under a lock that expires.

use std::time::Duration;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};
use sync_core::schema::{Contents, Migration, decide, supported};
use sync_core::{Error, ErrorKind, Migrated, Result};
use sync_kit::backoff::{Backoff, Policy};

use crate::NAME;
use crate::database::Database;
use crate::documents::{count, unreadable};
use crate::error::{DUPLICATE_KEY, NAMESPACE_EXISTS, code};
use crate::schema::{APPLICATION, MIGRATIONS, commands, contents, explain_foreign};

/// How a migration waits for one that another process runs.
const WAIT: Policy = Policy {
    deadline: Duration::from_mins(2),
    first: Duration::from_millis(100),
    longest: Duration::from_millis(100),
};
/// A process that has not renewed its lock for so long, on the server's clock, counts as dead. A
/// single command takes far less on a new schema.
const LEASE_MILLIS: i64 = 20_000;

/// Brings the database to the supported schema.
pub(crate) async fn migrate(database: &Database) -> Result<Migrated> {
    let to = supported(&MIGRATIONS);
    let (from, missing) = missing(database).await?;
    if missing.is_empty() {
        return Ok(Migrated { from, to });
    }
    let lock = Lock::take(database).await?;
    let migrated = lock.apply_missing().await;
    lock.release().await?;
    Ok(Migrated {
        from: migrated?,
        to,
    })
}

/// The version of the database's schema, 0 where it is empty, and the migrations that it needs; an
/// error where it may not be touched.
async fn missing(database: &Database) -> Result<(u32, Vec<&'static Migration>)> {
    let (contents, recorded) = contents(database).await?;
    let missing = decide(contents, &recorded, &MIGRATIONS).map_err(explain_foreign)?;
    let from = match contents {
        Contents::Ours { version } => version,
        Contents::Empty | Contents::Foreign => 0,
    };
    Ok((from, missing))
}

/// Runs a command of a migration, which may have run before: a migration is not a transaction, and
/// one that was killed is done again from its beginning.
async fn run(database: &Database, mut command: Document) -> Result<()> {
    command.insert("writeConcern", concern());
    let command = RawDocumentBuf::try_from(&command).map_err(unreadable)?;
    match database.run(command).await {
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        other => other.map(drop),
    }
}

/// Writes down that a migration was applied.
async fn record(database: &Database, migration: &Migration) -> Result<()> {
    let record = doc! {
        "application": APPLICATION,
        "name": migration.name,
        "checksum": migration.checksum(),
        "applied_at": "$$NOW",
    };
    let command = doc! {
        "update": database.collections.schema.as_str(),
        "updates": [{
            "q": { "_id": i64::from(migration.version) },
            "u": [{ "$set": record }],
            "upsert": true,
        }],
    };
    run(database, command).await
}

/// The right to migrate: a document that names its owner and expires on the server's clock.
struct Lock<'d> {
    database: &'d Database,
    owner: String,
}

impl<'d> Lock<'d> {
    async fn take(database: &'d Database) -> Result<Self> {
        let lock = Self {
            database,
            owner: format!("{:032x}", fastrand::u128(..)),
        };
        let mut backoff = Backoff::new(WAIT);
        loop {
            let free = doc! { "_id": "lock", "owner": "" };
            let expired = doc! { "_id": "lock", "$expr": { "$lt": ["$expires", "$$NOW"] } };
            if lock.create().await? || lock.own(free).await? || lock.own(expired).await? {
                return Ok(lock);
            }
            let Some(pause) = backoff.pause() else {
                return Err(Error::new(ErrorKind::Busy)
                    .with_message("another process migrates the database"));
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Applies the missing migrations, and answers the version before them.
    async fn apply_missing(&self) -> Result<u32> {
        // The process that had the lock before has migrated.
        let (from, missing) = missing(self.database).await?;
        for migration in missing {
            for command in commands(migration, &self.database.collections)? {
                self.renew().await?;
                run(self.database, command).await?;
            }
            self.renew().await?;
            record(self.database, migration).await?;
            let version = migration.version;
            tracing::info!(backend = NAME, version, "applied a migration");
        }
        Ok(from)
    }

    /// Creates the lock and takes it, where it has never been taken.
    async fn create(&self) -> Result<bool> {
        let none = doc! { "_id": "lock", "owner": self.owner.as_str() };
        match self.update(none, true).await {
            Err(error) if code(&error) == Some(DUPLICATE_KEY) => Ok(false),
            other => other,
        }
    }

    /// Takes the lock where it is as `filter` says.
    async fn own(&self, filter: Document) -> Result<bool> {
        self.update(filter, false).await
    }

    /// Renews the lock. An error where another process has taken it, because this one was so slow that
    /// it counted as dead.
    async fn renew(&self) -> Result<()> {
        let mine = doc! { "_id": "lock", "owner": self.owner.as_str() };
        if self.own(mine).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy)
            .with_message("another process has taken the migration over"))
    }

    async fn release(self) -> Result<()> {
        let command = doc! {
            "update": self.database.collections.schema.as_str(),
            "updates": [{
                "q": { "_id": "lock", "owner": self.owner.as_str() },
                "u": { "$set": { "owner": "" } },
            }],
        };
        run(self.database, command).await
    }

    async fn update(&self, filter: Document, upsert: bool) -> Result<bool> {
        let held = doc! {
            "application": APPLICATION,
            "owner": self.owner.as_str(),
            "expires": { "$add": ["$$NOW", LEASE_MILLIS] },
        };
        let command = doc! {
            "update": self.database.collections.schema.as_str(),
            "updates": [{ "q": filter, "u": [{ "$set": held }], "upsert": upsert }],
            "writeConcern": concern(),
        };
        let command = RawDocumentBuf::try_from(&command).map_err(unreadable)?;
        let answer = self.database.run(command).await?;
        Ok(count(&answer)? == 1)
    }
}

fn concern() -> Document {
    doc! { "w": "majority", "j": true, "wtimeout": 60_000 }
}
