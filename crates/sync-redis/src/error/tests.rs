use redis::Value;

use super::*;

/// The driver's error for a line that a server sent.
fn server(line: &str) -> RedisError {
    let bytes = format!("-{line}\r\n");
    let value = redis::parse_redis_value(bytes.as_bytes()).unwrap();
    let Err(error) = Value::extract_error(value) else {
        panic!("{line} is no error");
    };
    error
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_answer_of_a_server_has_a_kind_and_a_retryability() {
    let script = "ERR Error running script (call to f_0a1b): @user_script:7: @user_script: 7: ";
    for (line, kind, retry) in [
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            ErrorKind::Full,
            Retry::Later,
        ),
        (
            &format!("{script}-OOM command not allowed when used memory > 'maxmemory'."),
            ErrorKind::Full,
            Retry::Later,
        ),
        (
            "EXECABORT Transaction discarded because of: OOM command not allowed",
            ErrorKind::Full,
            Retry::Later,
        ),
        (
            "EXECABORT Transaction discarded because of: BUSY Valkey is busy running a script.",
            ErrorKind::Busy,
            Retry::Later,
        ),
        (
            "MISCONF Errors writing to the AOF file",
            ErrorKind::Full,
            Retry::Later,
        ),
        (
            "NOREPLICAS Not enough good replicas to write.",
            ErrorKind::Full,
            Retry::Later,
        ),
        (
            "READONLY You can't write against a read only replica.",
            ErrorKind::ReadOnly,
            Retry::Later,
        ),
        (
            &format!("{script}-READONLY You can't write against a read only replica."),
            ErrorKind::ReadOnly,
            Retry::Later,
        ),
        (
            "NOAUTH Authentication required.",
            ErrorKind::Denied,
            Retry::Never,
        ),
        (
            "WRONGPASS invalid username-password pair",
            ErrorKind::Denied,
            Retry::Never,
        ),
        (
            "NOPERM this user has no permissions to run the 'evalsha' command",
            ErrorKind::Denied,
            Retry::Never,
        ),
        (
            &format!("{script}The user executing the script can't run this command or subcommand"),
            ErrorKind::Denied,
            Retry::Never,
        ),
        (
            "ERR ACL failure in script: User poor has no permissions to run the 'hset' command",
            ErrorKind::Denied,
            Retry::Never,
        ),
        (
            "BUSY Redis is busy running a script.",
            ErrorKind::Busy,
            Retry::Later,
        ),
        (
            "LOADING Redis is loading the dataset in memory",
            ErrorKind::Unavailable,
            Retry::Later,
        ),
        (
            "CLUSTERDOWN The cluster is down",
            ErrorKind::Unavailable,
            Retry::Later,
        ),
        (
            "TRYAGAIN Multiple keys request",
            ErrorKind::Unavailable,
            Retry::Later,
        ),
        (
            "MOVED 3999 127.0.0.1:6381",
            ErrorKind::Unavailable,
            Retry::Later,
        ),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            ErrorKind::Corrupt,
            Retry::Never,
        ),
        (
            "CORRUPT an index holds an id that has no row",
            ErrorKind::Corrupt,
            Retry::Never,
        ),
        (
            "ERR DB index is out of range",
            ErrorKind::NotFound,
            Retry::Never,
        ),
        (
            "ERR unknown command 'EVALSHA'",
            ErrorKind::Failed,
            Retry::Never,
        ),
    ] {
        let error = Failure::Refused(server(line)).of_a_write();
        assert_eq!((error.kind(), error.retry()), (&kind, retry), "{line}");
    }
}

#[test]
fn a_connection_that_ends_tells_what_was_sent() {
    let gone = || RedisError::from(io::Error::from(io::ErrorKind::ConnectionReset));
    let address = || Address {
        host: "h".to_owned(),
        port: 1,
    };
    let unknown_name = || io::Error::other("failed to lookup address information");
    let table = [
        (
            Failure::NotSent(gone()),
            ErrorKind::Unavailable,
            ErrorKind::Unavailable,
        ),
        (
            Failure::Handshake(address(), unknown_name()),
            ErrorKind::Failed,
            ErrorKind::Failed,
        ),
        (
            Failure::NoConnection(address()),
            ErrorKind::Unavailable,
            ErrorKind::Unavailable,
        ),
        (
            Failure::NoHost(address(), unknown_name()),
            ErrorKind::NotFound,
            ErrorKind::NotFound,
        ),
        (
            Failure::Lost(gone()),
            ErrorKind::UnknownOutcome,
            ErrorKind::Unavailable,
        ),
        (
            Failure::NoAnswer,
            ErrorKind::UnknownOutcome,
            ErrorKind::Timeout,
        ),
    ];
    for (failure, writing, reading) in table {
        assert_eq!(failure.kind(), reading);
        let error = failure.of_a_write();
        assert_eq!(error.kind(), &writing);
    }
    let password = RedisError::from((
        DriverKind::AuthenticationFailed,
        "Password authentication failed",
    ));
    assert_eq!(classify(&password), ErrorKind::Denied);
}
