//! The rows of a change log.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use sync_mdip::{JsonError, Record};

/// A row of a change log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its position, above that of every row before it.
    pub seq: u64,
    /// What happened.
    pub change: Change,
}

/// The event that a row of a change log tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An operation was accepted. One whose `previd` is not the newest operation of its DID
    /// displaces those after its `previd`: a reorganisation, of which the log tells no more.
    Accepted {
        /// The DID.
        did: String,
        /// The operation and where it came from.
        event: Event,
    },
    /// A DID was removed, told once for each of its events.
    Removed {
        /// The DID.
        did: String,
        /// `signature.hash` of the event's operation, in lower case.
        hash: String,
    },
    /// An operation that was known appeared in its DID's registry. Nothing is exported of the row
    /// but its position and the DID's history.
    Confirmed {
        /// The DID.
        did: String,
        /// The events that replace those of the same operations in the DID's history.
        events: Vec<Event>,
    },
    /// A block of a registry.
    Block {
        /// A JSON object: `registry`, `block`, `removed`.
        json: String,
    },
    /// A row of which only the position is known.
    Unseen,
    /// A value that an answer lists among its operations unchanged. It has no effect on histories.
    Raw {
        /// A JSON value.
        json: String,
    },
}

/// An operation in the history of a DID. Copies share their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Arc<Parts>);

#[derive(Debug, PartialEq, Eq)]
struct Parts {
    json: String,
    /// The range of the operation in `json`.
    operation: std::ops::Range<usize>,
    hash: Option<String>,
    cid: Option<String>,
    previd: Option<String>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    operation: &'a RawValue,
}

#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    signature: Option<Signature<'a>>,
    #[serde(borrow)]
    previd: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Signature<'a> {
    #[serde(borrow)]
    hash: Option<Cow<'a, str>>,
}

/// Members of an operation that are known without parsing it.
pub(crate) struct Known {
    pub(crate) hash: String,
    pub(crate) cid: String,
    pub(crate) previd: Option<String>,
}

/// Where an event came from.
pub(crate) struct Origin<'a> {
    pub(crate) registry: &'a str,
    pub(crate) time: &'a str,
    pub(crate) ordinal: &'a str,
    pub(crate) did: &'a str,
    pub(crate) opid: Option<&'a str>,
}

impl Event {
    /// An event as a Gatekeeper's export spells it.
    ///
    /// The operation in it may be anything: what it lacks (hash, content id) is then unknown.
    pub fn from_json(json: impl Into<String>) -> Result<Self, serde_json::Error> {
        let json = json.into();
        let operation = serde_json::from_str::<Members<'_>>(&json)?.operation.get();
        let start = json.find(operation).unwrap_or_default();
        let range = start..start + operation.len();
        let head: Head<'_> = serde_json::from_str(operation).unwrap_or_default();
        let hash = head.signature.and_then(|signature| signature.hash);
        let parts = Parts {
            hash: hash.map(Cow::into_owned),
            cid: Record::parse(operation.as_bytes())
                .ok()
                .map(|record| record.cid()),
            previd: head.previd.map(Cow::into_owned),
            operation: range,
            json: String::new(),
        };
        Ok(Self(Arc::new(Parts { json, ..parts })))
    }

    /// An operation, any JSON value, as a Gatekeeper's own clients bring it.
    pub fn of_operation(did: &str, time: &str, operation: &str) -> Result<Self, serde_json::Error> {
        let origin = Origin {
            registry: "local",
            time,
            ordinal: "[0]",
            did,
            opid: None,
        };
        Self::from_json(origin.write(operation).0)
    }

    pub(crate) fn known(origin: &Origin<'_>, operation: &str, known: Known) -> Self {
        let (json, operation) = origin.write(operation);
        Self(Arc::new(Parts {
            json,
            operation,
            hash: Some(known.hash),
            cid: Some(known.cid),
            previd: known.previd,
        }))
    }

    /// The event, as JSON.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    /// The operation, as JSON.
    pub fn operation(&self) -> &str {
        self.0
            .json
            .get(self.0.operation.clone())
            .unwrap_or_default()
    }

    /// `signature.hash` of the operation as it is spelt, where it has one.
    pub fn hash(&self) -> Option<&str> {
        self.0.hash.as_deref()
    }

    /// The content id of the operation, where it is one.
    pub fn cid(&self) -> Option<&str> {
        self.0.cid.as_deref()
    }

    /// `previd` of the operation, where it has one.
    pub fn previd(&self) -> Option<&str> {
        self.0.previd.as_deref()
    }

    /// The event with its `opid`, where it has none.
    pub(crate) fn named(&self) -> Self {
        let Parts {
            json,
            operation,
            hash,
            cid,
            previd,
        } = &*self.0;
        let after = json.get(operation.end..).unwrap_or_default();
        match (cid, json.strip_suffix('}')) {
            (Some(id), Some(open)) if !after.contains(r#""opid":"#) => Self(Arc::new(Parts {
                json: format!(r#"{open},"opid":"{id}"}}"#),
                operation: operation.clone(),
                hash: hash.clone(),
                cid: cid.clone(),
                previd: previd.clone(),
            })),
            _ => self.clone(),
        }
    }

    /// The event with its operation spelt otherwise, see [`respell`](crate::respell()).
    pub fn respelt(&self, random: &mut fastrand::Rng) -> Result<Self, JsonError> {
        let operation = crate::respell(self.operation(), random)?;
        let mut json = self.0.json.clone();
        json.replace_range(self.0.operation.clone(), &operation);
        let start = self.0.operation.start;
        Ok(Self(Arc::new(Parts {
            json,
            operation: start..start + operation.len(),
            hash: self.0.hash.clone(),
            cid: self.0.cid.clone(),
            previd: self.0.previd.clone(),
        })))
    }
}

impl Origin<'_> {
    /// The event's JSON, and the range of the operation in it.
    fn write(&self, operation: &str) -> (String, std::ops::Range<usize>) {
        let Self {
            registry,
            time,
            ordinal,
            did,
            opid,
        } = self;
        let mut json = String::with_capacity(operation.len() + 256);
        // Writing to a string cannot fail.
        let _ = write!(
            json,
            r#"{{"registry":"{registry}","time":"{time}","ordinal":{ordinal},"operation":"#
        );
        let range = json.len()..json.len() + operation.len();
        let _ = write!(json, r#"{operation},"did":"{did}""#);
        if let Some(opid) = opid {
            let _ = write!(json, r#","opid":"{opid}""#);
        }
        json.push('}');
        (json, range)
    }
}
