use std::fmt;

use crate::Error;

/// The highest position every backend, JSON and JavaScript hold exactly: 2^53 - 1.
const HIGHEST: u64 = (1 << 53) - 1;

macro_rules! position {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Position 0, the lowest.
            pub const ZERO: Self = Self(0);
            /// The highest position, 2^53 - 1.
            pub const MAX: Self = Self(HIGHEST);

            /// The position `value`, or `None` above [`Self::MAX`].
            pub const fn new(value: u64) -> Option<Self> {
                if value <= HIGHEST { Some(Self(value)) } else { None }
            }

            /// The position as a number.
            pub const fn value(self) -> u64 {
                self.0
            }

            /// The position as the signed 64-bit integer that databases store. Never negative.
            #[expect(clippy::cast_possible_wrap, reason = "2^53 - 1 at most")]
            pub const fn as_i64(self) -> i64 {
                self.0 as i64
            }

            /// The next position, or `None` after [`Self::MAX`].
            pub const fn next(self) -> Option<Self> {
                Self::new(self.0 + 1)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = Error;

            fn try_from(value: u64) -> Result<Self, Error> {
                Self::new(value).ok_or_else(|| out_of_range($what, &value))
            }
        }

        impl TryFrom<i64> for $name {
            type Error = Error;

            fn try_from(value: i64) -> Result<Self, Error> {
                u64::try_from(value)
                    .ok()
                    .and_then(Self::new)
                    .ok_or_else(|| out_of_range($what, &value))
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                plain
                    .then(|| text.parse().ok().and_then(Self::new))
                    .flatten()
                    .ok_or_else(|| out_of_range($what, &text.escape_debug()))
            }
        }

        impl From<$name> for u64 {
            fn from(position: $name) -> Self {
                position.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

position! {
    /// The time an operation claims for itself, in whole seconds since 1970-01-01T00:00:00Z.
    ///
    /// 0..=2^53-1. Nothing promises that it is true, or that it rises.
    Ts, "ts"
}

position! {
    /// A position in the upstream index's order of acceptance.
    ///
    /// 0..=2^53-1. Comparable only between operations of one source.
    SyncOrder, "sync order"
}

position! {
    /// A position in this store's own history, minted by the transaction that writes.
    ///
    /// 0..=2^53-1; the first one minted is 1. Never comparable between two stores.
    Seq, "seq"
}

fn out_of_range(what: &'static str, value: &dyn fmt::Display) -> Error {
    Error::invalid(
        what,
        format!("{value} is not a whole number in 0..=9007199254740991"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn positions_reach_2_to_the_53_minus_1_and_refuse_one_more() {
        assert_eq!(Ts::try_from(HIGHEST).unwrap(), Ts::MAX);
        assert_eq!(Seq::new(HIGHEST + 1), None);
        assert_eq!(Seq::MAX.next(), None);
        for error in [
            SyncOrder::try_from(HIGHEST + 1).unwrap_err(),
            SyncOrder::try_from(-1_i64).unwrap_err(),
            "9007199254740992".parse::<SyncOrder>().unwrap_err(),
            "+1".parse::<SyncOrder>().unwrap_err(),
            "".parse::<SyncOrder>().unwrap_err(),
        ] {
            assert!(
                matches!(error.kind(), ErrorKind::InvalidInput { what: "sync order" }),
                "{error}"
            );
        }
    }
}
