//! The hash that an operation claims for itself.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What a JSON text turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Not one JSON object.
    NotAnObject,
    /// An object without a text at `signature.hash`.
    Nothing,
    /// The text at `signature.hash`.
    Hash(String),
}

/// Reads `signature.hash` as JavaScript does: of repeated keys the last holds.
///
/// All other values are skipped, not read. What JavaScript reads and Rust's types do not hold (a
/// lone surrogate, a number past the largest double, nesting of any depth) is therefore no fault.
pub(crate) fn claimed_hash(json: &str) -> Claim {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = deserializer
        .deserialize_map(TextAt(&["signature", "hash"]))
        .and_then(|hash| deserializer.end().map(|()| hash));
    match read {
        Ok(Some(hash)) => Claim::Hash(hash),
        Ok(None) => Claim::Nothing,
        Err(_) => Claim::NotAnObject,
    }
}

/// Finds the text at a path of keys.
struct TextAt<'p>(&'p [&'static str]);

impl<'de> DeserializeSeed<'de> for TextAt<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextAt<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.split_first() {
                Some((wanted, rest)) if key == *wanted => {
                    found = map.next_value_seed(TextAt(rest))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str) -> Claim {
        Claim::Hash(text.to_owned())
    }

    #[test]
    fn the_hash_is_found_as_javascript_finds_it() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (json, expected) in [
            (r#"{"signature":{"hash":"ab"}}"#, hash("ab")),
            (
                r#" {"a":1,"signature":{"x":2,"hash":"A\u0062"}} "#,
                hash("Ab"),
            ),
            (r#"{"signature":{"hash":"ab","hash":"cd"}}"#, hash("cd")),
            (
                r#"{"signature":{"hash":"ab"},"signature":{"hash":"cd"}}"#,
                hash("cd"),
            ),
            (
                r#"{"signature":{"hash":"ab"},"signature":{}}"#,
                Claim::Nothing,
            ),
            (r#"{"hash":"ab"}"#, Claim::Nothing),
            (r#"{"signature":{"hash":{"hash":"ab"}}}"#, Claim::Nothing),
            (r#"{"signature":[{"hash":"ab"}]}"#, Claim::Nothing),
            (r#"{"signature":"ab"}"#, Claim::Nothing),
            (r#"{"signature":null}"#, Claim::Nothing),
            (r#"{"signature":{"hash":1}}"#, Claim::Nothing),
            (r#"{"signature":{"hash":-1}}"#, Claim::Nothing),
            (r#"{"signature":{"hash":1.5}}"#, Claim::Nothing),
            (r#"{"signature":{"hash":true}}"#, Claim::Nothing),
            ("{}", Claim::Nothing),
            ("[]", Claim::NotAnObject),
            (r#""signature""#, Claim::NotAnObject),
            ("null", Claim::NotAnObject),
            ("", Claim::NotAnObject),
            (r#"{"signature":{"hash":"ab"}} x"#, Claim::NotAnObject),
            (r#"{"signature":{"hash":"ab"}"#, Claim::NotAnObject),
            (
                r#"{"data":["\ud800",1e999,123456789012345678901234567890],"signature":{"hash":"ab"}}"#,
                hash("ab"),
            ),
            (
                &format!(r#"{{"data":{deep},"signature":{{"hash":"ab"}}}}"#),
                hash("ab"),
            ),
        ] {
            let cut = json.get(..80).unwrap_or(json);
            assert_eq!(claimed_hash(json), expected, "{cut}");
        }
    }
}
