use std::fmt;

use crate::JsonError;

/// Why a record is not an operation, or not the one it claims to be.
///
/// [`code`](Self::code) is the stable name under which a failure is counted. The first seven are
/// those of the deployed system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// `missing_signature`: there is no `signature`, or it is `null`, `false`, `0` or empty.
    MissingSignature,
    /// `missing_signature_hash`: `signature.hash` is absent, `null` or empty.
    MissingSignatureHash,
    /// `invalid_signature_hash_type`: `signature.hash` is not a string.
    SignatureHashType,
    /// `invalid_signature_hash_format`: `signature.hash` is not 64 hexadecimal digits.
    SignatureHashFormat,
    /// `missing_signature_signed`: `signature.signed` is absent, `null` or empty.
    MissingSignatureSigned,
    /// `invalid_signature_signed_type`: `signature.signed` is not a string.
    SignatureSignedType,
    /// `invalid_signature_signed_value`: `signature.signed` is no date that
    /// [`parse_date`](crate::key::parse_date) reads.
    SignatureSignedValue,
    /// The bytes have no canonical form; the code is [`JsonError::code`].
    Json(JsonError),
    /// `not_an_object`: the record is JSON, but not an object.
    NotAnObject,
    /// `too_large`: the canonical form exceeds
    /// [1 MiB](sync_core::limits::PAYLOAD_BYTES).
    TooLarge,
    /// `invalid_type`: `type` is not `create`, `update` or `delete`.
    Type,
    /// `invalid_did`: an update or delete whose `did` is not a string that starts with `did:` and
    /// has 1..=256 bytes after its last colon.
    Did,
    /// `hash_mismatch`: `signature.hash` is not the hash of the content.
    HashMismatch,
    /// `invalid_signature_value`: `signature.value` is not 128 hexadecimal digits that are a pair
    /// of numbers in the range of the curve.
    SignatureValue,
    /// `signature_high_s`: the signature is the second form of another one, which can be
    /// made without the key.
    HighS,
    /// `invalid_key_format`: the key is not a JSON Web Key of secp256k1 with coordinates of 32
    /// bytes each.
    KeyFormat,
    /// `invalid_key_point`: the key's coordinates are not a point of the curve.
    KeyPoint,
    /// `signature_mismatch`: the key did not make this signature.
    SignatureMismatch,
}

impl Invalid {
    /// The stable name under which failures are counted.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MissingSignature => "missing_signature",
            Self::MissingSignatureHash => "missing_signature_hash",
            Self::SignatureHashType => "invalid_signature_hash_type",
            Self::SignatureHashFormat => "invalid_signature_hash_format",
            Self::MissingSignatureSigned => "missing_signature_signed",
            Self::SignatureSignedType => "invalid_signature_signed_type",
            Self::SignatureSignedValue => "invalid_signature_signed_value",
            Self::Json(error) => error.code(),
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::Type => "invalid_type",
            Self::Did => "invalid_did",
            Self::HashMismatch => "hash_mismatch",
            Self::SignatureValue => "invalid_signature_value",
            Self::HighS => "signature_high_s",
            Self::KeyFormat => "invalid_key_format",
            Self::KeyPoint => "invalid_key_point",
            Self::SignatureMismatch => "signature_mismatch",
        }
    }
}

impl From<JsonError> for Invalid {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MissingSignature => "there is no signature",
            Self::MissingSignatureHash => "there is no signature.hash",
            Self::SignatureHashType => "signature.hash is not a string",
            Self::SignatureHashFormat => "signature.hash is not 64 hexadecimal digits",
            Self::MissingSignatureSigned => "there is no signature.signed",
            Self::SignatureSignedType => "signature.signed is not a string",
            Self::SignatureSignedValue => "signature.signed is not a date",
            Self::Json(_) => "the record has no canonical form",
            Self::NotAnObject => "the record is not an object",
            Self::TooLarge => "the canonical form is too large",
            Self::Type => "type is not create, update or delete",
            Self::Did => "did is not a DID",
            Self::HashMismatch => "signature.hash is not the hash of the content",
            Self::SignatureValue => "signature.value is not a signature",
            Self::HighS => "signature.value is not in its lower form",
            Self::KeyFormat => "the key is not a JSON Web Key of secp256k1",
            Self::KeyPoint => "the key is not a point of the curve",
            Self::SignatureMismatch => "the signature is not by this key",
        })
    }
}

impl std::error::Error for Invalid {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            _ => None,
        }
    }
}
