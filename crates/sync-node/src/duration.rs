use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// A length of time in whole seconds, written with units: `45s`, `30m`, `12h`, `90d`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seconds(pub(crate) u64);

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match humantime::parse_duration(text) {
            Ok(duration) if duration.subsec_nanos() == 0 => Ok(Self(duration.as_secs())),
            _ => Err("expected whole seconds with a unit: 45s, 30m, 12h, 90d"),
        }
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
    fn a_duration_is_whole_seconds_with_units_and_prints_with_one_unit() {
        for (text, seconds, shown) in [
            ("0s", 0, "0s"),
            ("0d", 0, "0s"),
            ("45s", 45, "45s"),
            ("60s", 60, "1m"),
            ("12h", 43_200, "12h"),
            ("90d", 7_776_000, "90d"),
            ("1w", 604_800, "7d"),
            ("1h 30m", 5_400, "90m"),
            ("3000ms", 3, "3s"),
            ("1.5d", 129_600, "36h"),
        ] {
            let read: Seconds = text.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (Seconds(seconds), shown));
        }
        for bad in ["", "d", "90", "+1d", "-1d", "1500ms", "999999999999999999d"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad:?}");
        }
    }
}
