//! What a run of backfill collects, spread over state keys: the database holds it, not memory, and a run
//! that was killed finds it again.

use std::collections::BTreeMap;

use sync_core::{Bytes, Limit, Object, OpId, Page, StateKey, SyncOrder, SyncState};

use crate::state;
use crate::{Error, Result};

/// Where the keys begin; four hexadecimal digits follow.
pub(super) const PREFIX: &str = "source.walk.";

/// How many objects one operation's removals are remembered for. An operation has one object; more are
/// a mistake of the source, or an attack on operations of others.
const OBJECTS: usize = 16;

/// What the log says of one operation, as far as collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// The last removal that names an object, for each object; by rising position.
    removed: Vec<(SyncOrder, Object)>,
    /// Its first addition after the last removal.
    pub(crate) added: Option<SyncOrder>,
}

impl Collected {
    /// Adds a removal at `seq` that names `object`.
    pub(crate) fn remove(&mut self, seq: SyncOrder, object: &Object) {
        if self.is_removed(seq, Some(object)) {
            return;
        }
        self.removed.retain(|(_, of)| of != object);
        let at = self.removed.partition_point(|(other, _)| *other <= seq);
        self.removed.insert(at, (seq, object.clone()));
        if self.removed.len() > OBJECTS {
            self.removed.remove(0);
        }
        self.added = self.added.filter(|added| *added > seq);
    }

    /// Adds an addition at `seq` about `object`.
    pub(crate) fn add(&mut self, seq: SyncOrder, object: Option<&Object>) {
        if !self.is_removed(seq, object) {
            self.added = self.added.into_iter().chain([seq]).min();
        }
    }

    /// Whether an operation on `object` that was added up to `seq` was removed at `seq` or later.
    pub(crate) fn is_removed(&self, seq: SyncOrder, object: Option<&Object>) -> bool {
        let mut removed = self.removed.iter();
        removed.any(|(last, of)| *last >= seq && Some(of) == object)
    }

    /// The removals, by rising position.
    pub(crate) fn removed(&self) -> &[(SyncOrder, Object)] {
        &self.removed
    }
}

/// Some of the buckets, with the changes to them.
#[derive(Debug)]
pub(crate) struct Buckets {
    salt: Vec<u8>,
    loaded: BTreeMap<StateKey, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    raw: Option<Bytes>,
    entries: BTreeMap<OpId, Collected>,
    changed: bool,
}

impl Buckets {
    /// No buckets yet, of the run with this salt.
    pub(crate) fn new(salt: &str) -> Self {
        Self {
            salt: salt.as_bytes().to_vec(),
            loaded: BTreeMap::new(),
        }
    }

    /// Loads the buckets of `ids` that are not loaded yet.
    pub(crate) async fn load(
        &mut self,
        store: &impl SyncState,
        ids: impl IntoIterator<Item = OpId>,
    ) -> Result<()> {
        let mut keys = Vec::new();
        for id in ids {
            let key = self.key(&id)?;
            if !self.loaded.contains_key(&key) {
                keys.push(key);
            }
        }
        keys.sort_unstable();
        keys.dedup();
        let values = store.load_many(&keys).await?;
        for (key, raw) in keys.into_iter().zip(values) {
            self.insert(key, raw)?;
        }
        Ok(())
    }

    /// The next buckets there are, few enough for one page; empty where there are none.
    pub(crate) async fn first(store: &impl SyncState, salt: &str) -> Result<Self> {
        let mut buckets = Self::new(salt);
        let limit = Limit::rows(200).bytes(1 << 20);
        for entry in store.list(PREFIX, None, limit).await?.items {
            buckets.insert(entry.key, Some(entry.value))?;
        }
        Ok(buckets)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.loaded.is_empty()
    }

    /// Whether there is something to write.
    pub(crate) fn has_changed(&self) -> bool {
        self.loaded.values().any(|bucket| bucket.changed)
    }

    /// What is collected of `id`, whose bucket is loaded.
    pub(crate) fn of(&self, id: &OpId) -> Option<&Collected> {
        self.loaded.get(&self.key(id).ok()?)?.entries.get(id)
    }

