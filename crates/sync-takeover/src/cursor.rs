//! How far a takeover has come, in one value of the space's state.

use serde::{Deserialize, Serialize};
use sync_core::{Bytes, Error, ErrorKind, Result, StateKey, SyncState, SyncStore};

use crate::old::Contents;

/// The state key of the cursor: a JSON object with `done`, rows and state entries that were
/// brought, `of`, how many there are, and what tells one old database from another.
pub const CURSOR_KEY: &str = "takeover.cursor";

/// Where hydration keeps the name of a space's one ordering source.
const SOURCE_KEY: &str = "source.name";

/// Where the mediator keeps the epoch of the index that its orders are positions of.
const OLD_EPOCH_KEY: &str = "index.gatekeeper.epoch";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cursor {
    /// The snapshot that `done` counts in.
    pub(crate) mark: String,
    /// Rows, then state entries, in the order of the walk.
    pub(crate) done: u64,
    pub(crate) of: u64,
    /// Whether rows bring their orders.
    pub(crate) orders: bool,
    /// The epoch of the index of those orders, where the old database says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<String>,
}

/// What a page of the takeover has to find in the space's state.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) cursor: Cursor,
    /// The cursor's value in the store, none before the first page.
    pub(crate) stored: Option<Bytes>,
}

impl Position {
    /// Where a run over `old` begins: where an earlier run over an equal snapshot came to, else at
    /// the beginning.
    pub(crate) async fn find<S: SyncStore>(store: &S, old: &Contents) -> Result<Self> {
        let (stored, has_source) = load(store).await?;
        let before = stored.as_ref().map(decode).transpose()?;
        let mut cursor = match before {
            Some(cursor) if cursor.mark == old.mark => cursor,
            before => {
                let index = index(old);
                let orders = match before {
                    Some(before) => before.orders && index.is_some() && before.index == index,
                    None => store.stats().await?.ordered == 0,
                };
                Cursor {
                    mark: old.mark.clone(),
                    done: 0,
                    of: old.rows + old.state.len() as u64,
                    orders,
                    index,
                }
            }
        };
        cursor.orders &= !has_source;
        Ok(Self { cursor, stored })
    }

    /// Follows what others wrote since: another run over an equal snapshot moved the cursor, or
    /// hydration began. `None` where this takeover's cursor is gone.
    pub(crate) async fn follow<S: SyncStore>(&self, store: &S) -> Result<Option<Self>> {
        let (stored, has_source) = load(store).await?;
        let mut cursor = match &stored {
            Some(value) => decode(value)?,
            None if self.stored.is_none() => self.cursor.clone(),
            None => return Ok(None),
        };
        if cursor.mark != self.cursor.mark {
            return Ok(None);
        }
        cursor.orders &= !has_source;
        Ok(Some(Self { cursor, stored }))
    }
}

impl Cursor {
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let text = serde_json::to_vec(self);
        Ok(text
            .map_err(|error| unreadable().with_source(error))?
            .into())
    }
}

/// The key of the cursor.
pub(crate) fn key() -> Result<StateKey> {
    StateKey::new(CURSOR_KEY)
}

/// The key that a page which brings orders has to find absent.
pub(crate) fn source_key() -> Result<StateKey> {
    StateKey::new(SOURCE_KEY)
}

/// The cursor's value, and whether hydration fills the space.
async fn load(store: &impl SyncState) -> Result<(Option<Bytes>, bool)> {
    let mut values = store.load_many(&[key()?, source_key()?]).await?.into_iter();
    let cursor = values.next().flatten();
    Ok((cursor, values.next().flatten().is_some()))
}

fn decode(value: &Bytes) -> Result<Cursor> {
    serde_json::from_slice(value).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Corrupt)
        .with_message(format!("state {CURSOR_KEY} is not a takeover's cursor"))
        .during("takeover")
}

fn index(old: &Contents) -> Option<String> {
    let has_epoch = |key: &Option<String>| key.as_deref() == Some(OLD_EPOCH_KEY);
    let entry = old.state.iter().find(|entry| has_epoch(&entry.key))?;
    String::from_utf8(entry.value.as_ref()?.to_vec()).ok()
}
