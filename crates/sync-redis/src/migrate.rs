use redis::Value;
use sync_core::schema::{self, Contents, Migration, Recorded};
use sync_core::{Error, ErrorKind, Migrated, Result};

use crate::error::{Failure, corrupt};
use crate::layout::schema_key;
use crate::reply::{Parts, bytes, number};
use crate::servers::{Access, Node, Servers};
use crate::{NAME, slots};

/// What the marker says it belongs to.
const APPLICATION: &str = "sync-redis";

/// Every released migration, oldest first. A released one never changes.
const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "init",
    text: include_str!("../migrations/V1__init.lua"),
}];

/// The contents of the servers under the prefix.
struct Found {
    contents: Contents,
    history: Vec<Recorded>,
    /// A key that is not ours, where there is one.
    foreign: Option<String>,
}

impl Found {
    const EMPTY: Self = Self {
        contents: Contents::Empty,
        history: Vec::new(),
        foreign: None,
    };

    fn foreign(key: String) -> Self {
        Self {
            contents: Contents::Foreign,
            history: Vec::new(),
            foreign: Some(key),
        }
    }

    fn of_marker(key: String, fields: &[(String, String)]) -> Self {
        let field = |name: &str| {
            let mut fields = fields.iter();
            let found = fields.find(|(field, _)| field == name);
            found.map(|(_, value)| value.as_str())
        };
        let version = field("version").and_then(|text| text.parse().ok());
        let version = version.unwrap_or(0);
        if field("application") != Some(APPLICATION) || version == 0 {
            return Self::foreign(key);
        }
        let recorded = |version| {
            let checksum = field(&format!("{version}:checksum"))?.to_owned();
            Some(Recorded { version, checksum })
        };
        Self {
            contents: Contents::Ours { version },
            history: (1..=schema::supported(&MIGRATIONS))
                .filter_map(recorded)
                .collect(),
            foreign: None,
        }
    }

    /// Adds to an error about the contents what a person should know.
    fn explain(&self, servers: &Servers, error: Error) -> Error {
        match (error.kind(), &self.foreign) {
            (ErrorKind::Foreign, Some(key)) => error.with_message(format!(
                "there are keys under the prefix {:?} that are not this program's, such as \
                 {key:?}; choose another prefix",
                servers.config().prefix
            )),
            (ErrorKind::SchemaMismatch { found, supported }, _) if found < supported => {
                error.with_message("run `cargo xtask migrate redis`, or `sync-node migrate`")
            }
            _ => error,
        }
    }
}

/// Requires the schema this crate reads and writes.
pub(crate) async fn require_schema(servers: &Servers) -> Result<()> {
    let found = find(servers).await?;
    let required = schema::require(found.contents, &MIGRATIONS);
    required.map_err(|error| found.explain(servers, error))
}

/// Brings an installation to the supported schema. Each migration is one script, which runs only
/// where the one before it was the last.
pub(crate) async fn migrate(servers: &Servers) -> Result<Migrated> {
    let found = find(servers).await?;
    let missing = schema::decide(found.contents, &found.history, &MIGRATIONS);
    let missing = missing.map_err(|error| found.explain(servers, error))?;
    let to = schema::supported(&MIGRATIONS);
    let mut from = None;
    for migration in missing {
        let before = apply(servers, migration).await?;
        let version = migration.version;
        if before + 1 == version {
            tracing::info!(backend = NAME, version, "applied a migration");
        }
        from = from.or(Some(before));
    }
    // Without a missing one the schema was the supported one.
    let from = from.unwrap_or(to);
    Ok(Migrated { from, to })
}

/// Runs a migration unless another process has. The version that it found.
async fn apply(servers: &Servers, migration: &Migration) -> Result<u32> {
    let key = schema_key(&servers.config().prefix);
    let text = format!(
        "local found = redis.call('HGET', KEYS[1], 'version') or '0'
if tonumber(found) ~= tonumber(ARGV[1]) - 1 then return found end
do
{}
end
redis.call('HSET', KEYS[1], 'application', ARGV[4], 'version', ARGV[1],
  ARGV[1] .. ':name', ARGV[2], ARGV[1] .. ':checksum', ARGV[3])
return found",
        migration.text
    );
    let mut command = redis::cmd("EVAL");
    command
        .arg(text)
        .arg(1)
        .arg(&key)
        .arg(migration.version)
        .arg(migration.name)
        .arg(migration.checksum())
        .arg(APPLICATION);
    let slot = slots::slot(key.as_bytes());
    let found = servers.call(slot, Access::Page, &command).await;
    let found = number(&found.map_err(Failure::of_a_write)?)?;
    u32::try_from(found).map_err(corrupt)
}

/// Looks for the marker. Without one every key of the servers is looked at, once.
async fn find(servers: &Servers) -> Result<Found> {
    if let Some(known) = marker(servers).await? {
        return Ok(known);
    }
    for node in servers.nodes() {
        if let Some(other) = first_key(servers, &node).await? {
            // It may have been migrated and written to since the marker was looked for.
            let known = marker(servers).await?;
            return Ok(known.unwrap_or(Found::foreign(other)));
        }
    }
    Ok(Found::EMPTY)
}

/// What the marker says, where there is one.
async fn marker(servers: &Servers) -> Result<Option<Found>> {
    let key = schema_key(&servers.config().prefix);
    let mut command = redis::cmd("HGETALL");
    let slot = slots::slot(key.as_bytes());
    let answer = servers.call(slot, Access::Repeatable, command.arg(&key));
    let answer = match answer.await {
        Err(failure) if failure.code() == Some("WRONGTYPE") => {
            return Ok(Some(Found::foreign(key)));
        }
        answer => answer?,
    };
    let text = |value| Ok::<_, Error>(String::from_utf8_lossy(&bytes(value)?).into_owned());
    let mut fields = Vec::new();
    match answer {
        Value::Map(pairs) => {
            for (field, value) in pairs {
                fields.push((text(field)?, text(value)?));
            }
        }
        other => {
            let mut parts = Parts::of(other)?;
            while let Some(field) = parts.next() {
                fields.push((text(field)?, text(parts.value()?)?));
            }
        }
    }
    Ok((!fields.is_empty()).then(|| Found::of_marker(key, &fields)))
}

/// Any key of `node` under the prefix.
async fn first_key(servers: &Servers, node: &Node) -> Result<Option<String>> {
    let pattern = format!("{}:*", servers.config().prefix);
    let mut cursor = b"0".to_vec();
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor).arg("MATCH").arg(&pattern);
        command.arg("COUNT").arg(1_000);
        let answer = servers.on(node, Access::Repeatable, &command);
        let mut answer = Parts::of(answer.await?)?;
        cursor = answer.bytes()?;
        if let Some(key) = answer.parts()?.next() {
            return Ok(Some(String::from_utf8_lossy(&bytes(key)?).into_owned()));
        }
        if cursor == b"0" {
            return Ok(None);
        }
    }
}
