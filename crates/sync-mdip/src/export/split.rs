use std::collections::HashMap;
use std::io::Read;

use serde::de::DeserializeSeed as _;
use sync_core::{Object, SyncOrder};

use super::members::{OneOf, elements, members, string};
use super::scan::{List, Scanner, Stop};
use super::{Mode, shown};
use crate::local::Scope;
use crate::object;

/// The members of an answer, in the order in which [`Head`] and [`Answer`] take them.
const MEMBERS: [&str; 8] = [
    "mode",
    "indexEpoch",
    "cursor",
    "checkpointCursor",
    "hasMore",
    "dids",
    "operations",
    "removedOperations",
];

const DIDS: usize = 5;
const OPERATIONS: usize = 6;
const REMOVED: usize = 7;

/// An answer, split.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// Of a snapshot: one record for every DID.
    pub(crate) histories: Option<Vec<RawRecord>>,
    /// Of changes: which DIDs are local or public, as far as the histories show.
    pub(crate) scopes: HashMap<Object, Scope>,
    pub(crate) operations: Option<Vec<RawRecord>>,
    pub(crate) removed: Option<Vec<RawRecord>>,
    /// Whether `removedOperations` holds something else than an array.
    pub(crate) removed_is_no_array: bool,
}

/// The members that describe the answer, as raw JSON.
#[derive(Debug, Default)]
pub(crate) struct Head([Option<String>; 5]);

/// A head that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: String,
    pub(crate) cursor: Option<String>,
    pub(crate) checkpoint: SyncOrder,
    pub(crate) more: bool,
}

/// A record of the answer, unparsed.
#[derive(Debug)]
pub(crate) struct RawRecord {
    /// The text between two commas, which need not be JSON.
    pub(crate) json: String,
    /// Whether bytes that are not UTF-8 were replaced in it.
    pub(crate) replaced: bool,
}

/// The replacement of bytes that are not UTF-8.
pub(crate) const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Splits an answer of at most `bound` bytes into `answer`. An error is a fault of its JSON outside the
/// records; `answer` then holds what was read before it.
pub(crate) fn split(
    body: impl Read,
    mode: Mode,
    bound: u64,
    answer: &mut Answer,
) -> Result<(), Stop> {
    let mut scanner = Scanner::new(body, bound);
    let mut list = List::MEMBERS;
    scanner.expect(b'{')?;
    while scanner.step(&mut list)? {
        match (key(&mut scanner)?, mode) {
            (Some(member @ 0..5), _) => answer.head.set(member, scanner.value()?),
            (Some(DIDS), Mode::Snapshot) => answer.histories = collect(&mut scanner)?,
            (Some(DIDS), Mode::Changes) => {
                answer.scopes.clear();
                let scopes = &mut answer.scopes;
                each(&mut scanner, |history| scopes.extend(scope(&history.json)))?;
            }
            (Some(OPERATIONS), Mode::Changes) => answer.operations = collect(&mut scanner)?,
            (Some(REMOVED), Mode::Changes) => {
                answer.removed = collect(&mut scanner)?;
                answer.removed_is_no_array = answer.removed.is_none();
            }
            _ => scanner.skip()?,
        }
    }
    scanner.end()
}

/// Reads an answer only until a member follows its whole head. In answers of a Gatekeeper that is
/// before the first record.
pub(crate) fn head(body: impl Read) -> Result<Head, Stop> {
    let mut scanner = Scanner::new(body, u64::MAX);
    let mut list = List::MEMBERS;
    let mut head = Head::default();
    scanner.expect(b'{')?;
    while scanner.step(&mut list)? {
        match key(&mut scanner)? {
            Some(member @ 0..5) => head.set(member, scanner.value()?),
            _ if head.is_whole() => break,
            _ => scanner.skip()?,
        }
    }
    Ok(head)
}

/// Reads the key of a member; the answer is its place among [`MEMBERS`].
fn key(scanner: &mut Scanner<impl Read>) -> Result<Option<usize>, Stop> {
    if !scanner.is_next(b'"')? {
        return Err(scanner.malformed());
    }
    let key = scanner.value()?;
    scanner.expect(b':')?;
    // A key that cannot be read is none of them.
    let mut json = serde_json::Deserializer::from_slice(&key);
    Ok(OneOf(&MEMBERS).deserialize(&mut json).ok().flatten())
}

/// The records of an array; `None` of anything else.
fn collect(scanner: &mut Scanner<impl Read>) -> Result<Option<Vec<RawRecord>>, Stop> {
    let mut records = Vec::new();
    let is_array = each(scanner, |record| records.push(record))?;
    Ok(is_array.then_some(records))
}

