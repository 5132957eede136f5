//! An operation's id and claimed time, read from its signature; and the dates they accept.

mod date;

use sync_core::{OpId, Ts};

use crate::Invalid;
use crate::canonical::Value;
pub use date::parse_date;

/// 2024-01-01T00:00:00Z in seconds since 1970. No operation is older; an earlier claim counts as
/// this one.
pub const MDIP_EPOCH: u64 = 1_704_067_200;

/// The id and the time that `signature` claims. Checked in the order of the deployed system, so
/// that a record with several faults is counted under the same one.
pub(crate) fn key(signature: Option<&Value>) -> Result<(OpId, Ts), Invalid> {
    let signature = signature
        .filter(|value| is_true(value))
        .ok_or(Invalid::MissingSignature)?;
    let id = match signature.get("hash").filter(|value| !is_missing(value)) {
        None => return Err(Invalid::MissingSignatureHash),
        Some(Value::String(text)) => text
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or(Invalid::SignatureHashFormat)?,
        Some(_) => return Err(Invalid::SignatureHashType),
    };
    let ts = match signature.get("signed").filter(|value| !is_missing(value)) {
        None => return Err(Invalid::MissingSignatureSigned),
        Some(Value::String(text)) => text
            .as_str()
            .and_then(parse_date)
            .and_then(ts)
            .ok_or(Invalid::SignatureSignedValue)?,
        Some(_) => return Err(Invalid::SignatureSignedType),
    };
    Ok((id, ts))
}

/// Whole seconds, rounded down, not before [`MDIP_EPOCH`].
fn ts(milliseconds: i64) -> Option<Ts> {
    let seconds = u64::try_from(milliseconds.div_euclid(1000)).unwrap_or(0);
    Ts::new(seconds.max(MDIP_EPOCH))
}

/// What JavaScript takes for true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => *number != 0.0,
        Value::String(text) => text.as_str() != Some(""),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn is_missing(value: &Value) -> bool {
    *value == Value::Null || value.as_str() == Some("")
}

#[cfg(test)]
mod tests;
