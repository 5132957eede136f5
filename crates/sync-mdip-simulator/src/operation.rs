//! Operations as clients make them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k256::ecdsa::signature::hazmat::PrehashSigner as _;
use k256::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};

use sync_mdip::{Invalid, canonicalize, object};

/// A secret key of secp256k1 that anyone can derive, for tests only.
#[derive(Clone)]
pub struct Signer(SigningKey);

/// A signed operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The operation, as JSON.
    pub json: String,
    /// `signature.hash`: the SHA-256 of the content's canonical form.
    pub hash: [u8; 32],
    /// The SHA-256 that the content id holds.
    pub digest: [u8; 32],
}

impl Signer {
    /// The key with this number among those of a seed.
    #[must_use]
    pub fn derive(seed: u64, number: u64) -> Self {
        let mut hasher = Sha256::new_with_prefix(b"sync-mdip simulate");
        hasher.update(seed.to_le_bytes());
        hasher.update(number.to_le_bytes());
        let mut secret = hasher.finalize();
        loop {
            // One secret in 2^128 is none.
            match SigningKey::from_slice(&secret) {
                Ok(key) => return Self(key),
                Err(_) => secret = Sha256::digest(secret),
            }
        }
    }

    /// The public key as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> String {
        let point = self.0.verifying_key().to_sec1_point(false);
        let part = |range: std::ops::Range<usize>| {
            BASE64_URL_SAFE_NO_PAD.encode(point.as_bytes().get(range).unwrap_or_default())
        };
        let (x, y) = (part(1..33), part(33..65));
        format!(r#"{{"kty":"EC","crv":"secp256k1","x":"{x}","y":"{y}"}}"#)
    }

    /// `content`, a JSON object without white space at its end, with its signature, made on `date`
    /// in the name of the DID `by`.
    pub fn sign(&self, content: &str, date: &str, by: Option<&str>) -> Result<Signed, Invalid> {
        let hash = content_hash(content)?;
        let signature: Signature = self
            .0
            .sign_prehash(&hash)
            .map_err(|_| Invalid::SignatureMismatch)?;
        let by = by.map_or_else(String::new, |did| format!(r#""signer":"{did}","#));
        let json = format!(
            r#"{},"signature":{{{by}"signed":"{date}","hash":"{}","value":"{}"}}}}"#,
            content.strip_suffix('}').unwrap_or(content),
            hex::encode(hash),
            hex::encode(signature.to_bytes()),
        );
        let digest = object::content_digest(json.as_bytes())?;
        Ok(Signed { json, hash, digest })
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signed {
    /// The content id: of a create the suffix of its DID.
    #[must_use]
    pub fn cid(&self) -> String {
        object::content_id(&self.digest)
    }
}

/// The SHA-256 of the canonical form.
pub(crate) fn content_hash(content: &str) -> Result<[u8; 32], Invalid> {
    Ok(Sha256::digest(canonicalize(content.as_bytes())?).into())
}

/// The prefix of every DID made here.
pub(crate) const DID: &str = "did:test:";

pub(crate) fn agent_create(created: &str, registry: &str, jwk: &str) -> String {
    format!(
        r#"{{"type":"create","created":"{created}","mdip":{{"version":1,"type":"agent","registry":"{registry}"}},"publicJwk":{jwk}}}"#
    )
}

pub(crate) fn asset_create(created: &str, registry: &str, controller: &str, data: &str) -> String {
    format!(
        r#"{{"type":"create","created":"{created}","mdip":{{"version":1,"type":"asset","registry":"{registry}"}},"controller":"{controller}","data":{data}}}"#
    )
}

pub(crate) fn agent_update(did: &str, previd: &str, jwk: &str, data: &str) -> String {
    format!(
        r##"{{"type":"update","did":"{did}","previd":"{previd}","doc":{{"didDocument":{{"@context":["https://www.w3.org/ns/did/v1"],"id":"{did}","verificationMethod":[{{"id":"#key-1","controller":"{did}","type":"EcdsaSecp256k1VerificationKey2019","publicKeyJwk":{jwk}}}],"authentication":["#key-1"]}},"didDocumentData":{data}}}}}"##
    )
}

pub(crate) fn asset_update(did: &str, previd: &str, controller: &str, data: &str) -> String {
    format!(
        r#"{{"type":"update","did":"{did}","previd":"{previd}","doc":{{"didDocument":{{"@context":["https://www.w3.org/ns/did/v1"],"id":"{did}","controller":"{controller}"}},"didDocumentData":{data}}}}}"#
    )
}

pub(crate) fn delete(did: &str, previd: &str) -> String {
    format!(r#"{{"type":"delete","did":"{did}","previd":"{previd}"}}"#)
}

/// Milliseconds since 1970 as `2024-02-01T00:00:18.995Z`.
pub(crate) fn date(milliseconds: u64) -> String {
    let (days, clock) = (milliseconds / 86_400_000, milliseconds % 86_400_000);
    // Years here begin in March, so that the leap day is the last day of its year; 719468 days lie
    // between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = era * 400 + year_of_era + next;
    let (hours, minutes) = (clock / 3_600_000, clock / 60_000 % 60);
    let (seconds, thousandths) = (clock / 1_000 % 60, clock % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{thousandths:03}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_date_reads_back_as_what_it_was_written_from() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let milliseconds = random.u64(..10_000_000_000_000);
            let text = super::date(milliseconds);
            assert_eq!(
                sync_mdip::key::parse_date(&text),
                i64::try_from(milliseconds).ok(),
                "{text}"
            );
        }
    }
}