/// Hands over the elements of an array, one after the other; answers whether there was an array.
fn each(
    scanner: &mut Scanner<impl Read>,
    mut element: impl FnMut(RawRecord),
) -> Result<bool, Stop> {
    if !scanner.is_next(b'[')? {
        scanner.skip()?;
        return Ok(false);
    }
    let mut list = List::ELEMENTS;
    scanner.expect(b'[')?;
    while scanner.step(&mut list)? {
        element(RawRecord::new(scanner.value()?));
    }
    Ok(true)
}

impl RawRecord {
    fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(json) => Self {
                json,
                replaced: false,
            },
            Err(error) => Self {
                json: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                replaced: true,
            },
        }
    }
}

/// The scope of a history's DID, by its create. A removed DID has no history.
///
/// The create is not verified here: the source decides for itself what it gives away.
pub(crate) fn scope(history: &str) -> Option<(Object, Scope)> {
    let [did, events] = members(history, ["did", "events"])?;
    let object = object::of_did(&string(did)?).ok()?;
    let events = elements(events?)?;
    let [operation] = members(events.first()?.get(), ["operation"])?;
    let [kind, mdip] = members(operation?.get(), ["type", "mdip"])?;
    if string(kind)? != "create" {
        return None;
    }
    let registry = mdip
        .and_then(|mdip| members(mdip.get(), ["registry"]))
        .and_then(|[registry]| string(registry));
    Some((object, Scope::of_registry(registry.as_deref())))
}

impl Head {
    fn set(&mut self, member: usize, value: Vec<u8>) {
        if let Some(slot) = self.0.get_mut(member) {
            *slot = Some(String::from_utf8_lossy(&value).into_owned());
        }
    }

    fn string(&self, member: usize) -> Option<String> {
        serde_json::from_str(self.0.get(member)?.as_deref()?).ok()
    }

    fn is_whole(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    fn mode_raw(&self) -> Option<String> {
        self.string(0)
    }

    /// The mode, where it is one.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let mode = self.mode_raw()?;
        [Mode::Snapshot, Mode::Changes]
            .into_iter()
            .find(|known| known.as_str() == mode)
    }

    /// The history that answered, where that was read.
    pub(crate) fn epoch(&self) -> Option<String> {
        self.string(1).filter(|epoch| !epoch.is_empty())
    }

    /// Where to go on, where that was read and is not empty.
    pub(crate) fn cursor(&self) -> Option<String> {
        self.string(2).filter(|cursor| !cursor.is_empty())
    }

    /// The checkpoint, where it was read.
    pub(crate) fn checkpoint(&self) -> Option<SyncOrder> {
        self.string(3)?.parse().ok()
    }

    /// Whether there is more, where that was read.
    pub(crate) fn more(&self) -> Option<bool> {
        let [.., more] = &self.0;
        serde_json::from_str(more.as_deref()?).ok()
    }

    /// The head of an answer in `mode`, or its fault.
    pub(crate) fn read(&self, mode: Mode) -> Result<Header, String> {
        let found = self.mode_raw();
        if found.as_deref() != Some(mode.as_str()) {
            let found = found.map_or("none".to_owned(), |found| format!("{:?}", shown(&found)));
            return Err(format!(
                "an answer of mode {:?} was expected, and the mode is {found}",
                mode.as_str()
            ));
        }
        let [_, _, cursor, _, _] = &self.0;
        let has_cursor = cursor.as_deref().is_some_and(|cursor| cursor != "null");
        if has_cursor && self.string(2).is_none() {
            return Err("cursor is neither a string nor null".to_owned());
        }
        Ok(Header {
            epoch: self.epoch().ok_or("there is no indexEpoch")?,
            cursor: self.cursor(),
            checkpoint: self
                .checkpoint()
                .ok_or("checkpointCursor is not a position in decimal digits")?,
            more: self.more().ok_or("hasMore is neither true nor false")?,
        })
    }
}

impl Header {
    /// The cursor of a page of changes; `None` where it has none, as that of an empty log.
    pub(crate) fn position(&self) -> Result<Option<SyncOrder>, String> {
        self.cursor
            .as_deref()
            .map(|cursor| {
                cursor.parse().map_err(|_| {
                    let cursor = shown(cursor);
                    format!("cursor {cursor:?} is not a position in decimal digits")
                })
            })
            .transpose()
    }
}
