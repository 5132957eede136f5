//! Schemas: what is not migrated, what is too new, and who migrates. The fixtures of released
//! schemas are the backends' own.

use sync_core::{Error, ErrorKind};

use crate::data::page_of;
use crate::failure::{Verdict, ensure, ensure_eq, fail};
use crate::harness::{Database, Harness};
use crate::process::{Worker, say};
use crate::rig::{Db, Rig, together};

pub(crate) fn migrating_again_changes_nothing<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..10))?;
    let before = space.dump()?;
    let migrated = rig.run.call("migrate", db.database.migrate())?;
    ensure_eq!(
        migrated.from,
        migrated.to,
        "schema versions before and after a second migration"
    );
    ensure_eq!(space.dump()?, before, "everything after a second migration");
    ensure_eq!(
        db.space()?.dump()?,
        before,
        "everything a new handle sees after it"
    );
    Ok(())
}

pub(crate) fn a_database_without_schema_says_so_until_it_is_migrated<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = empty(rig)?;
    // Asked twice: the first question must not have made the schema.
    for _ in 0..2 {
        let (found, supported, message) = mismatch(&db)?;
        ensure_eq!(found, 0, "the schema version found where there is none");
        ensure!(supported > 0, "the supported schema version is {supported}");
        ensure!(
            message.contains("migrate"),
            "the message does not say what to run: {message}"
        );
    }
    let migrated = rig.run.call("migrate", db.database.migrate())?;
    ensure_eq!(migrated.from, 0, "the version a migration found");
    let space = db.space()?;
    let _ = space.apply(page_of(0..3))?;
    space.audit()
}

pub(crate) fn of_many_migrations_at_once_one_migrates<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = empty(rig)?;
    let migrated = together(&[(); 8], |_, ()| {
        let migrated = rig.run.call("migrate", db.database.migrate())?;
        Ok((migrated.from, migrated.to))
    })?;
    one_migrated(&migrated)?;
    let space = db.space()?;
    let _ = space.apply(page_of(0..3))?;
    space.audit()
}

/// The task of a process that migrates.
pub(crate) const MIGRATE: &str = "migrate";

pub(crate) fn migrate<H: Harness>(db: &Db<'_, H>, _argument: &str) -> Verdict {
    let migrated = db.run.call("migrate", db.database.migrate())?;
    say(&format!("{} {}", migrated.from, migrated.to));
    Ok(())
}

pub(crate) fn of_many_migrating_processes_one_migrates<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = empty(rig)?;
    let workers: Vec<Worker> = (0..4)
        .map(|_| Worker::start(&db, MIGRATE, ""))
        .collect::<Verdict<_>>()?;
    let mut migrated = Vec::new();
    for worker in workers {
        let said = worker.succeed()?;
        let versions = said.first().and_then(|line| line.split_once(' '));
        let Some((from, to)) = versions else {
            fail!("a migrating process said {said:?}");
        };
        migrated.push((from.parse().unwrap_or(u32::MAX), to.parse().unwrap_or(0)));
    }
    one_migrated(&migrated)?;
    let space = db.space()?;
    let _ = space.apply(page_of(0..3))?;
    space.audit()
}

pub(crate) fn a_newer_schema_is_refused_and_left_alone<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = Db {
        run: rig.run,
        database: rig.run.harness.newer()?,
    };
    let (newer, supported, _) = mismatch(&db)?;
    ensure!(
        newer > supported,
        "the newer schema is {newer}, supported is {supported}"
    );
    for _ in 0..2 {
        match rig.run.call("migrate", db.database.migrate()) {
            Ok(migrated) => fail!("a newer schema was migrated: {migrated:?}"),
            Err(error) => ensure_eq!(
                versions(&error),
                Some((newer, supported)),
                "(found, supported)"
            ),
        }
        let (found, ..) = mismatch(&db)?;
        ensure_eq!(
            found,
            newer,
            "the newer version, after a migration was refused"
        );
    }
    Ok(())
}

fn empty<'h, H: Harness>(rig: &Rig<'h, H>) -> Verdict<Db<'h, H>> {
    Ok(Db {
        run: rig.run,
        database: rig.run.harness.empty()?,
    })
}

/// Exactly one found no schema; all of them name the same one as the result.
fn one_migrated(migrated: &[(u32, u32)]) -> Verdict {
    let first = migrated.iter().filter(|(from, _)| *from == 0).count();
    ensure_eq!(first, 1, "migrations that found no schema, of {migrated:?}");
    let Some((_, to)) = migrated.first() else {
        fail!("nobody migrated");
    };
    ensure!(
        migrated
            .iter()
            .all(|(from, reached)| reached == to && (*from == 0 || from == to)),
        "versions before and after: {migrated:?}"
    );
    Ok(())
}

/// The versions a refused connection names, and its message.
fn mismatch<H: Harness>(db: &Db<'_, H>) -> Verdict<(u32, u32, String)> {
    match db.connect() {
        Ok(_) => fail!("a connection to another schema than the supported one"),
        Err(error) => match versions(&error) {
            Some((found, supported)) => Ok((found, supported, error.to_string())),
            None => fail!("expected a schema mismatch, found {error}"),
        },
    }
}

fn versions(error: &Error) -> Option<(u32, u32)> {
    match error.kind() {
        ErrorKind::SchemaMismatch { found, supported } => Some((*found, *supported)),
        _ => None,
    }
}
