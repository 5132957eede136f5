use std::time::{Duration, Instant};

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};
use sync_core::{Error, ErrorKind, Migrated, Result};

use crate::database::Database;
use crate::documents::unreadable;
use crate::error::{DUPLICATE_KEY, NAMESPACE_EXISTS, code};
use crate::schema::{self, APPLICATION, Contents, MIGRATIONS, Migration, SCHEMA_VERSION};
use crate::{NAME, documents};

/// How long a migration waits for one that another process runs.
const PATIENCE: Duration = Duration::from_mins(2);
/// After so long on the server's clock without a renewal, whoever migrates is taken for dead. A
/// single command takes far less on a new schema.
const LEASE_MILLIS: i64 = 20_000;
/// How often somebody who waits asks.
const PAUSE: Duration = Duration::from_millis(100);

/// Brings the database to the supported schema.
pub(crate) async fn migrate(database: &Database) -> Result<Migrated> {
    let from = version(database).await?;
    if from == SCHEMA_VERSION {
        return Ok(Migrated {
            from,
            to: SCHEMA_VERSION,
        });
    }
    let lock = Lock::take(database).await?;
    // Whoever had the lock before has migrated.
    let migrated = match version(database).await {
        Ok(from) => apply_after(&lock, from).await.map(|()| from),
        Err(error) => Err(error),
    };
    lock.release().await?;
    Ok(Migrated {
        from: migrated?,
        to: SCHEMA_VERSION,
    })
}

async fn apply_after(lock: &Lock<'_>, from: u32) -> Result<()> {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > from)
    {
        for command in migration.commands(&lock.database.collections)? {
            lock.renew().await?;
            run(lock.database, command).await?;
        }
        lock.renew().await?;
        record(lock.database, migration).await?;
        tracing::info!(
            backend = NAME,
            version = migration.version,
            "applied a migration"
        );
    }
    Ok(())
}

/// Runs a command of a migration, which may have run before: a migration is not a transaction, and
/// one that was killed is done again from its beginning.
async fn run(database: &Database, mut command: Document) -> Result<()> {
    command.insert("writeConcern", concern());
    let command = RawDocumentBuf::try_from(&command).map_err(unreadable)?;
    match database.run("migrate", command).await {
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        other => other.map(drop),
    }
}

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

/// The version of the database's schema, 0 where it is empty; an error where it may not be touched.
async fn version(database: &Database) -> Result<u32> {
    let (contents, records) = schema::contents(database, "migrate").await?;
    match contents {
        Contents::Empty => Ok(0),
        Contents::Ours { version } if version <= SCHEMA_VERSION => {
            check_history(&records, version)?;
            Ok(version)
        }
        Contents::Ours { version } => Err(schema::mismatch(version, "migrate")),
        Contents::Foreign => Err(schema::foreign("migrate")),
    }
}

/// A migration whose text differs from what was applied means that two builds disagree about what
/// the schema is.
fn check_history(records: &[Document], version: u32) -> Result<()> {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= version)
    {
        let applied = records
            .iter()
            .find(|record| schema::version(record) == Some(migration.version));
        let checksum = applied.map(|record| record.get_str("checksum").unwrap_or_default());
        if checksum != Some(&migration.checksum()) {
            let what = match applied {
                Some(_) => "has another text than this program's",
                None => "is not recorded in this database",
            };
            return Err(Error::new(ErrorKind::Corrupt)
                .with_message(format!("migration {} {what}", migration.version))
                .of_backend(NAME)
                .during("migrate"));
        }
    }
    Ok(())
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
        let until = Instant::now() + PATIENCE;
        loop {
            let free = doc! { "_id": "lock", "owner": "" };
            let expired = doc! { "_id": "lock", "$expr": { "$lt": ["$expires", "$$NOW"] } };
            if lock.create().await? || lock.own(free).await? || lock.own(expired).await? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                return Err(Error::new(ErrorKind::Busy)
                    .with_message("another process migrates the database")
                    .of_backend(NAME)
                    .during("migrate"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Creates the lock as one's own, where it has never been taken.
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

    /// Holds on to the lock. An error where another process has taken it: this one was so slow that
    /// it was taken for dead.
    async fn renew(&self) -> Result<()> {
        let mine = doc! { "_id": "lock", "owner": self.owner.as_str() };
        if self.own(mine).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Busy)
            .with_message("another process has taken the migration over")
            .of_backend(NAME)
            .during("migrate"))
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
        let answer = self.database.run("migrate", command).await?;
        Ok(documents::count(&answer)? == 1)
    }
}

fn concern() -> Document {
    doc! { "w": "majority", "j": true, "wtimeout": 60_000 }
}
