//! How the servers of tests are set up: the files in `settings/`, with the values of one server.
//!
//! What a server has acknowledged survives the death of its process, which tests rely on, but not
//! that of the machine, which would take the test along: PostgreSQL writes its log before it
//! answers and does not wait for the disk, unless it is asked to be durable. Redis keeps nothing on
//! disk, and MongoDB what it always keeps.

use std::ffi::OsString;
use std::path::Path;

/// The name of the replica set of one.
pub(super) const REPLICA_SET: &str = "rs0";

pub(super) const POSTGRES: &str = include_str!("settings/postgresql.conf");
pub(super) const REDIS: &str = include_str!("settings/redis.conf");
/// What makes a server of Redis a node of a cluster, behind its other settings.
pub(super) const REDIS_CLUSTER: &str = include_str!("settings/redis-cluster.conf");
pub(super) const PGBOUNCER: &str = include_str!("settings/pgbouncer.ini");
pub(super) const MONGO: &str = include_str!("settings/mongod.yaml");

/// Settings with a value for each `{name}` in them.
pub(super) fn filled(settings: &str, values: &[(&str, &str)]) -> String {
    values
        .iter()
        .fold(settings.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), value)
        })
}

pub(super) fn initdb(data: &Path, password: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--pgdata".into(), data.into()];
    arguments.extend([OsString::from("--pwfile"), password.into()]);
    arguments.extend(
        [
            "--username=postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        .map(OsString::from),
    );
    arguments
}
