//! Which node of a cluster has which keys.

use redis::Value;

use crate::config::Address;

/// The number of slots of every cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a hash tag: CRC-16/XMODEM, as the cluster's specification says.
pub(crate) fn slot(tag: &[u8]) -> u16 {
    let mut crc: u16 = 0;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

/// A run of slots and the primary that has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) primary: Address,
}

/// Reads the answer to `CLUSTER SLOTS`. A node without a name is the one that was asked.
pub(crate) fn ranges(answer: Value, asked: &Address) -> Vec<Range> {
    let Value::Array(ranges) = answer else {
        return Vec::new();
    };
    ranges
        .into_iter()
        .filter_map(|range| {
            let Value::Array(parts) = range else {
                return None;
            };
            let mut parts = parts.into_iter();
            let (Some(Value::Int(first)), Some(Value::Int(last)), Some(Value::Array(node))) =
                (parts.next(), parts.next(), parts.next())
            else {
                return None;
            };
            let mut node = node.into_iter();
            let (host, Some(Value::Int(port))) = (node.next(), node.next()) else {
                return None;
            };
            let host = match host {
                Some(Value::BulkString(host)) if !host.is_empty() && host != b"?" => {
                    String::from_utf8(host).ok()?
                }
                _ => asked.host.clone(),
            };
            Some(Range {
                first: u16::try_from(first).ok()?,
                last: u16::try_from(last).ok()?,
                primary: Address {
                    host,
                    port: u16::try_from(port).ok()?,
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_one_of_the_specification() {
        // The check value of CRC-16/XMODEM, and two keys whose slots its documentation names.
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"somekey"), 11_058);
    }

    #[test]
    fn a_node_without_a_name_is_the_one_that_was_asked() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let range = |first, last, node| {
            Value::Array(vec![Value::Int(first), Value::Int(last), node, Value::Nil])
        };
        let asked = Address {
            host: "seed".to_owned(),
            port: 1,
        };
        let found = ranges(
            Value::Array(vec![
                range(0, 5, node(text("a"), 7)),
                range(6, 9, node(Value::Nil, 8)),
                range(10, 11, node(text(""), 9)),
                Value::Nil,
            ]),
            &asked,
        );
        let found: Vec<_> = found
            .iter()
            .map(|range| (range.first, range.last, range.primary.to_string()))
            .collect();
        let expected = [(0, 5, "a:7"), (6, 9, "seed:8"), (10, 11, "seed:9")];
        assert_eq!(found, expected.map(|(a, b, c)| (a, b, c.to_owned())));
    }
}
