//! Names, ids and cursors as their text; positions as numbers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::{
    Epoch, FeedCursor, OpId, OrderKey, Seq, SpaceName, StateKey, SyncOrder, TimeKey,
    TombstoneReason, Ts,
};

macro_rules! text {
    ($($name:ty: $expected:literal),* $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text! {
    OpId: "64 hexadecimal digits",
    Epoch: "32 hexadecimal digits",
    SpaceName: "the name of a space",
    StateKey: "a state key",
    FeedCursor: "EPOCH:FLOOR:SEQ or beginning",
    TimeKey: "TS:ID",
    OrderKey: "SYNC_ORDER:ID",
    TombstoneReason: "removed, rejected or operator",
}

macro_rules! number {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.value())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = u64::deserialize(deserializer)?;
                Self::try_from(value).map_err(D::Error::custom)
            }
        }
    )*};
}

number!(Seq, SyncOrder, Ts);

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;
    use crate::{Pruned, Stats};

    #[test]
    fn names_are_text_and_positions_are_numbers() {
        let id = OpId::new([0xab; 32]);
        assert_eq!(to_string(&id).unwrap(), format!("\"{id}\""));
        assert_eq!(from_str::<OpId>(&format!("\"{id}\"")).unwrap(), id);
        assert_eq!(to_string(&Seq::MAX).unwrap(), "9007199254740991");
        assert!(from_str::<Seq>("9007199254740992").is_err());
        assert!(from_str::<SpaceName>("\"A\"").is_err());
        assert!(from_str::<OpId>("5").is_err());
    }

    #[test]
    fn reports_survive_their_json() {
        let stats = Stats {
            epoch: Some(Epoch::new([1; 16])),
            total: 3,
            ordered: 2,
            tombstones: 1,
            head: Seq::new(9).unwrap(),
            floor: Seq::ZERO,
        };
        let json = to_string(&stats).unwrap();
        assert!(json.contains("\"head\":9"), "{json}");
        assert_eq!(from_str::<Stats>(&json).unwrap(), stats);
        let pruned = Pruned {
            floor: Seq::ZERO,
            dropped: 4,
        };
        let json = to_string(&pruned).unwrap();
        assert_eq!(json, "{\"floor\":0,\"dropped\":4}");
    }
}
