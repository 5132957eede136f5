//! Whether a record's content and signature are true.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use k256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::canonical::{Value, parse};
use crate::{Invalid, Record};

/// A public key of secp256k1: a point of the curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a JSON Web Key (RFC 7517, RFC 8812): an object with `kty` `EC`, `crv` `secp256k1`, and
    /// `x` and `y` of 32 bytes each in base64url without padding. Other members are ignored.
    ///
    /// Stricter than a deployed Gatekeeper, which reads `x` and whether `y` is odd.
    pub fn from_jwk(json: &[u8]) -> Result<Self, Invalid> {
        Self::from_value(&parse(json)?.root)
    }

    fn from_value(jwk: &Value) -> Result<Self, Invalid> {
        let field = |name| jwk.get(name).and_then(Value::as_str);
        if field("kty") != Some("EC") || field("crv") != Some("secp256k1") {
            return Err(Invalid::KeyFormat);
        }
        let coordinate = |name| {
            field(name)
                .and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok())
                .filter(|bytes| bytes.len() == 32)
                .ok_or(Invalid::KeyFormat)
        };
        // SEC 1: an uncompressed point is 0x04, x, y.
        let point = [vec![0x04], coordinate("x")?, coordinate("y")?].concat();
        VerifyingKey::from_sec1_bytes(&point)
            .map(Self)
            .map_err(|_| Invalid::KeyPoint)
    }
}

/// What [`Record::verify`] was able to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verified {
    /// The content and the signature, by the key in the operation.
    Signature,
    /// The content. The key of the signature is in another operation.
    Content,
}

impl Record {
    /// Checks that the id is the SHA-256 of the operation's canonical form without `signature`.
    pub fn verify_content(&self) -> Result<(), Invalid> {
        if Sha256::digest(self.content())[..] == self.id().as_bytes()[..] {
            Ok(())
        } else {
            Err(Invalid::HashMismatch)
        }
    }

    /// Checks the content, and the signature where the operation holds the key: an agent's create is
    /// signed with the key it carries.
    pub fn verify(&self) -> Result<Verified, Invalid> {
        self.verify_content()?;
        if self.kind() != crate::Kind::Create || self.subject() != Some("agent") {
            return Ok(Verified::Content);
        }
        let key = self.public_key()?.ok_or(Invalid::KeyFormat)?;
        self.verify_signature(&key)?;
        Ok(Verified::Signature)
    }

    /// Checks the content, and that `key` made the signature.
    ///
    /// The caller finds the key: an agent's update is signed with the key the agent had before it, an
    /// asset's operations with its controller's.
    pub fn verify_with(&self, key: &PublicKey) -> Result<(), Invalid> {
        self.verify_content()?;
        self.verify_signature(key)
    }

    /// The key that the operation gives its DID: `publicJwk` of an agent's create, the first
    /// verification method of an update's document. `None` where there is none, as in operations
    /// on assets.
    pub fn public_key(&self) -> Result<Option<PublicKey>, Invalid> {
        self.jwk().map(PublicKey::from_value).transpose()
    }

    fn verify_signature(&self, key: &PublicKey) -> Result<(), Invalid> {
        let mut compact = [0; 64];
        self.signature_value()
            .and_then(|value| hex::decode_to_slice(value, &mut compact).ok())
            .ok_or(Invalid::SignatureValue)?;
        let signature = Signature::from_slice(&compact).map_err(|_| Invalid::SignatureValue)?;
        if signature.normalize_s() != signature {
            return Err(Invalid::HighS);
        }
        key.0
            .verify_prehash(self.id().as_bytes(), &signature)
            .map_err(|_| Invalid::SignatureMismatch)
    }
}
