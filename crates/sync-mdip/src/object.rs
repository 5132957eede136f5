//! What an operation is about: the suffix of its DID, which no configuration changes.

use sha2::{Digest as _, Sha256};
use sync_core::Object;

use crate::canonical::{Order, parse, write};
use crate::{Invalid, JsonError};

/// CID version 1, content `json` (0x0200 as a varint), hash SHA2-256 of 32 bytes.
const PREFIX: [u8; 5] = [0x01, 0x80, 0x04, 0x12, 0x20];

/// The content id of bytes that are in the form the deployed system hashes.
pub(crate) fn cid(json: &[u8]) -> String {
    content_id(&Sha256::digest(json).into())
}

/// The digest in the content id of a JSON document: the SHA-256 of its canonical form, with keys in
/// the order in which JavaScript lists them.
pub fn content_digest(json: &[u8]) -> Result<[u8; 32], JsonError> {
    let document = parse(json)?;
    Ok(Sha256::digest(write(&document.root, Order::JavaScript)).into())
}

/// The content id with this digest, in base58btc: the suffix of the DID that a create makes.
pub fn content_id(digest: &[u8; 32]) -> String {
    let mut bytes = PREFIX.to_vec();
    bytes.extend_from_slice(digest);
    format!("z{}", bs58::encode(bytes).into_string())
}

/// The object of a DID: the part after the last colon.
///
/// The prefix before it is a matter of configuration (`did:test`, `did:mdip`), and the same DID may
/// be written with several.
///
/// ```
/// let object = sync_mdip::object::of_did("did:test:z3v8Aua")?;
/// assert_eq!(object.as_bytes(), b"z3v8Aua");
/// # Ok::<(), sync_mdip::Invalid>(())
/// ```
pub fn of_did(did: &str) -> Result<Object, Invalid> {
    let suffix = did
        .strip_prefix("did:")
        .and_then(|rest| rest.rsplit_once(':'))
        .map(|(_, suffix)| suffix)
        .ok_or(Invalid::Did)?;
    Object::new(suffix.to_owned()).map_err(|_| Invalid::Did)
}
