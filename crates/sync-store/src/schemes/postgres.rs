use sync_core::Result;
use sync_postgres::tokio_postgres::config::TargetSessionAttrs;
use sync_postgres::{Pooler, PostgresConfig, Tls, tokio_postgres};

use crate::options::Options;
use crate::url::{StoreUrl, error};

const OPTIONS: [&str; 11] = [
    "schema",
    "pool_size",
    "pooler",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "connect_timeout",
    "pool_timeout",
    "statement_timeout",
    "lock_timeout",
    "retry_timeout",
];

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the options named above.
pub(crate) fn config(url: StoreUrl) -> Result<PostgresConfig> {
    let mut server = server(url.rest())?;
    let options = Options::of(url, "postgres", &OPTIONS)?;
    let sessions = [
        ("any", TargetSessionAttrs::Any),
        ("read-write", TargetSessionAttrs::ReadWrite),
    ];
    if let Some(sessions) = options.choice("target_session_attrs", &sessions)? {
        server.target_session_attrs(sessions);
    }
    let mut config = PostgresConfig::new(server);
    if let Some(schema) = options.text("schema") {
        config = config.schema(schema);
    }
    if let Some(pool_size) = options.count("pool_size")? {
        config = config.pool_size(pool_size);
    }
    let poolers = [
        ("session", Pooler::Session),
        ("transaction", Pooler::Transaction),
    ];
    if let Some(pooler) = options.choice("pooler", &poolers)? {
        config = config.pooler(pooler);
    }
    let modes = [
        ("disable", Tls::Disable),
        ("prefer", Tls::Prefer),
        ("require", Tls::Require),
        ("verify-full", Tls::VerifyFull),
    ];
    if let Some(tls) = options.choice("sslmode", &modes)? {
        config = config.tls(tls);
    }
    if let Some(file) = options.text("sslrootcert") {
        config = config.root_certificates(file);
    }
    if let Some(timeout) = options.duration("connect_timeout")? {
        config = config.connect_timeout(timeout);
    }
    if let Some(timeout) = options.duration("pool_timeout")? {
        config = config.pool_timeout(timeout);
    }
    if let Some(timeout) = options.duration("statement_timeout")? {
        config = config.statement_timeout(timeout);
    }
    if let Some(timeout) = options.duration("lock_timeout")? {
        config = config.lock_timeout(timeout);
    }
    if let Some(timeout) = options.duration("retry_timeout")? {
        config = config.retry_timeout(timeout);
    }
    Ok(config)
}

/// The server, as the driver reads a URL. Its errors may repeat parts of it and are not passed on.
fn server(rest: &str) -> Result<tokio_postgres::Config> {
    let wanted = || error("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE");
    if !rest.starts_with("//") {
        return Err(wanted());
    }
    let server: tokio_postgres::Config =
        format!("postgresql:{rest}").parse().map_err(|_| wanted())?;
    if server.get_hosts().is_empty() || server.get_user().is_none() {
        return Err(wanted());
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(url: &str) -> Result<PostgresConfig> {
        config(StoreUrl::parse(url)?)
    }

    #[test]
    fn every_option_reaches_the_configuration() {
        let url = "postgres://me@db.example:5433,other.example/d?schema=mine&pool_size=3\
                   &pooler=transaction&sslmode=verify-full&sslrootcert=/etc/ca.pem\
                   &connect_timeout=1s&pool_timeout=2s&statement_timeout=3s&lock_timeout=4s\
                   &retry_timeout=500ms&target_session_attrs=read-write";
        let mut server = tokio_postgres::Config::new();
        server.user("me").dbname("d");
        server.host("db.example").port(5433);
        server.host("other.example").port(5432);
        let expected = PostgresConfig::new(server)
            .schema("mine")
            .pool_size(3)
            .pooler(Pooler::Transaction)
            .tls(Tls::VerifyFull)
            .root_certificates("/etc/ca.pem")
            .connect_timeout(Duration::from_secs(1))
            .pool_timeout(Duration::from_secs(2))
            .statement_timeout(Duration::from_secs(3))
            .lock_timeout(Duration::from_secs(4))
            .retry_timeout(Duration::from_millis(500));
        assert_eq!(format!("{:?}", read(url).unwrap()), format!("{expected:?}"));
    }

    #[test]
    fn what_is_no_server_is_refused_and_not_repeated() {
        for url in [
            "postgres:hunter2",
            "postgres://",
            "postgres:///d",
            "postgres://hunter2",
            "postgres://me:hunter2@host:port/d",
        ] {
            let error = read(url).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("postgres://USER"), "{url}: {shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_bad_value_and_an_unknown_option_name_what_is_accepted() {
        for (option, message) in [
            (
                "sslmode=verify-ca",
                "one of disable, prefer, require, verify-full",
            ),
            ("pooler=statement", "one of session, transaction"),
            ("pool_size=0", "a whole number from 1"),
            ("lock_timeout=5", "500ms, 5s, 2m"),
            (
                "password=x",
                "not an option of postgres; accepted are schema, pool_size, pooler, sslmode",
            ),
        ] {
            let error = read(&format!("postgresql://me@h/d?{option}")).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
