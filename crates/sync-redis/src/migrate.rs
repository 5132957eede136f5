use redis::Value;
use sync_core::{Error, ErrorKind, Migrated, Result};

use crate::error::{Failure, corrupt};
use crate::layout::Keys;
use crate::reply::{Parts, bytes, number};
use crate::servers::{Access, Call, Node, Servers};
use crate::{NAME, slots};

/// The schema this crate reads and writes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What the marker says it belongs to.
const APPLICATION: &str = "sync-redis";

struct Migration {
    version: u32,
    name: &'static str,
    script: &'static str,
}

/// Every released migration, oldest first. A released one never changes.
const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [Migration {
    version: 1,
    name: "init",
    script: include_str!("../migrations/V1__init.lua"),
}];

/// What the marker and the keys beside it are.
enum Contents {
    Empty,
    Ours(Marker),
    Foreign(String),
}

/// The fields of the marker.
struct Marker(Vec<(String, String)>);

impl Marker {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.iter();
        let found = fields.find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    fn version(&self) -> u32 {
        let version = self.field("version").and_then(|text| text.parse().ok());
        version.unwrap_or(0)
    }
}

/// Requires the schema this crate reads and writes.
pub(crate) async fn require_schema(servers: &Servers) -> Result<()> {
    let found = match contents(servers, "connect").await? {
        Contents::Empty => 0,
        Contents::Ours(marker) => marker.version(),
        Contents::Foreign(key) => return Err(foreign(servers, &key)),
    };
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let error = mismatch(found);
    Err(if found < SCHEMA_VERSION {
        error.with_message("run `cargo xtask migrate redis`, or `sync-node migrate`")
    } else {
        error
    })
}

/// Brings an installation to the supported schema. Each migration is one script, which runs only
/// where the one before it was the last.
pub(crate) async fn migrate(servers: &Servers) -> Result<Migrated> {
    let from = match contents(servers, "migrate").await? {
        Contents::Empty => 0,
        Contents::Ours(marker) => {
            let version = marker.version();
            if version > SCHEMA_VERSION {
                return Err(mismatch(version));
            }
            check_history(&marker, version)?;
            version
        }
        Contents::Foreign(key) => return Err(foreign(servers, &key)),
    };
    let mut began = None;
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version > from)
    {
        let found = apply(servers, migration).await?;
        if found + 1 == migration.version {
            tracing::info!(
                backend = NAME,
                version = migration.version,
                "applied a migration"
            );
        }
        began = began.or(Some(found));
    }
    Ok(Migrated {
        from: began.unwrap_or(from),
        to: SCHEMA_VERSION,
    })
}

/// Runs a migration unless somebody else has. The version that it found.
async fn apply(servers: &Servers, migration: &Migration) -> Result<u32> {
    let key = Keys::of(servers).schema();
    let text = format!(
        "local found = redis.call('HGET', KEYS[1], 'version') or '0'
if tonumber(found) ~= tonumber(ARGV[1]) - 1 then return found end
do
{}
end
redis.call('HSET', KEYS[1], 'application', ARGV[4], 'version', ARGV[1],
  ARGV[1] .. ':name', ARGV[2], ARGV[1] .. ':checksum', ARGV[3])
return found",
        migration.script
    );
    let mut command = redis::cmd("EVAL");
    command
        .arg(text)
        .arg(1)
        .arg(&key)
        .arg(migration.version)
        .arg(migration.name)
        .arg(checksum(migration.script))
        .arg(APPLICATION);
    let found = servers
        .call(
            slots::slot(key.as_bytes()),
            Access::Page,
            Call::One(&command),
        )
        .await
        .map_err(|failure| failure.into_error("migrate", true))?;
    u32::try_from(number(&found)?).map_err(corrupt)
}

/// A migration whose text differs from what was applied means that two builds disagree about what
/// the schema is.
fn check_history(marker: &Marker, version: u32) -> Result<()> {
    for migration in MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= version)
    {
        let applied = marker.field(&format!("{}:checksum", migration.version));
        if applied != Some(&*checksum(migration.script)) {
            let what = match applied {
                Some(_) => "has another text than this program's",
                None => "is not recorded here",
            };
            return Err(corrupt(format!("migration {} {what}", migration.version)));
        }
    }
    Ok(())
}

/// What is there under the prefix. Without a marker every key of the servers is looked at, once.
async fn contents(servers: &Servers, operation: &'static str) -> Result<Contents> {
    let keys = Keys::of(servers);
    if let Some(known) = marker(servers, &keys, operation).await? {
        return Ok(known);
    }
    for node in servers.nodes() {
        if let Some(other) = first_key(servers, &node, &keys, operation).await? {
            // It may have been migrated and written to since the marker was looked for.
            let known = marker(servers, &keys, operation).await?;
            return Ok(known.unwrap_or(Contents::Foreign(other)));
        }
    }
    Ok(Contents::Empty)
}

/// What the marker says, where there is one.
async fn marker(
    servers: &Servers,
    keys: &Keys,
    operation: &'static str,
) -> Result<Option<Contents>> {
    let key = keys.schema();
    let mut command = redis::cmd("HGETALL");
    let answer = servers
        .call(
            slots::slot(key.as_bytes()),
            Access::Repeatable,
            Call::One(command.arg(&key)),
        )
        .await;
    let answer = match answer {
        Err(failure) if failure.code() == Some("WRONGTYPE") => {
            return Ok(Some(Contents::Foreign(key)));
        }
        answer => answer.map_err(|failure: Failure| failure.into_error(operation, false))?,
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
    if fields.is_empty() {
        return Ok(None);
    }
    let marker = Marker(fields);
    let ours = marker.field("application") == Some(APPLICATION) && marker.version() > 0;
    Ok(Some(if ours {
        Contents::Ours(marker)
    } else {
        Contents::Foreign(key)
    }))
}

/// Any key of `node` under the prefix.
async fn first_key(
    servers: &Servers,
    node: &Node,
    keys: &Keys,
    operation: &'static str,
) -> Result<Option<String>> {
    let pattern = format!("{}:*", keys.prefix);
    let mut cursor = b"0".to_vec();
    loop {
        let mut command = redis::cmd("SCAN");
        command.arg(&cursor).arg("MATCH").arg(&pattern);
        command.arg("COUNT").arg(1_000);
        let answer = servers
            .on(node, Access::Repeatable, Call::One(&command))
            .await
            .map_err(|failure| failure.into_error(operation, false))?;
        let mut answer = Parts::of(answer)?;
        cursor = answer.bytes()?;
        if let Some(key) = answer.parts()?.next() {
            return Ok(Some(String::from_utf8_lossy(&bytes(key)?).into_owned()));
        }
        if cursor == b"0" {
            return Ok(None);
        }
    }
}

impl Keys {
    fn of(servers: &Servers) -> Self {
        Self {
            prefix: servers.config().prefix.clone(),
        }
    }
}

fn mismatch(found: u32) -> Error {
    Error::new(ErrorKind::SchemaMismatch {
        found,
        supported: SCHEMA_VERSION,
    })
}

fn foreign(servers: &Servers, key: &str) -> Error {
    let prefix = &servers.config().prefix;
    Error::new(ErrorKind::Foreign).with_message(format!(
        "there are keys under the prefix {prefix:?} that are not this program's, such as {key:?}; \
         choose another prefix"
    ))
}

fn checksum(script: &str) -> String {
    blake3::hash(script.as_bytes()).to_hex().to_string()
}
