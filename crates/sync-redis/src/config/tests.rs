use super::*;

fn hosts(url: &str) -> Vec<String> {
    let config = RedisConfig::from_url(url).unwrap();
    config.hosts.iter().map(Address::to_string).collect()
}

#[test]
fn a_url_names_hosts_ports_and_a_database() {
    for (url, expected) in [
        ("redis://h", &["h:6379"][..]),
        ("REDIS://h:1/", &["h:1"]),
        ("valkey://[::1]:7/3", &["[::1]:7"]),
        ("redis://[::1]", &["[::1]:6379"]),
        ("redis://a:1,b,c:3", &["a:1", "b:6379", "c:3"]),
        ("redis://u:p@a,b", &["a:6379", "b:6379"]),
    ] {
        assert_eq!(hosts(url), expected, "{url}");
    }
    let config = RedisConfig::from_url("rediss://me:a%40b%3A@h/12").unwrap();
    assert_eq!(config.database, 12);
    assert!(config.tls);
    assert_eq!(config.username.as_deref(), Some("me"));
    assert_eq!(config.password.as_deref(), Some("a@b:"));
    let config = RedisConfig::from_url("redis://:hunter2@h").unwrap();
    assert_eq!(
        (config.username, config.password.as_deref()),
        (None, Some("hunter2"))
    );
}

#[test]
fn what_is_not_understood_is_refused_without_being_repeated() {
    for url in [
        "hunter2",
        "redis:hunter2",
        "http://hunter2",
        "redis://",
        "redis://:hunter2@",
        "redis://hunter2:port",
        "redis://hunter2:99999",
        "redis://hunter2:+1",
        "redis://h/hunter2",
        "redis://h/-1",
        "redis://h,,hunter2",
        "redis://[::1:hunter2",
        "redis://h?hunter2=1",
        "redis://h#hunter2",
        "redis://me:hunter2%0@h",
        "redis://me:hunter2%ff@h",
    ] {
        let error = RedisConfig::from_url(url).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Config, "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn a_prefix_cannot_break_the_hash_tag() {
    for bad in ["", "a{b", "a}b", "a b", "ä", "a*", &"x".repeat(65)] {
        assert!(RedisConfig::new("h", 1).prefix(bad).is_err(), "{bad:?}");
    }
    assert!(RedisConfig::new("h", 1).prefix("team-1/prod:x").is_ok());
}

#[test]
fn debug_shows_no_password() {
    let config = RedisConfig::from_url("redis://me:hunter2@h").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
