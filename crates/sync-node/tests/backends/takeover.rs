//! The deployed mediator's tables in PostgreSQL become a space of the program.

use std::env;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sync_mdip_simulator::Log;
use sync_store::SyncOrder;
use sync_store::postgres::tokio_postgres::{self, NoTls};
use tokio::runtime::{Builder, Runtime};

use crate::node;

const OPERATIONS: &str = "hyperswarm_sync_operations";

/// Tables as the deployed mediator makes them, in a schema nobody else uses.
struct Deployed {
    runtime: Runtime,
    client: tokio_postgres::Client,
    url: String,
    schema: String,
    /// What hydration would store of the operation, in base64.
    payload: String,
}

impl Deployed {
    /// An operation, the same under another id, one that upstream rejected, and a cursor.
    fn new() -> Self {
        let url = env::var("SYNC_TEST_POSTGRES_URL").unwrap();
        let server = url.split('?').next().unwrap();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let connecting = tokio_postgres::connect(server, NoTls);
        let (client, connection) = runtime.block_on(connecting).unwrap();
        runtime.spawn(connection);
        let mut log = Log::new();
        let did = log.create("hyperswarm");
        let event = log.history(&did).first().unwrap();
        let (json, hash) = (event.operation(), event.hash().unwrap());
        let stored = sync_mdip::to_operation(json.as_bytes(), SyncOrder::new(7)).unwrap();
        let deployed = Self {
            runtime,
            client,
            url,
            schema: format!("deployed_{:016x}", fastrand::u64(..)),
            payload: STANDARD.encode(&stored.payload),
        };
        deployed.fill(json, hash);
        deployed
    }

    fn fill(&self, json: &str, hash: &str) {
        let schema = &self.schema;
        self.run(&format!(
            "CREATE SCHEMA {schema};
             CREATE TABLE {schema}.{OPERATIONS} (id TEXT COLLATE \"C\" PRIMARY KEY,
               sync_order BIGINT, signed_ts BIGINT, operation_json JSONB, inserted_at BIGINT);
             CREATE TABLE {schema}.hyperswarm_sync_state (key TEXT PRIMARY KEY, value TEXT);
             INSERT INTO {schema}.hyperswarm_sync_state VALUES ('index.changes.cursor', '7')"
        ));
        let zeros = "0".repeat(64);
        let forged = json.replace(hash, &zeros);
        for (id, order, json) in [
            (hash, 7, json),
            (&zeros, 8, &forged),
            (&"f".repeat(64), 9_007_199_254_740_991_i64, json),
        ] {
            let json = json.replace('\'', "''");
            self.run(&format!(
                "INSERT INTO {schema}.{OPERATIONS} VALUES ('{id}', {order}, 1700000000, '{json}', 0)"
            ));
        }
    }

    fn run(&self, text: &str) {
        let ran = self.runtime.block_on(self.client.batch_execute(text));
        ran.unwrap();
    }

    fn exists(&self, table: &str) -> bool {
        let ask = format!("SELECT to_regclass('{}.{table}') IS NOT NULL", self.schema);
        let row = self.runtime.block_on(self.client.query_one(&ask, &[]));
        row.unwrap().get(0)
    }

    /// Runs the program on a schema of its own beside the deployed one.
    fn node(&self, arguments: &[&str]) -> node::Ran {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let store = format!("{}{separator}schema=ours_{}", self.url, self.schema);
        node::bare(&[arguments, &["--store", &store]].concat())
    }

    fn take_over(&self, way: &[&str]) -> Value {
        let asked = ["migrate", "--json", "--old-schema", &self.schema];
        serde_json::from_str(&self.node(&[&asked[..], way].concat()).ok()).unwrap()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let schema = &self.schema;
        self.run(&format!(
            "DROP SCHEMA {schema} CASCADE; DROP SCHEMA IF EXISTS ours_{schema} CASCADE"
        ));
    }
}

#[test]
fn deployed_tables_in_postgresql_are_taken_over_as_hydration_would_have_stored_them() {
    for way in [
        &["--take-over-tables"][..],
        &["--take-over-in-place", "--yes"],
    ] {
        let deployed = Deployed::new();
        let taken = deployed.take_over(way);
        assert_eq!(
            (&taken["taken"], &taken["ordered"], &taken["stateKeys"]),
            (&json!(1), &json!(1), &json!(["index.changes.cursor"])),
            "{way:?}"
        );
        let refused = taken["refused"].as_array().unwrap();
        assert_eq!(refused.len(), 2, "{way:?}");
        for (refused, reason) in refused.iter().zip(["hash_mismatch", "rejected upstream"]) {
            assert!(refused.as_str().unwrap().contains(reason), "{refused}");
        }
        // The column reorders keys; what is stored is what was signed, in its canonical form.
        let row = deployed.node(&["dump"]).ok();
        let row: Value = serde_json::from_str(row.lines().next().unwrap()).unwrap();
        assert_eq!(row["syncOrder"], 7, "{way:?}: {row}");
        assert_eq!(row["payload"], deployed.payload, "{way:?}");
        deployed.node(&["verify"]).ok();
        let put_away = way.contains(&"--yes");
        assert_eq!(
            deployed.exists("taken_over_hyperswarm_sync_operations"),
            put_away
        );
    }
}

#[test]
fn a_takeover_in_place_of_postgresql_needs_to_be_confirmed() {
    let deployed = Deployed::new();
    let asked = deployed.node(&["migrate", "--take-over-in-place"]);
    assert_eq!(asked.code(), Some(2), "{asked:?}");
    assert!(deployed.exists(OPERATIONS) && !deployed.exists(&format!("taken_over_{OPERATIONS}")));
}
