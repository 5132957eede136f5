use super::*;

#[test]
fn every_code_has_a_kind_and_a_retryability() {
    let table = [
        ("40001", ErrorKind::Busy, Retry::Later),
        ("40P01", ErrorKind::Busy, Retry::Later),
        ("55P03", ErrorKind::Busy, Retry::Later),
        ("57014", ErrorKind::Timeout, Retry::Later),
        ("25P03", ErrorKind::Timeout, Retry::Later),
        ("25006", ErrorKind::ReadOnly, Retry::Never),
        ("28P01", ErrorKind::Denied, Retry::Never),
        ("28000", ErrorKind::Denied, Retry::Never),
        ("42501", ErrorKind::Denied, Retry::Never),
        ("3D000", ErrorKind::NotFound, Retry::Never),
        ("2200H", ErrorKind::Exhausted, Retry::Never),
        ("53100", ErrorKind::Full, Retry::Later),
        ("53300", ErrorKind::Unavailable, Retry::Later),
        ("57P01", ErrorKind::Unavailable, Retry::Later),
        ("57P03", ErrorKind::Unavailable, Retry::Later),
        ("08006", ErrorKind::Unavailable, Retry::Later),
        ("XX001", ErrorKind::Corrupt, Retry::Never),
        ("42P01", ErrorKind::Corrupt, Retry::Never),
        ("54000", ErrorKind::Failed, Retry::Never),
        ("23505", ErrorKind::Failed, Retry::Never),
    ];
    for (code, kind, retry) in table {
        let found = of_code(&SqlState::from_code(code));
        assert_eq!(found, (kind, retry), "{code}");
    }
}

#[test]
fn what_the_network_says_passes_and_an_unknown_name_does_not() {
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert_eq!(of_io(&refused), (ErrorKind::Unavailable, Retry::Later));
    let late = io::Error::new(io::ErrorKind::TimedOut, "connection timed out");
    assert_eq!(of_io(&late), (ErrorKind::Timeout, Retry::Later));
    let unknown = "failed to lookup address information: Name or service not known";
    let unknown = io::Error::other(unknown);
    assert_eq!(of_io(&unknown), (ErrorKind::NotFound, Retry::Never));
    let no_resolver = "failed to lookup address information: Temporary failure in name resolution";
    let no_resolver = io::Error::other(no_resolver);
    assert_eq!(of_io(&no_resolver), (ErrorKind::Unavailable, Retry::Later));
    let forged = io::Error::other(rustls::Error::General("no".into()));
    assert_eq!(of_io(&forged), (ErrorKind::Denied, Retry::Never));
}

#[test]
fn a_pool_without_a_free_connection_is_a_timeout_that_passes() {
    let error = no_connection(PoolError::Timeout(TimeoutType::Wait));
    assert_eq!(error.kind(), &ErrorKind::Timeout);
    assert_eq!(error.retry(), Retry::Later);
}