    /// Changes what is collected of `id`, whose bucket is loaded.
    pub(crate) fn change(&mut self, id: OpId, change: impl FnOnce(&mut Collected)) -> Result<()> {
        let key = self.key(&id)?;
        let Some(bucket) = self.loaded.get_mut(&key) else {
            return Err(Error::state(key.as_str(), "the bucket is not loaded"));
        };
        let is_new = !bucket.entries.contains_key(&id);
        let entry = bucket.entries.entry(id).or_default();
        let before = entry.clone();
        change(entry);
        bucket.changed |= is_new || *entry != before;
        Ok(())
    }

    /// Everything that is loaded.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&OpId, &Collected)> {
        self.loaded.values().flat_map(|bucket| &bucket.entries)
    }

    /// Writes what has changed, as part of `page`.
    pub(crate) fn write(self, mut page: Page) -> Page {
        for (key, bucket) in self.loaded {
            if bucket.changed {
                let bytes = encode(&bucket.entries);
                page = page.expect(key.clone(), bucket.raw).set(key, bytes);
            }
        }
        page
    }

    /// Removes everything that is loaded, as part of `page`.
    pub(crate) fn remove(self, mut page: Page) -> Page {
        for (key, bucket) in self.loaded {
            page = page.expect(key.clone(), bucket.raw).unset(key);
        }
        page
    }

    fn insert(&mut self, key: StateKey, raw: Option<Bytes>) -> Result<()> {
        let entries = match &raw {
            Some(raw) => decode(raw)
                .ok_or_else(|| Error::state(key.as_str(), "entries that cannot be decoded"))?,
            None => BTreeMap::new(),
        };
        let bucket = Bucket {
            raw,
            entries,
            changed: false,
        };
        self.loaded.insert(key, bucket);
        Ok(())
    }

    fn key(&self, id: &OpId) -> Result<StateKey> {
        let hash = blake3::Hasher::new()
            .update(&self.salt)
            .update(id.as_bytes())
            .finalize();
        let digits = hash.to_hex();
        let digits = digits.get(..4).unwrap_or_default();
        state::key(&format!("{PREFIX}{digits}"))
    }
}

/// A random salt.
pub(crate) fn salt() -> Result<String> {
    Ok(sync_core::Epoch::random()?.to_string())
}

/// Entries by id: the id, the position of the addition with a bit set where there is one, the
/// number of removals in a byte, and each removal: its position, the length of the object in two
/// bytes, the object.
fn encode(entries: &BTreeMap<OpId, Collected>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, entry) in entries {
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend_from_slice(&position(entry.added));
        bytes.push(u8::try_from(entry.removed.len()).unwrap_or(u8::MAX));
        for (seq, object) in &entry.removed {
            let object = object.as_bytes();
            let length = u16::try_from(object.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&seq.value().to_be_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(object);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<BTreeMap<OpId, Collected>> {
    let mut entries = BTreeMap::new();
    while !bytes.is_empty() {
        let id = OpId::new(*take(&mut bytes)?);
        let added = read_position(*take(&mut bytes)?)?;
        let [count] = *take(&mut bytes)?;
        let mut removed = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let seq = SyncOrder::new(u64::from_be_bytes(*take(&mut bytes)?))?;
            let length = usize::from(u16::from_be_bytes(*take(&mut bytes)?));
            let (object, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            removed.push((seq, Object::new(object.to_vec()).ok()?));
        }
        entries.insert(id, Collected { removed, added });
    }
    Some(entries)
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(taken)
}

/// The bit that says that there is a position. Positions end below 2^53.
const PRESENT: u64 = 1 << 63;

fn position(position: Option<SyncOrder>) -> [u8; 8] {
    position
        .map_or(0, |position| PRESENT | position.value())
        .to_be_bytes()
}

#[expect(
    clippy::option_option,
    reason = "the outer one is `None` for bytes that cannot be decoded"
)]
fn read_position(bytes: [u8; 8]) -> Option<Option<SyncOrder>> {
    match u64::from_be_bytes(bytes) {
        0 => Some(None),
        value if value & PRESENT != 0 => SyncOrder::new(value & !PRESENT).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
