use sync_store::{AnyStore, Bytes, Page, StateKey, SyncState};

use super::LOCAL_STATE;
use crate::failure::{Failure, Result};

/// How many lines of the input are loaded, kept in state by the very pages that load them.
pub(super) struct Cursor {
    key: Option<StateKey>,
    /// What the state holds now.
    value: Option<Bytes>,
    position: u64,
}

impl Cursor {
    /// The cursor under `key`; at the beginning if there is none or if `from_the_beginning`.
    pub(super) async fn read(
        store: &AnyStore,
        key: Option<StateKey>,
        from_the_beginning: bool,
    ) -> Result<Self> {
        let Some(key) = key else {
            return Ok(Self {
                key: None,
                value: None,
                position: 0,
            });
        };
        if key.as_str().starts_with(LOCAL_STATE) {
            return Err(Failure::usage(format!(
                "state keys that begin with {LOCAL_STATE} are the program's own; choose another \
                 --cursor-key"
            )));
        }
        let value = store.load(&key).await?;
        let position = match &value {
            Some(value) if !from_the_beginning => number(value).ok_or_else(|| {
                Failure::refused(format!("state {:?} does not hold a number", key.as_str()))
            })?,
            _ => 0,
        };
        Ok(Self {
            key: Some(key),
            value,
            position,
        })
    }

    /// How many lines are loaded.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether `key` is where the cursor is kept.
    pub(super) fn is_under(&self, key: &StateKey) -> bool {
        self.key.as_ref() == Some(key)
    }

    /// Makes the page fail where another process moved the cursor.
    pub(super) fn guard(&self, page: Page) -> Page {
        match &self.key {
            Some(key) => page.expect(key.clone(), self.value.clone()),
            None => page,
        }
    }

    /// Makes the page move the cursor to `position`.
    pub(super) fn advance(&self, page: Page, position: u64) -> Page {
        match &self.key {
            Some(key) => self.guard(page).set(key.clone(), position.to_string()),
            None => page,
        }
    }

    /// Makes the page remove the cursor.
    pub(super) fn remove(&self, page: Page) -> Page {
        match &self.key {
            Some(key) => self.guard(page).unset(key.clone()),
            None => page,
        }
    }

    /// A page that moved the cursor to `position` was applied.
    pub(super) fn is_at(&mut self, position: u64) {
        self.position = position;
        if self.key.is_some() {
            self.value = Some(position.to_string().into());
        }
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    digits
        .then(|| str::from_utf8(value).ok()?.parse().ok())
        .flatten()
}
