use std::fmt;
use std::str::FromStr;

use crate::{Epoch, Error, OpId, Result, Seq, SyncOrder, Ts};

/// Where a reader of the [feed](crate::SyncStore::feed) stands.
///
/// Its text form (`Display`, `FromStr`) is what a reader keeps between runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FeedCursor {
    /// Before the first entry of whatever history there is. Always accepted.
    #[default]
    Beginning,
    /// After the entry `seq` of `epoch`.
    After {
        /// The history the cursor belongs to.
        epoch: Epoch,
        /// The floor when the reader began: what was pruned before cannot have been missed.
        floor: Seq,
        /// The newest seq the reader has seen.
        seq: Seq,
    },
}

/// A place in the order of [`scan_time`](crate::SyncStore::scan_time): by ts, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeKey {
    /// The claimed time.
    pub ts: Ts,
    /// The id; compared as unsigned bytes.
    pub id: OpId,
}

/// A place in the order of [`scan_order`](crate::SyncStore::scan_order): by sync order, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// The sync order.
    pub sync_order: SyncOrder,
    /// The id; compared as unsigned bytes.
    pub id: OpId,
}

impl FeedCursor {
    /// The newest seq the reader has seen; 0 at the beginning.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Beginning => Seq::ZERO,
            Self::After { seq, .. } => *seq,
        }
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::After { epoch, floor, seq } => write!(f, "{epoch}:{floor}:{seq}"),
        }
    }
}

impl FromStr for FeedCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "beginning" {
            return Ok(Self::Beginning);
        }
        let mut parts = text.split(':');
        let (Some(epoch), Some(floor), Some(seq), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::invalid(
                "feed cursor",
                "expected EPOCH:FLOOR:SEQ or beginning".into(),
            ));
        };
        Ok(Self::After {
            epoch: epoch.parse()?,
            floor: floor.parse()?,
            seq: seq.parse()?,
        })
    }
}

impl fmt::Display for TimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ts, self.id)
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sync_order, self.id)
    }
}

/// Reads `TS:ID`.
impl FromStr for TimeKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (ts, id) = halves("time key", text)?;
        Ok(Self {
            ts: ts.parse()?,
            id: id.parse()?,
        })
    }
}

/// Reads `SYNC_ORDER:ID`.
impl FromStr for OrderKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (sync_order, id) = halves("order key", text)?;
        Ok(Self {
            sync_order: sync_order.parse()?,
            id: id.parse()?,
        })
    }
}

fn halves<'t>(what: &'static str, text: &'t str) -> Result<(&'t str, &'t str)> {
    text.split_once(':')
        .ok_or_else(|| Error::invalid(what, "expected NUMBER:ID".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_form() {
        let id = OpId::new([0xcd; 32]);
        let time = TimeKey { ts: Ts::MAX, id };
        assert_eq!(time.to_string().parse::<TimeKey>().unwrap(), time);
        let order = OrderKey {
            sync_order: SyncOrder::ZERO,
            id,
        };
        assert_eq!(order.to_string().parse::<OrderKey>().unwrap(), order);
        for bad in ["", "1", "1:", ":ab", "1:ab"] {
            assert!(bad.parse::<TimeKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cursor_survives_its_text_form() {
        let cursor = FeedCursor::After {
            epoch: Epoch::new([0xab; 16]),
            floor: Seq::new(3).unwrap(),
            seq: Seq::MAX,
        };
        assert_eq!(cursor.to_string().parse::<FeedCursor>().unwrap(), cursor);
        assert_eq!(
            "beginning".parse::<FeedCursor>().unwrap(),
            FeedCursor::Beginning
        );
        for bad in ["", "x", "00:1", &format!("{}:1:2:3", Epoch::new([0; 16]))] {
            assert!(bad.parse::<FeedCursor>().is_err(), "{bad:?}");
        }
    }
}
