//! One raw record, read.

use sync_core::{Bytes, Object, OpId, Operation, SyncOrder, Ts, limits};

use crate::canonical::{Document, Members, Order, Value, parse, write, write_members};
use crate::{Invalid, key, object};

/// What an operation does to its DID. The protocol has these three, and a fourth would change what
/// every `match` has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Makes a DID.
    Create,
    /// Gives a DID another document.
    Update,
    /// Deactivates a DID.
    Delete,
}

/// One operation as a Gatekeeper or a peer sent it: its key, its object, its payload, and a typed
/// view of the fields that decide what to do with it.
///
/// A record is well-formed. Whether its content and signature are true is asked with
/// [`verify`](Self::verify) and its relatives.
#[derive(Clone, Debug)]
pub struct Record {
    members: Members,
    kind: Kind,
    id: OpId,
    ts: Ts,
    object: Object,
    payload: Bytes,
    /// The content id where it is not that of the payload.
    cid: Option<String>,
}

impl Record {
    /// Reads one record. Nothing of it is lost: the payload holds every member, also those this
    /// crate does not know.
    ///
    /// Faults are looked for in this order: JSON, signature (hash, then date), type, DID, size.
    pub fn parse(raw: &[u8]) -> Result<Self, Invalid> {
        let Document {
            root,
            has_index_keys,
        } = parse(raw)?;
        let Value::Object(members) = &root else {
            return Err(Invalid::NotAnObject);
        };
        let (id, ts) = key::key(members.get("signature"))?;
        let kind = match members.get("type").and_then(Value::as_str) {
            Some("create") => Kind::Create,
            Some("update") => Kind::Update,
            Some("delete") => Kind::Delete,
            _ => return Err(Invalid::Type),
        };
        let did = match kind {
            Kind::Create => None,
            Kind::Update | Kind::Delete => {
                let did = members.get("did").and_then(Value::as_str);
                Some(object::of_did(did.ok_or(Invalid::Did)?)?)
            }
        };
        let payload = write(&root, Order::Canonical);
        if payload.len() > limits::PAYLOAD_BYTES {
            return Err(Invalid::TooLarge);
        }
        // The deployed system parses the canonical form and writes it again before it hashes it for
        // the content id, and JavaScript lists keys that are indices first.
        let cid = has_index_keys.then(|| object::cid(&write(&root, Order::JavaScript)));
        let object = match did {
            Some(object) => object,
            None => Object::new(cid.clone().unwrap_or_else(|| object::cid(&payload)))
                .map_err(|_| Invalid::Did)?,
        };
        let Value::Object(members) = root else {
            return Err(Invalid::NotAnObject);
        };
        Ok(Self {
            members,
            kind,
            id,
            ts,
            object,
            payload: payload.into(),
            cid,
        })
    }

    /// The row that a store keeps.
    pub fn into_operation(self, sync_order: Option<SyncOrder>) -> Operation {
        Operation {
            id: self.id,
            ts: self.ts,
            object: Some(self.object),
            sync_order,
            payload: self.payload,
        }
    }

    /// What the operation does.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The id: the hash the signature claims.
    pub fn id(&self) -> OpId {
        self.id
    }

    /// The time of `signature.signed`, not before the [MDIP epoch](crate::key::MDIP_EPOCH).
    pub fn ts(&self) -> Ts {
        self.ts
    }

    /// The suffix of the DID the operation is about.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The canonical form of the whole operation, signature included.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The operation's content id, base58btc: the suffix of the DID a create makes, and what the
    /// next operation of the DID names as its [`previd`](Self::previd).
    pub fn cid(&self) -> String {
        self.cid
            .clone()
            .unwrap_or_else(|| object::cid(&self.payload))
    }

    /// `did`: the DID of an update or delete, as it is spelt.
    pub fn did(&self) -> Option<&str> {
        self.string("did")
    }

    /// `previd`: the content id of the operation before this one. Operations of old clients have
    /// none.
    pub fn previd(&self) -> Option<&str> {
        self.string("previd")
    }

    /// `controller`: the DID whose key signs for an asset.
    pub fn controller(&self) -> Option<&str> {
        self.string("controller")
    }

    /// `signature.signer`: the DID whose key signed.
    pub fn signer(&self) -> Option<&str> {
        self.nested("signature", "signer")
    }

    /// `mdip.type` of a create: `agent` or `asset`.
    pub fn subject(&self) -> Option<&str> {
        self.nested("mdip", "type")
    }

    /// `mdip.registry` of a create.
    pub fn registry(&self) -> Option<&str> {
        self.nested("mdip", "registry")
    }

    /// `signature.value`.
    pub(crate) fn signature_value(&self) -> Option<&str> {
        self.nested("signature", "value")
    }

    /// The JSON Web Key that the operation gives its DID.
    pub(crate) fn jwk(&self) -> Option<&Value> {
        match self.kind {
            Kind::Create if self.subject() == Some("agent") => self.members.get("publicJwk"),
            Kind::Update => self
                .members
                .get("doc")?
                .get("didDocument")?
                .get("verificationMethod")?
                .first()?
                .get("publicKeyJwk"),
            Kind::Create | Kind::Delete => None,
        }
    }

    /// What the signature's hash covers: the canonical form without `signature`.
    pub(crate) fn content(&self) -> Vec<u8> {
        write_members(&self.members, "signature")
    }

    fn string(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    fn nested(&self, outer: &str, name: &str) -> Option<&str> {
        self.members.get(outer)?.get(name)?.as_str()
    }
}

/// Reads a record, checks that its id is the hash of its content, and answers the row that a store
/// keeps.
///
/// The check matters because the id is what the record *claims*: without it a record could take
/// the place of another one. The signature is not checked here: that may need another
/// operation's key, see [`Record::verify`].
///
/// ```
/// # let raw = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/create.json"));
/// let operation = sync_mdip::to_operation(raw, None)?;
/// assert!(operation.payload.starts_with(br#"{"created":"2024-02-01T"#));
/// # Ok::<(), sync_mdip::Invalid>(())
/// ```
pub fn to_operation(raw: &[u8], sync_order: Option<SyncOrder>) -> Result<Operation, Invalid> {
    let record = Record::parse(raw)?;
    record.verify_content()?;
    Ok(record.into_operation(sync_order))
}

/// Reads a record that was kept under `id`, as the deployed system's database keeps them, and
/// answers the row that a store keeps.
///
/// The time is the record's own by this crate's rules; a time that the database holds is ignored.
/// [`HashMismatch`](Invalid::HashMismatch) also where `id` is not the id of the record.
pub fn to_operation_of(
    id: OpId,
    raw: &[u8],
    sync_order: Option<SyncOrder>,
) -> Result<Operation, Invalid> {
    let operation = to_operation(raw, sync_order)?;
    if operation.id == id {
        Ok(operation)
    } else {
        Err(Invalid::HashMismatch)
    }
}
