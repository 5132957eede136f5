//! Operations as clients make them, with real keys and real signatures.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sync_mdip::{Record, canonicalize};

use crate::log::Entry;

pub(crate) fn key(random: &mut fastrand::Rng) -> SigningKey {
    let mut secret = [0; 32];
    random.fill(&mut secret);
    SigningKey::from_slice(&secret).unwrap()
}

pub(crate) fn jwk(key: &SigningKey) -> Value {
    let point = key.verifying_key().to_sec1_point(false);
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({
        "kty": "EC",
        "crv": "secp256k1",
        "x": encode(&point.as_bytes()[1..33]),
        "y": encode(&point.as_bytes()[33..]),
    })
}

/// `content` with its signature, as JSON, signed in the name of the DID `by`.
pub(crate) fn sign(content: &Value, key: &SigningKey, signed: &str, by: Option<&str>) -> String {
    let hash = Sha256::digest(canonicalize(content.to_string().as_bytes()).unwrap());
    let signature: Signature = key.sign_prehash(&hash).unwrap();
    let mut operation = content.clone();
    operation["signature"] = json!({
        "signed": signed,
        "hash": hex::encode(hash),
        "value": hex::encode(signature.to_bytes()),
    });
    if let Some(by) = by {
        operation["signature"]["signer"] = by.into();
    }
    operation.to_string()
}

pub(crate) fn agent_content(key: &SigningKey, registry: &str) -> Value {
    json!({
        "type": "create",
        "created": "2024-02-01T00:00:18.995Z",
        "mdip": { "version": 1, "type": "agent", "registry": registry },
        "publicJwk": jwk(key),
    })
}

/// An agent's create in `registry`.
pub(crate) fn agent(key: &SigningKey, registry: &str) -> String {
    sign(
        &agent_content(key, registry),
        key,
        "2024-02-01T00:01:11.537Z",
        None,
    )
}

struct Subject {
    did: String,
    /// The content id of the last operation.
    head: String,
    /// Where the key that signs is: the DID itself, or an asset's controller.
    owner: usize,
    deleted: bool,
}

/// A log of `length` operations: agents and assets, local ones among them, updates that sometimes
/// change an agent's key, and deletes.
pub(crate) fn log(seed: u64, length: usize) -> Vec<Entry> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut dids: Vec<Subject> = Vec::new();
    let mut keys: Vec<SigningKey> = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    while entries.len() < length {
        let signed = format!(
            "2024-03-01T{:02}:00:{:02}Z",
            random.u8(..24),
            random.u8(..60)
        );
        let choice = if dids.is_empty() { 0 } else { random.u8(..10) };
        let target = random.usize(..dids.len().max(1));
        if choice > 1 && dids[target].deleted {
            continue;
        }
        let (raw, did) = match choice {
            0 | 1 => {
                let key = key(&mut random);
                let registry = random.choice(["hyperswarm", "local", "TBTC"]).unwrap();
                let raw = agent(&key, registry);
                dids.push(named(&raw, dids.len()));
                keys.push(key);
                (raw, dids.last().unwrap().did.clone())
            }
            2..5 => {
                let owner = dids[target].owner;
                let controller = dids[owner].did.clone();
                let content = json!({
                    "type": "create",
                    "created": "2024-02-01T00:00:18.995Z",
                    "mdip": { "version": 1, "type": "asset", "registry": "hyperswarm" },
                    "controller": controller,
                    "data": data(&mut random),
                });
                let raw = sign(&content, &keys[owner], &signed, Some(&controller));
                dids.push(named(&raw, owner));
                keys.push(keys[owner].clone());
                (raw, dids.last().unwrap().did.clone())
            }
            _ => {
                let Subject {
                    did, head, owner, ..
                } = &dids[target];
                let mut content = json!({ "type": "update", "did": did, "previd": head });
                let mut next = None;
                if choice == 9 {
                    content["type"] = "delete".into();
                } else if *owner == target {
                    let key = if choice == 8 {
                        key(&mut random)
                    } else {
                        keys[target].clone()
                    };
                    content["doc"] = json!({ "didDocument": {
                        "id": did,
                        "verificationMethod": [{ "id": "#key-1", "publicKeyJwk": jwk(&key) }],
                    }});
                    next = Some(key);
                } else {
                    content["doc"] = json!({
                        "didDocument": { "id": did, "controller": dids[*owner].did },
                        "didDocumentData": data(&mut random),
                    });
                }
                let raw = sign(&content, &keys[*owner], &signed, Some(&dids[*owner].did));
                let did = did.clone();
                dids[target].head = Record::parse(raw.as_bytes()).unwrap().cid();
                dids[target].deleted = choice == 9;
                if let Some(key) = next {
                    keys[target] = key;
                }
                (raw, did)
            }
        };
        entries.push(Entry { did, raw });
    }
    entries
}

fn named(raw: &str, owner: usize) -> Subject {
    let head = Record::parse(raw.as_bytes()).unwrap().cid();
    Subject {
        did: format!("did:test:{head}"),
        head,
        owner,
        deleted: false,
    }
}

fn data(random: &mut fastrand::Rng) -> Value {
    json!({
        "text": random.choice(["plain", "quote \" and \\", "\u{0}\u{1f}\n", "é €\u{fb33} 😀"]),
        "number": random.choice([0.0, -1.5, 1e21, 1e-7, 5e-324, 333_333_333.333_333_3]),
        "whole": random.u64(..1 << 53),
        "list": [true, null, [], {}],
        "😀": 1, "\u{fb33}": 2,
        (random.u8(..).to_string()): "an index",
    })
}
