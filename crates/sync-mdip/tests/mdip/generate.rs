//! Operations as clients make them, with real keys and real signatures.

use serde_json::{Value, json};
use sync_mdip_simulator::{Change, Config, Signer};

use crate::log::Entry;

pub(crate) fn key(random: &mut fastrand::Rng) -> Signer {
    Signer::derive(random.u64(..), 0)
}

pub(crate) fn jwk(key: &Signer) -> Value {
    serde_json::from_str(&key.jwk()).unwrap()
}

/// `content` with its signature, as JSON, signed in the name of the DID `by`.
pub(crate) fn sign(content: &Value, key: &Signer, signed: &str, by: Option<&str>) -> String {
    key.sign(&content.to_string(), signed, by).unwrap().json
}

pub(crate) fn agent_content(key: &Signer, registry: &str) -> Value {
    json!({
        "type": "create",
        "created": "2024-02-01T00:00:18.995Z",
        "mdip": { "version": 1, "type": "agent", "registry": registry },
        "publicJwk": jwk(key),
    })
}

/// An agent's create in `registry`.
pub(crate) fn agent(key: &Signer, registry: &str) -> String {
    let content = agent_content(key, registry);
    sign(&content, key, "2024-02-01T00:01:11.537Z", None)
}

/// The operations of a generated log, in the order in which they were accepted.
pub(crate) fn log(seed: u64, operations: u32) -> Vec<Entry> {
    sync_mdip_simulator::generate(Config::new(seed, operations))
        .filter_map(|row| match row.change {
            Change::Accepted { did, event } => Some(Entry {
                did,
                raw: event.operation().to_owned(),
            }),
            _ => None,
        })
        .collect()
}
