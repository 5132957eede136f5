//! Reads of state.

use sync_core::{Bytes, Limit, Result, StateEntry, StateKey};
use sync_kit::Answer;

use crate::error::corrupt;
use crate::reply::optional_bytes;
use crate::scan::number;
use crate::scripts::Script;
use crate::space::Space;

/// The values of state keys.
pub(crate) async fn load(space: &Space, keys: &[StateKey]) -> Result<Answer> {
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_str().as_bytes()).collect();
    let mut answer = space.look(Script::Load, &keys).await?;
    let values = answer.parts()?;
    if values.len() != keys.len() {
        return Err(corrupt("an answer for other keys than those asked for"));
    }
    let values = values.map(optional_bytes).collect::<Result<_>>()?;
    Ok(Answer::Values(values))
}

pub(crate) async fn list(
    space: &Space,
    prefix: &str,
    after: Option<&StateKey>,
    limit: Limit,
) -> Result<Answer> {
    let after = after.map_or("", StateKey::as_str);
    let min = match (after < prefix, prefix.is_empty()) {
        (false, true) if after.is_empty() => b"-".to_vec(),
        (false, _) => [b"(", after.as_bytes()].concat(),
        (true, _) => [b"[", prefix.as_bytes()].concat(),
    };
    // No key has the byte ff, which is above every byte of UTF-8.
    let max = [b"(", prefix.as_bytes(), b"\xff"].concat();
    let (rows, bytes) = (number(limit.max_rows()), number(limit.max_bytes()));
    let arguments = [&min[..], &max, rows.as_bytes(), bytes.as_bytes()];
    let mut answer = space.look(Script::List, &arguments).await?;
    let mut found = answer.parts()?;
    let mut entries = Vec::with_capacity(found.len() / 2);
    while found.len() > 0 {
        let key = String::from_utf8(found.bytes()?).map_err(corrupt)?;
        entries.push(StateEntry {
            key: StateKey::new(&key).map_err(corrupt)?,
            value: Bytes::from(found.bytes()?),
        });
    }
    Ok(Answer::State {
        entries,
        more: answer.flag()?,
    })
}
