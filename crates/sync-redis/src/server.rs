//! The `INFO` of a server.

use redis::Value;
use sync_core::{Description, Durability, Error, ErrorKind, Result};

use crate::error::corrupt;
use crate::reply::bytes;

/// The oldest version that has every command of the scripts.
const OLDEST: (u32, u32) = (6, 2);

/// The answer to `INFO`.
pub(crate) struct ServerInfo(String);

impl ServerInfo {
    pub(crate) fn of(answer: Value) -> Result<Self> {
        let text = match answer {
            // RESP3 marks text as such.
            Value::VerbatimString { text, .. } => text,
            other => String::from_utf8_lossy(&bytes(other)?).into_owned(),
        };
        Ok(Self(text))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    fn number(&self, name: &str) -> u64 {
        let number = self.field(name).and_then(|number| number.parse().ok());
        number.unwrap_or(0)
    }

    /// Whether the server is a primary: only a primary has every page that it acknowledged.
    pub(crate) fn is_primary(&self) -> bool {
        self.field("role") == Some("master")
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.field("redis_mode") == Some("cluster") || self.number("cluster_enabled") == 1
    }

    /// The id that is new with each start and each promotion of a server.
    pub(crate) fn replication_id(&self) -> Option<&str> {
        self.field("master_replid")
    }

    /// Refuses a server that cannot keep the promises.
    pub(crate) fn require(&self) -> Result<()> {
        let version = self.field("redis_version").unwrap_or_default();
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < OLDEST {
            return Err(unsupported(format!(
                "the server is Redis {version}; the oldest that can be used is 6.2"
            )));
        }
        if !self.is_primary() {
            return Err(replica());
        }
        if self.replication_id().is_none() {
            return Err(unsupported(
                "the server does not tell its replication id, without which the loss of \
                 acknowledged writes would go unnoticed",
            ));
        }
        let policy = self.policy();
        if policy.starts_with("allkeys-") {
            return Err(unsupported(format!(
                "the server's maxmemory-policy is {policy}: it would evict rows when its memory \
                 is full; set it to noeviction"
            )));
        }
        Ok(())
    }

    fn policy(&self) -> &str {
        self.field("maxmemory_policy").unwrap_or("noeviction")
    }

    fn has_append_only_file(&self) -> bool {
        self.number("aof_enabled") == 1
    }

    /// The failures that an acknowledged page survives. `fsync` is the setting `appendfsync`, where it may be read.
    pub(crate) fn durability(&self, fsync: Option<&str>) -> Durability {
        match (self.has_append_only_file(), fsync) {
            (false, _) => Durability::Memory,
            (true, Some("always")) => Durability::Machine,
            // Written to the file before the answer, and synced later.
            (true, _) => Durability::Process,
        }
    }

    /// The server, for people.
    pub(crate) fn describe(&self, fsync: Option<&str>) -> Description {
        let server = match (self.field("valkey_version"), self.field("redis_version")) {
            (Some(version), _) => format!("Valkey {version}"),
            (None, version) => format!("Redis {}", version.unwrap_or("of an unknown version")),
        };
        let append_only = self.has_append_only_file();
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let mut settings = vec![("appendonly", yes(append_only))];
        if let Some(fsync) = fsync.filter(|_| append_only) {
            settings.push(("appendfsync", fsync.to_owned()));
        }
        settings.extend([
            ("cluster-enabled", yes(self.is_cluster())),
            ("maxmemory", self.number("maxmemory").to_string()),
            ("maxmemory-policy", self.policy().to_owned()),
            ("replicas", self.number("connected_slaves").to_string()),
        ]);
        Description {
            server,
            settings: settings
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            bytes: Some(self.number("used_memory")),
        }
    }
}

/// The value of one setting out of the answer to `CONFIG GET`.
pub(crate) fn setting(answer: Value) -> Result<String> {
    let value = match answer {
        Value::Array(pair) => pair.into_iter().nth(1),
        Value::Map(pairs) => pairs.into_iter().next().map(|(_, value)| value),
        _ => None,
    };
    let value = value.ok_or_else(|| corrupt("a setting that the server does not have"))?;
    Ok(String::from_utf8_lossy(&bytes(value)?).into_owned())
}

/// The error of a replica that was asked.
pub(crate) fn replica() -> Error {
    Error::new(ErrorKind::ReadOnly)
        .with_message("the server is a replica, whose data may be old; connect to its primary")
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(lines: &[&str]) -> ServerInfo {
        let good = [
            "redis_version:7.2.4",
            "role:master",
            "master_replid:abc",
            "maxmemory_policy:noeviction",
        ];
        let name = |line: &str| line.split(':').next().unwrap().to_owned();
        let kept = good
            .iter()
            .filter(|line| !lines.iter().any(|other| name(other) == name(line)));
        let all: Vec<&str> = kept.chain(lines).copied().collect();
        ServerInfo(all.join("\r\n"))
    }

    #[test]
    fn a_server_that_cannot_keep_the_promises_is_refused() {
        for (lines, kind) in [
            (&["redis_version:6.0.20"][..], ErrorKind::Unsupported),
            (&["redis_version:5.0.14"], ErrorKind::Unsupported),
            (&["role:slave"], ErrorKind::ReadOnly),
            (&["maxmemory_policy:allkeys-lru"], ErrorKind::Unsupported),
            (&["maxmemory_policy:allkeys-random"], ErrorKind::Unsupported),
            (&["master_replid"], ErrorKind::Unsupported),
        ] {
            let error = info(lines).require().unwrap_err();
            assert_eq!(error.kind(), &kind, "{lines:?}");
        }
        for lines in [
            &[][..],
            &["redis_version:6.2.0"],
            &["redis_version:10.0.0"],
            &["maxmemory_policy:volatile-lru"],
        ] {
            info(lines).require().unwrap();
        }
    }

    #[test]
    fn durability_is_what_the_append_only_file_gives() {
        let with = info(&["aof_enabled:1"]);
        assert_eq!(info(&[]).durability(Some("always")), Durability::Memory);
        assert_eq!(with.durability(Some("always")), Durability::Machine);
        assert_eq!(with.durability(Some("everysec")), Durability::Process);
        assert_eq!(with.durability(None), Durability::Process);
    }
}
