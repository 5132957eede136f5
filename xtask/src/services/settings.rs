//! How the servers of tests are set up.
//!
//! What a server has acknowledged survives the death of its process, which tests rely on, but not
//! that of the machine, which would take the test along: PostgreSQL writes its log before it
//! answers and does not wait for the disk, unless it is asked to be durable. Redis keeps nothing on disk, and MongoDB what it always
//! keeps.

use std::ffi::OsString;
use std::path::Path;

/// The name of the replica set of one.
pub(super) const REPLICA_SET: &str = "rs0";

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

pub(super) fn postgres(data: &Path, port: u16, durable: bool) -> Vec<OsString> {
    let on = if durable { "on" } else { "off" };
    let settings = [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        // A socket's path has to be short, and nobody looks for one here.
        "unix_socket_directories=".to_owned(),
        // What would protect from a crash of the machine. `synchronous_commit` stays on: without
        // it, commits that were acknowledged die with the process.
        format!("fsync={on}"),
        format!("full_page_writes={on}"),
        // Cases run in parallel, each with a pool of its own.
        "max_connections=300".to_owned(),
        "shared_buffers=128MB".to_owned(),
        // Memory that several processes share is scarce in containers.
        "dynamic_shared_memory_type=mmap".to_owned(),
    ];
    let mut arguments: Vec<OsString> = vec!["-D".into(), data.into()];
    for setting in settings {
        arguments.extend(["-c".into(), setting.into()]);
    }
    arguments
}

/// A configuration file, because a command line is public and a password is not.
pub(super) fn redis(folder: &Path, port: u16, password: &str) -> String {
    let folder = folder.display();
    format!(
        "bind 127.0.0.1\n\
         port {port}\n\
         requirepass {password}\n\
         dir \"{folder}\"\n\
         daemonize no\n\
         save \"\"\n\
         appendonly no\n\
         maxmemory-policy noeviction\n"
    )
}

/// What makes such a server a node of a cluster.
pub(super) fn redis_cluster(password: &str) -> String {
    format!(
        "cluster-enabled yes\n\
         cluster-config-file nodes.conf\n\
         cluster-node-timeout 5000\n\
         masterauth {password}\n"
    )
}

/// Nothing if `upstream` has no port.
pub(super) fn pgbouncer(upstream: &str, port: u16, users: &Path) -> Option<String> {
    let (host, upstream) = upstream.rsplit_once(':')?;
    let users = users.display();
    Some(format!(
        "[databases]\n\
         * = host={host} port={upstream}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = {users}\n\
         pool_mode = transaction\n\
         max_client_conn = 1000\n\
         default_pool_size = 100\n\
         ignore_startup_parameters = extra_float_digits\n"
    ))
}

pub(super) fn mongo(data: &Path, port: u16) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["--dbpath".into(), data.into()];
    let port = port.to_string();
    let parameters = [
        // Statistics that nobody reads.
        "diagnosticDataCollectionEnabled=false",
        // Otherwise a primary waits 15 seconds for its clients before it stops.
        "shutdownTimeoutMillisForSignaledShutdown=100",
    ];
    arguments.extend(
        [
            "--replSet",
            REPLICA_SET,
            "--bind_ip",
            "127.0.0.1",
            "--port",
            &port,
            "--nounixsocket",
            "--oplogSize",
            "512",
            "--wiredTigerCacheSizeGB",
            "2",
        ]
        .map(OsString::from),
    );
    for parameter in parameters {
        arguments.extend(["--setParameter".into(), parameter.into()]);
    }
    arguments
}
