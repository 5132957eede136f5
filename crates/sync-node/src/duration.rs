use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// A length of time in whole seconds, written with a unit: `45s`, `30m`, `12h`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) u64);

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "wanted is a whole number with a unit: 45s, 30m, 12h, 90d";
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u64 = text
            .strip_suffix(unit)
            .and_then(|digits| digits.parse().ok())
            .ok_or(WANTED)?;
        UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .and_then(|(_, seconds)| number.checked_mul(*seconds))
            .map(Self)
            .ok_or(WANTED)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// In the largest unit that divides it.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |seconds: u64| self.0 != 0 && self.0.is_multiple_of(seconds);
        let unit = UNITS.iter().rev().find(|(_, seconds)| fits(*seconds));
        let (name, seconds) = unit.unwrap_or(&("s", 1));
        write!(f, "{}{name}", self.0 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit_and_prints_as_one() {
        for (text, seconds, shown) in [
            ("0s", 0, "0s"),
            ("0d", 0, "0s"),
            ("45s", 45, "45s"),
            ("60s", 60, "1m"),
            ("12h", 43_200, "12h"),
            ("90d", 7_776_000, "90d"),
        ] {
            let read: Seconds = text.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (Seconds(seconds), shown));
        }
        for bad in [
            "",
            "d",
            "90",
            "+1d",
            "-1d",
            "1.5d",
            "1w",
            "1 d",
            "999999999999999999d",
        ] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
        }
    }
}
