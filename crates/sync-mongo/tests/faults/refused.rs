//! Permanent mistakes fail fast, with the reason.

use std::time::{Duration, Instant};

use mongodb::bson::doc;
use pollster::block_on;
use sync_core::{Backend, Error, ErrorKind, Retry};
use sync_mongo::{MongoBackend, MongoConfig, mongodb};

use crate::kit::{self, told};
use crate::server::Server;
use crate::set::{Mongod, NAME, ReplicaSet, key_file};

fn refusal(url: &str) -> Error {
    let config = MongoConfig::new(url);
    let migration = block_on(MongoBackend::migrate(&config)).unwrap_err();
    let error = block_on(MongoBackend::connect(config)).unwrap_err();
    assert_eq!(error.kind(), migration.kind());
    assert_eq!(error.backend(), Some("mongo"));
    error
}

#[test]
fn a_standalone_server_is_refused_with_what_to_do() {
    let server = Mongod::start(&[]);
    let address = server.address();
    for options in ["", "?replicaSet=faults", "?directConnection=true"] {
        let error = refusal(&format!("mongodb://{address}/db{options}"));
        assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("--replSet"), "{error}");
    }
    let databases = server
        .direct()
        .admin(doc! { "listDatabases": 1, "nameOnly": true })
        .unwrap();
    assert!(
        !databases.to_string().contains("\"db\""),
        "nothing was written"
    );
}

#[test]
fn another_replica_set_is_refused() {
    let set = ReplicaSet::start(1);
    let address = set.members[0].address();
    let error = refusal(&format!("mongodb://{address}/db?replicaSet=other"));
    assert_eq!(*error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("another replica set"), "{error}");
}

#[test]
fn a_host_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let began = Instant::now();
    let error = refusal("mongodb://me:hunter2@no-such-host.invalid/db");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Unavailable, Retry::Never)
    );
    assert!(
        error.to_string().contains("no-such-host.invalid"),
        "{error}"
    );
    assert!(!told(&error).contains("hunter2"));

    let error = refusal("mongodb://me:hunter2@127.0.0.1:1/db?serverSelectionTimeoutMS=500");
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Unavailable, Retry::Later)
    );
    assert!(!told(&error).contains("hunter2"));
}

#[test]
fn a_url_that_is_not_understood_is_not_repeated() {
    for url in [
        "mongodb://me:hunter2@127.0.0.1",
        "mongodb://me:hunter2@127.0.0.1:port/db",
        "mongodb://me:hunter2@/db",
        "hunter2",
    ] {
        let error = refusal(url);
        assert_eq!(*error.kind(), ErrorKind::Config, "{error}");
        assert!(!told(&error).contains("hunter2"), "{error:?}");
    }
    let config = MongoConfig::new("mongodb://me:hunter2@127.0.0.1/db");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_wrong_password_is_denied_at_once_and_the_right_one_suffices() {
    let keys = key_file();
    let key = keys.path().join("key");
    let key = key.to_str().unwrap();
    let server = Mongod::start(&["--replSet", NAME, "--auth", "--keyFile", key]);
    let address = server.address();
    let member = doc! { "_id": 0, "host": &address };
    let direct = server.direct();
    direct
        .admin(doc! { "replSetInitiate": { "_id": NAME, "members": [member] } })
        .unwrap();
    // The first user may be created without one, once there is a primary.
    let create = doc! {
        "createUser": "admin",
        "pwd": "correcthorse",
        "roles": ["root"],
    };
    let began = Instant::now();
    while direct.admin(create.clone()).is_err() {
        assert!(began.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    let admin = Server::new(format!(
        "mongodb://admin:correcthorse@{address}/?replicaSet={NAME}&authSource=admin"
    ));
    for (name, role) in [("writer", "readWrite"), ("reader", "read")] {
        let create = doc! {
            "createUser": name,
            "pwd": "batterystaple",
            "roles": [{ "role": role, "db": "db" }],
        };
        admin.admin(create).unwrap();
    }
    let url = |user: &str, password: &str| {
        format!("mongodb://{user}:{password}@{address}/db?replicaSet={NAME}&authSource=admin")
    };
    for wrong in [url("writer", "hunter2"), url("nobody", "hunter2")] {
        let began = Instant::now();
        let error = refusal(&wrong);
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Denied, Retry::Never),
            "{error}"
        );
        assert!(!told(&error).contains("hunter2"));
    }
    // `readWrite` is all that is needed; and reading alone does not write.
    let config = MongoConfig::new(url("writer", "batterystaple"));
    let store = kit::migrated(&config);
    let _ = block_on(sync_core::SyncStore::apply(&store, kit::step(0))).unwrap();
    let reader = kit::open(&MongoConfig::new(url("reader", "batterystaple"))).unwrap();
    assert_eq!(kit::delivered(&reader).unwrap(), [kit::id(0)]);
    let error = block_on(sync_core::SyncStore::apply(&reader, kit::step(1))).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
    assert!(!told(&error).contains("batterystaple"));
}
