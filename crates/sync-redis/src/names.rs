//! The list of spaces: the name of every space that ever was.

use futures_util::future::try_join_all;
use sync_core::{Result, SpaceName};

use crate::error::{Failure, corrupt};
use crate::layout::{self, Key, SpaceKeys};
use crate::reply::{Parts, bytes, number};
use crate::servers::{Access, Servers};
use crate::slots;

/// Names that one look at the list asks for.
const NAMES: usize = 500;

/// Writes a name to the list, from which it never goes: a name without a space is harmless, a space
/// without a name would be lost.
pub(crate) async fn register(servers: &Servers, name: &SpaceName) -> Result<(), Failure> {
    let key = layout::spaces_key(&servers.config().prefix);
    let mut command = redis::cmd("ZADD");
    command.arg(&key).arg(0).arg(name.as_str());
    let slot = slots::slot(key.as_bytes());
    let added = servers.call(slot, Access::Repeatable, &command).await;
    added.map(drop)
}

/// The spaces there are, of those whose names were ever written down.
pub(crate) async fn list(
    servers: &Servers,
    after: Option<SpaceName>,
    limit: usize,
) -> Result<Vec<SpaceName>> {
    let key = layout::spaces_key(&servers.config().prefix);
    let slot = slots::slot(key.as_bytes());
    let mut from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
    let mut found = Vec::new();
    while found.len() < limit {
        let mut command = redis::cmd("ZRANGEBYLEX");
        command.arg(&key).arg(&from).arg("+").arg("LIMIT").arg(0);
        command.arg(NAMES);
        let listed = servers.call(slot, Access::Repeatable, &command).await?;
        let names = Parts::of(listed)?
            .map(|name| {
                let name = String::from_utf8(bytes(name)?).map_err(corrupt)?;
                SpaceName::new(&name).map_err(corrupt)
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(last) = names.last() else {
            break;
        };
        from = format!("({last}");
        let ended = names.len() < NAMES;
        // They share the connections, and with it the round trip.
        let exist = try_join_all(names.iter().map(|name| exists(servers, name))).await?;
        let existing = names.into_iter().zip(exist).filter(|(_, exists)| *exists);
        found.extend(existing.map(|(name, _)| name));
        if ended {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

async fn exists(servers: &Servers, name: &SpaceName) -> Result<bool> {
    let keys = SpaceKeys::of(&servers.config().prefix, name);
    let mut command = redis::cmd("HEXISTS");
    command.arg(keys.name(Key::Meta)).arg("epoch");
    let answer = servers
        .call(keys.slot, Access::Repeatable, &command)
        .await?;
    Ok(number(&answer)? == 1)
}
