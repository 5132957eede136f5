//! Permanent refusals: credentials, names, certificates.

use std::time::{Duration, Instant};

use pollster::block_on;
use sync_core::{Backend, Error, ErrorKind, Retry, SyncStore};
use sync_postgres::tokio_postgres::Config;
use sync_postgres::{PostgresBackend, PostgresConfig, Tls};

use crate::proxy::{Proxy, fixture};
use crate::{Schema, connect, step};

const SECRET: &str = "hunter2 is not it";

/// The refusal of a configuration, by every way to use it.
fn refusal(config: &PostgresConfig) -> Error {
    let begun = Instant::now();
    let connected = block_on(PostgresBackend::connect(config.clone())).unwrap_err();
    let migrated = block_on(PostgresBackend::migrate(config)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(4), "not at once");
    assert_eq!(connected.kind(), migrated.kind());
    connected
}

/// Everything that an error says, its causes included.
fn shown(error: &Error) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        shown = format!("{shown} {cause} {cause:?}");
        next = cause.source();
    }
    shown
}

#[test]
fn wrong_passwords_databases_and_hosts_are_permanent_and_at_once() {
    let base = || {
        let (known, _) = crate::server::server();
        let mut server = Config::new();
        server
            .host("127.0.0.1")
            .port(*known.get_ports().first().unwrap_or(&5432))
            .user(known.get_user().unwrap())
            .password(known.get_password().unwrap())
            .dbname(known.get_dbname().unwrap());
        server
    };
    let mut password = base();
    password.password(SECRET);
    let mut database = base();
    database
        .dbname("no such database")
        .password(base().get_password().unwrap());
    let mut host = Config::new();
    host.host("no-such-host.invalid")
        .user("me")
        .password(SECRET);
    let mut user = base();
    user.user("no such user").password(SECRET);
    let mut missing = Config::new();
    missing
        .host("127.0.0.1")
        .port(*base().get_ports().first().unwrap())
        .user("postgres");
    for (server, kind) in [
        (password, ErrorKind::Denied),
        (database, ErrorKind::NotFound),
        (user, ErrorKind::Denied),
    ] {
        let error = refusal(&PostgresConfig::new(server).tls(Tls::Disable));
        assert_eq!(
            (error.kind(), error.retry()),
            (&kind, Retry::Never),
            "{error:?}"
        );
        assert!(!shown(&error).contains(SECRET), "{}", shown(&error));
    }
    let error = refusal(&PostgresConfig::new(missing).tls(Tls::Disable));
    assert_eq!(error.retry(), Retry::Never, "{error:?}");

    // Without a network the resolver cannot tell whether there is such a name.
    let error = refusal(&PostgresConfig::new(host).tls(Tls::Disable));
    let told = [
        (&ErrorKind::NotFound, Retry::Never),
        (&ErrorKind::Unavailable, Retry::Later),
    ];
    assert!(told.contains(&(error.kind(), error.retry())), "{error:?}");
    assert!(!shown(&error).contains(SECRET), "{}", shown(&error));
}

#[test]
fn a_port_without_a_listener_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut server = Config::new();
    server
        .host("127.0.0.1")
        .port(port)
        .user("me")
        .password(SECRET);
    let error = refusal(&PostgresConfig::new(server));
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::Unavailable, Retry::Later)
    );
    assert!(!shown(&error).contains(SECRET));
}

#[test]
fn a_schema_that_is_not_there_says_what_to_run() {
    let error = block_on(PostgresBackend::connect(crate::config("no_such_schema"))).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::SchemaMismatch { found: 0, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("migrate"), "{error}");
}

#[test]
fn every_mode_of_tls_does_what_it_says() {
    let schema = Schema::new();
    let proxy = Proxy::start();
    let config = |host: &str, tls: Tls| {
        PostgresConfig::new(proxy.server(host))
            .tls(tls)
            .schema(&schema.name)
    };
    let trusted = |host: &str| config(host, Tls::VerifyFull).root_certificates(fixture("ca.pem"));
    for (n, config) in (0..).zip([
        config("localhost", Tls::Prefer),
        config("another.name", Tls::Require),
        trusted("localhost"),
    ]) {
        let store = connect(config);
        let _ = block_on(store.apply(step(n))).unwrap();
        assert_eq!(block_on(store.stats()).unwrap().total, n + 1);
    }
    let refused = [
        // Another name than the certificate's, another authority, the default authorities.
        trusted("another.name"),
        config("localhost", Tls::VerifyFull).root_certificates(fixture("other-ca.pem")),
        config("localhost", Tls::VerifyFull),
    ];
    for config in refused {
        let error = refusal(&config);
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Denied, Retry::Never),
            "{error:?}"
        );
    }
    for (file, message) in [
        ("no-such.pem", "cannot be read"),
        ("server.key", "holds no certificate"),
    ] {
        let error = refusal(&trusted("localhost").root_certificates(fixture(file)));
        assert_eq!(error.kind(), &ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(message), "{error}");
    }
    // Where the server offers no TLS, only the modes that require it are refused.
    let plain = |tls| {
        PostgresConfig::new(crate::server::server().0)
            .tls(tls)
            .schema(&schema.name)
    };
    assert_eq!(
        block_on(connect(plain(Tls::Prefer)).stats()).unwrap().total,
        3
    );
    let offers = crate::direct().rows("SHOW ssl").unwrap();
    if offers[0].get::<_, &str>(0) == "off" {
        let error = refusal(&plain(Tls::Require));
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Denied, Retry::Never),
            "{error:?}"
        );
    }
}
