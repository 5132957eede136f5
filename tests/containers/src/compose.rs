//! What `docker-compose.yml` says, read from the file itself, so that every way to start its databases
//! starts the same ones. An unknown key is an error, because it would be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

const FILE: &str = include_str!("../../../docker-compose.yml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    services: BTreeMap<String, Written>,
}

/// A service as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    image: String,
    command: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    ports: Vec<String>,
    tmpfs: Vec<String>,
    shm_size: Option<String>,
    healthcheck: WrittenCheck,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

/// A database in a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) image: String,
    pub(crate) tag: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    /// The port it has inside.
    pub(crate) port: u16,
    /// Folders that lie in memory.
    pub(crate) tmpfs: Vec<String>,
    /// Bytes of memory that its processes may share, unless it is the engine's default.
    pub(crate) shm_size: Option<u64>,
    pub(crate) check: Check,
}

/// How a container is asked whether it is healthy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) command: Vec<String>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
}

/// The service of this name.
pub(crate) fn service(name: &str) -> Result<Service> {
    read(FILE, name).context("docker-compose.yml")
}

fn read(text: &str, name: &str) -> Result<Service> {
    let mut compose: Compose = serde_norway::from_str(text)?;
    let Some(written) = compose.services.remove(name) else {
        let names: Vec<_> = compose.services.into_keys().collect();
        anyhow::bail!("no service `{name}`: there are {}", names.join(", "));
    };
    written.check().with_context(|| name.to_owned())
}

impl Written {
    fn check(self) -> Result<Service> {
        let (image, tag) = self
            .image
            .rsplit_once(':')
            .context("an image without tag")?;
        let [port] = self.ports.as_slice() else {
            anyhow::bail!("one port is expected");
        };
        // `127.0.0.1:${VARIABLE:-0}:5432`: from this machine only, where the other end is free.
        let (outside, inside) = port.rsplit_once(':').context("a port without address")?;
        ensure!(
            outside.starts_with("127.0.0.1:"),
            "a port that is open to others"
        );
        let (kind, check) = self
            .healthcheck
            .test
            .split_first()
            .context("an empty check")?;
        ensure!(kind == "CMD", "a check by {kind}");
        Ok(Service {
            image: image.to_owned(),
            tag: tag.to_owned(),
            command: shlex::split(&self.command).context("a command that ends in a quote")?,
            environment: self.environment,
            port: inside.parse().context("a port that is no number")?,
            tmpfs: self.tmpfs,
            shm_size: self.shm_size.as_deref().map(bytes).transpose()?,
            check: Check {
                command: check.to_vec(),
                interval: seconds(&self.healthcheck.interval)?,
                timeout: seconds(&self.healthcheck.timeout)?,
                retries: self.healthcheck.retries,
            },
        })
    }
}

/// `10s`
fn seconds(text: &str) -> Result<Duration> {
    let number = text.strip_suffix('s').and_then(|text| text.parse().ok());
    number
        .map(Duration::from_secs)
        .with_context(|| format!("{text} is not a number of seconds"))
}

/// `256m`
fn bytes(text: &str) -> Result<u64> {
    let number = text
        .strip_suffix('m')
        .and_then(|text| text.parse::<u64>().ok());
    number
        .and_then(|number| number.checked_mul(1 << 20))
        .with_context(|| format!("{text} is not a number of mebibytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_read_as_it_is_written() {
        let postgres = service("postgres").unwrap();
        assert_eq!(postgres.port, 5432);
        assert_eq!(postgres.command.first().unwrap(), "postgres");
        assert_eq!(
            postgres.environment.get("POSTGRES_HOST_AUTH_METHOD"),
            Some(&"trust".to_owned())
        );
        assert_eq!(postgres.shm_size, Some(256 << 20));
        assert_eq!(postgres.check.command.first().unwrap(), "pg_isready");
        assert_eq!(postgres.check.interval, Duration::from_secs(1));

        let redis = service("redis").unwrap();
        assert_eq!(redis.port, 6379);
        // An empty argument, which a command cut at its spaces would lose.
        assert_eq!(redis.command[..3], ["valkey-server", "--save", ""]);
        assert_eq!(redis.tmpfs, ["/data"]);

        let mongo = service("mongo").unwrap();
        assert_eq!(mongo.port, 27017);
        assert_eq!(mongo.tmpfs.len(), 2);
        let script = mongo.check.command.last().unwrap();
        assert!(script.contains("rs.initiate"), "{script}");

        for service in [postgres, redis, mongo] {
            let text = format!("    image: {}:{}\n", service.image, service.tag);
            assert!(FILE.contains(&text), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_left_out() {
        assert!(read(FILE, "redis").is_ok());
        for (old, new) in [
            (
                "    command: valkey",
                "    entrypoint: x\n    command: valkey",
            ),
            (
                "    tmpfs:\n      - /data\n",
                "    tmpfs:\n      - /data\n    volumes:\n      - a:/b\n",
            ),
            ("    image: valkey/valkey:9-alpine", "    image: valkey"),
            ("\"127.0.0.1:${SYNC_REDIS", "\"${SYNC_REDIS"),
            (
                "[\"CMD\", \"valkey-cli\", \"ping\"]",
                "[\"CMD-SHELL\", \"valkey-cli ping\"]",
            ),
        ] {
            assert_eq!(FILE.matches(old).count(), 1, "{old}");
            assert!(read(&FILE.replace(old, new), "redis").is_err(), "{new}");
        }
        let error = read(FILE, "oracle").unwrap_err().to_string();
        assert!(error.contains("mongo, postgres, redis"), "{error}");
    }
}
