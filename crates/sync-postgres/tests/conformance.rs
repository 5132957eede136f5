//! The conformance suite, each case in a schema of its own.

#[path = "common/server.rs"]
mod server;

use std::sync::Arc;

use server::{Direct, config, unique};
use sync_conformance::{BoundaryHook, Database, Harness, Power, Work, WorkMeter};
use sync_core::{Backend, Migrated, Result, Seq, SpaceName};
use sync_postgres::fault::{self, Faults};
use sync_postgres::{PostgresBackend, PostgresConfig};

/// The tables, in an order in which they can be filled.
const TABLES: [&str; 6] = [
    "space",
    "counter",
    "garbage",
    "operation",
    "tombstone",
    "state",
];

/// A schema, dropped with the value unless another process owns it.
struct Schema {
    name: String,
    owned: bool,
}

impl Schema {
    fn config(&self) -> PostgresConfig {
        // The suite has more writers at once than a program would, on a machine that is busy.
        config(&self.name).lock_timeout(std::time::Duration::from_mins(1))
    }

    fn aside(&self) -> String {
        format!("{}_aside", self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if self.owned
            && let Ok(direct) = Direct::open()
        {
            let (schema, aside) = (&self.name, self.aside());
            let _ = direct.run(&format!("DROP SCHEMA IF EXISTS {aside} CASCADE"));
            let _ = direct.run(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
        }
    }
}

impl Database for Schema {
    type Backend = PostgresBackend;

    async fn connect(&self) -> Result<PostgresBackend> {
        PostgresBackend::connect(self.config()).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        PostgresBackend::migrate(&self.config()).await
    }

    fn locator(&self) -> Option<String> {
        Some(self.name.clone())
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        let schema = &self.name;
        let changed = Direct::open()?.rows(&format!(
            "UPDATE {schema}.counter SET head = {head} WHERE incarnation =
               (SELECT incarnation FROM {schema}.space WHERE name = '{}') RETURNING 1",
            space.as_str()
        ))?;
        assert_eq!(changed.len(), 1, "the space exists");
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        let (schema, aside) = (&self.name, self.aside());
        let mut text = format!(
            "BEGIN; DROP SCHEMA IF EXISTS {aside} CASCADE; CREATE SCHEMA {aside};
             CREATE TABLE {aside}.incarnation AS SELECT last_value, is_called FROM {schema}.incarnation;"
        );
        for table in TABLES {
            let copy = format!("CREATE TABLE {aside}.{table} AS TABLE {schema}.{table};");
            text.push_str(&copy);
        }
        Direct::open()?.run(&(text + "COMMIT"))
    }

    fn put_back(&self) -> Result<()> {
        let (schema, aside) = (&self.name, self.aside());
        let mut text = format!(
            "BEGIN;
             SELECT setval('{schema}.incarnation', last_value, is_called) FROM {aside}.incarnation;"
        );
        for table in TABLES {
            let copy = format!(
                "DELETE FROM {schema}.{table};
                 INSERT INTO {schema}.{table} TABLE {aside}.{table};"
            );
            text.push_str(&copy);
        }
        Direct::open()?.run(&(text + "COMMIT"))
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<PostgresBackend> {
        PostgresBackend::connect(self.config().faults(Faults::at_boundaries(hook))).await
    }

    async fn connect_counting(&self) -> Result<(PostgresBackend, WorkMeter)> {
        let work = fault::Work::default();
        let counting = Faults::default().count_work(work.clone());
        let backend = PostgresBackend::connect(self.config().faults(counting)).await?;
        let meter: WorkMeter = Arc::new(move || {
            let costs = work.take().into_iter();
            costs
                .map(|(statement, cost)| Work {
                    statement,
                    rows: cost.units,
                })
                .collect()
        });
        Ok((backend, meter))
    }

    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        let direct = Direct::open()?;
        // One that has written and holds a snapshot keeps every row version from here on alive.
        direct.run(
            "BEGIN ISOLATION LEVEL REPEATABLE READ;
             SELECT pg_current_xact_id(); SELECT count(*) FROM pg_class",
        )?;
        Ok(Box::new(direct))
    }
}

#[derive(Default)]
struct Postgres;

impl Harness for Postgres {
    type Backend = PostgresBackend;
    type Database = Schema;

    fn powers(&self) -> &[Power] {
        &Power::ALL
    }

    fn fresh(&self) -> Result<Schema> {
        let schema = Schema {
            name: unique(),
            owned: true,
        };
        self.block_on(schema.migrate())?;
        Ok(schema)
    }

    fn attach(&self, locator: &str) -> Result<Schema> {
        Ok(Schema {
            name: locator.to_owned(),
            owned: false,
        })
    }

    fn empty(&self) -> Result<Schema> {
        let schema = Schema {
            name: unique(),
            owned: true,
        };
        Direct::open()?.run(&format!("CREATE SCHEMA {}", schema.name))?;
        Ok(schema)
    }

    fn newer(&self) -> Result<Schema> {
        let schema = self.fresh()?;
        let name = &schema.name;
        // A version no release has.
        Direct::open()?.run(&format!(
            "INSERT INTO {name}.schema_migration (version, name, checksum)
               SELECT max(version) + 1, 'wonder', '' FROM {name}.schema_migration;
             CREATE TABLE {name}.of_the_future (wonder text)"
        ))?;
        Ok(schema)
    }
}

sync_conformance::suite!(Postgres);
