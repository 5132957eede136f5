//! The request of the index export, with the rules and texts of the deployed Gatekeeper.

use std::fmt;

use serde_json::Value;

/// The rows or DIDs of a page without a limit.
const DEFAULT_LIMIT: usize = 500;
/// The most rows or DIDs of a page, even if more are requested.
const MAX_LIMIT: usize = 5000;

/// A request of the index export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// A page of the snapshot.
    Snapshot {
        /// Where the page before ended, and the checkpoint of the first page.
        after: Option<(String, String)>,
        /// DIDs, 1 to 5000.
        limit: usize,
    },
    /// A page of the change log.
    Changes {
        /// Where the page before ended, as it was sent.
        cursor: Option<String>,
        /// Rows, 1 to 5000.
        limit: usize,
        /// Whether the answer holds operations and removed operations.
        include_operations: bool,
    },
}

/// Why a request is refused, in the words of the deployed Gatekeeper. The HTTP status is 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Request {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let Ok(Value::Object(body)) = serde_json::from_slice(body) else {
            return Err(Refusal("request body must be an object".to_owned()));
        };
        let get = |name: &'static str| (name, body.get(name).unwrap_or(&Value::Null));
        match body.get("mode").and_then(Value::as_str) {
            Some("snapshot") => {
                let cursor = string(get("cursor"))?;
                let checkpoint = string(get("checkpointCursor"))?;
                let after = match (cursor, checkpoint) {
                    (Some(cursor), Some(checkpoint)) => Some((cursor, checkpoint)),
                    (None, None) => None,
                    (Some(_), None) => {
                        let text = "checkpointCursor is required when continuing a snapshot";
                        return Err(Refusal(text.to_owned()));
                    }
                    (None, Some(_)) => {
                        let text = "checkpointCursor is only valid when continuing a snapshot";
                        return Err(Refusal(text.to_owned()));
                    }
                };
                let limit = limit(get("limit"))?;
                Ok(Self::Snapshot { after, limit })
            }
            Some("changes") => Ok(Self::Changes {
                cursor: string(get("cursor"))?,
                limit: limit(get("limit"))?,
                include_operations: boolean(get("includeOperations"))?,
            }),
            _ => {
                let text = r#"mode must be "snapshot" or "changes""#;
                Err(Refusal(text.to_owned()))
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// An empty string counts as none.
fn string((name, value): (&str, &Value)) -> Result<Option<String>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(Refusal(format!("{name} must be a string or null"))),
    }
}

fn boolean((name, value): (&str, &Value)) -> Result<bool, Refusal> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err(Refusal(format!("{name} must be a boolean"))),
    }
}

fn limit((name, value): (&str, &Value)) -> Result<usize, Refusal> {
    let limit = match value {
        Value::Null => return Ok(DEFAULT_LIMIT),
        Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0),
        Value::String(text) => leading_integer(text),
        _ => None,
    };
    match limit {
        // The cap comes first, so that every number fits.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a whole number of 1 to 5000"
        )]
        Some(limit) if limit >= 1.0 => Ok(limit.min(MAX_LIMIT as f64) as usize),
        _ => Err(Refusal(format!("{name} must be a positive integer"))),
    }
}

/// What `parseInt` of JavaScript reads: the digits that a text begins with.
fn leading_integer(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    let value: f64 = digits.get(..end)?.parse().ok()?;
    Some(sign * value)
}

/// The position that a cursor of changes means: garbage and negative numbers are the beginning.
pub(super) fn position(cursor: Option<&str>) -> u64 {
    match cursor.and_then(leading_integer) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and what exceeds a u64 becomes its maximum"
        )]
        Some(position) if position > 0.0 => position as u64,
        _ => 0,
    }
}
