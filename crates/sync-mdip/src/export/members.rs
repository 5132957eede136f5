//! The few members of an object that matter, as raw JSON. Of equal keys the last one counts, as in
//! JavaScript.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use sync_core::SyncOrder;

/// The members called `names`, each where the object has it; `None` where `json` is no object.
///
/// The values are not parsed and may be nested to any depth.
pub(crate) fn members<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Option<[Option<&'a RawValue>; N]> {
    serde_json::Deserializer::from_str(json)
        .deserialize_map(Members(names))
        .ok()
}

struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(OneOf(&self.0))? {
            match index.and_then(|index| found.get_mut(index)) {
                Some(value) => *value = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Reads a key; the answer is its place among the names. Keys are read as bytes, because a key
/// may hold a lone surrogate.
pub(crate) struct OneOf<'n>(pub(crate) &'n [&'n str]);

impl<'de> DeserializeSeed<'de> for OneOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for OneOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| name.as_bytes() == key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.visit_bytes(key.as_bytes())
    }
}

/// The elements of an array; `None` where `json` is none.
pub(crate) fn elements(json: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(json.get()).ok()
}

/// A string without lone surrogates.
pub(crate) fn string(json: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(json?.get()).ok()
}

/// A position as JavaScript reads it, however it is spelt: `12`, `12.0`, `1.2e1`.
pub(crate) fn position(json: Option<&RawValue>) -> Option<SyncOrder> {
    let text = json?.get();
    // `f64` also reads `inf` and its like, which JSON does not have.
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number = text.parse::<f64>().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact")]
    let highest = SyncOrder::MAX.value() as f64;
    if number.fract() != 0.0 || !(0.0..=highest).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number in the range of positions"
    )]
    SyncOrder::new(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<const N: usize>(json: &str, names: [&str; N]) -> Option<[Option<String>; N]> {
        Some(members(json, names)?.map(|value| value.map(|value| value.get().to_owned())))
    }

    #[test]
    fn of_equal_keys_the_last_one_counts_however_they_are_spelt() {
        let json = r#"{"a": 1, "\u0061" : [ 2 ], "b":null, "\ud800": 3, "c": {"a": 4}}"#;
        assert_eq!(
            found(json, ["a", "b", "missing"]),
            Some([Some("[ 2 ]".into()), Some("null".into()), None])
        );
    }

    #[test]
    fn what_is_not_an_object_has_no_members() {
        for json in ["[]", "null", "1e400", "\"a\"", ""] {
            assert_eq!(found(json, ["a"]), None, "{json}");
        }
    }

    #[test]
    fn a_value_of_any_depth_and_any_number_is_passed_over() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let json = format!(r#"{{"x":{deep},"a":{deep},"y":1e400,"z":"\udfff"}}"#);
        assert_eq!(found(&json, ["a"]), Some([Some(deep)]));
    }

    #[test]
    fn a_position_is_what_javascript_takes_for_a_whole_number_in_range() {
        let read = |text: &str| {
            let raw = serde_json::from_str::<&RawValue>(text).unwrap();
            position(Some(raw)).map(SyncOrder::value)
        };
        for (text, expected) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("1.2e1", Some(12)),
            ("-0", Some(0)),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("1e400", None),
            ("-1", None),
            ("1.5", None),
            ("\"12\"", None),
            ("null", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
