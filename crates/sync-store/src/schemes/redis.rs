use sync_core::Result;
use sync_redis::RedisConfig;

use crate::options::Options;
use crate::url::{StoreUrl, error};

const OPTIONS: [&str; 6] = [
    "prefix",
    "connect_timeout",
    "timeout",
    "patience",
    "readers",
    "root_certificates",
];

/// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, with the options named above.
pub(crate) fn config(url: StoreUrl) -> Result<RedisConfig> {
    let mut config = RedisConfig::from_url(&format!("{}:{}", url.scheme(), url.rest()))?;
    let options = Options::of(url, "redis", &OPTIONS)?;
    if let Some(prefix) = options.text("prefix") {
        config = config.prefix(prefix)?;
    }
    if let Some(timeout) = options.duration("connect_timeout")? {
        config = config.connect_timeout(timeout);
    }
    if let Some(timeout) = options.duration("timeout")? {
        config = config.timeout(timeout);
    }
    if let Some(patience) = options.duration("patience")? {
        config = config.patience(patience);
    }
    if let Some(readers) = options.count("readers")? {
        config = config.readers(readers);
    }
    if let Some(path) = options.text("root_certificates") {
        let pem = std::fs::read(path).map_err(|source| {
            error("option root_certificates of redis: the file cannot be read").with_source(source)
        })?;
        config = config.root_certificates(pem);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(url: &str) -> Result<RedisConfig> {
        config(StoreUrl::parse(url)?)
    }

    #[test]
    fn every_option_reaches_the_configuration() {
        let url = "rediss://me:pw@h:1/2?prefix=a:b&connect_timeout=1s&timeout=2s&patience=3ms\
                   &readers=7";
        let expected = RedisConfig::new("h", 1)
            .tls(true)
            .username("me")
            .password("pw")
            .database(2)
            .prefix("a:b")
            .unwrap()
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(2))
            .patience(Duration::from_millis(3))
            .readers(7);
        assert_eq!(format!("{:?}", read(url).unwrap()), format!("{expected:?}"));
        let defaults = read("valkey://h").unwrap();
        let expected = RedisConfig::new("h", 6379);
        assert_eq!(format!("{defaults:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_bad_value_and_an_unknown_option_name_what_is_accepted() {
        for (url, message) in [
            ("redis://h?prefix=a{b", "a prefix is 1 to 64 letters"),
            ("redis://h?timeout=5", "500ms, 5s, 2m"),
            ("redis://h?readers=0", "a whole number from 1"),
            ("redis:h", "begins with redis:// or rediss://"),
            (
                "redis://h?root_certificates=/nowhere",
                "the file cannot be read",
            ),
            (
                "redis://h?db=1",
                "accepted are prefix, connect_timeout, timeout, patience, readers, \
                 root_certificates",
            ),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
