use super::*;

fn server() -> tokio_postgres::Config {
    let mut server = tokio_postgres::Config::new();
    server
        .host("db.example")
        .user("me")
        .password("hunter2")
        .dbname("d");
    server
}

#[test]
fn debug_shows_the_host_and_no_password() {
    let shown = format!("{:?}", PostgresConfig::new(server()));
    assert!(shown.contains("db.example") && !shown.contains("hunter2"));
}

#[test]
fn a_name_that_the_server_would_cut_or_keep_for_itself_is_refused() {
    for bad in ["", "pg_mine", "a\0b", &"x".repeat(64)] {
        let config = PostgresConfig::new(server()).schema(bad);
        let error = config.validate().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Config, "{bad:?}");
    }
    let config = PostgresConfig::new(server()).schema("Mine \"too\"");
    config.validate().unwrap();
}

#[test]
fn certificates_that_no_mode_would_read_are_refused() {
    let config = PostgresConfig::new(server()).root_certificates("ca.pem");
    assert!(config.clone().validate().is_err());
    config.tls(Tls::VerifyFull).validate().unwrap();
}
