//! What is left out, and how a report names it.

use pollster::block_on;
use sync_core::{StateKey, SyncState, SyncStore, SyncStoreExt};
use sync_sqlite::RefusedReason::{
    self, BadHash, BadId, BadJson, BadKey, BadOrder, BadTs, BadValue, Duplicate, RejectedUpstream,
    TooLarge,
};
use sync_sqlite::rusqlite::types::Value;
use sync_sqlite::rusqlite::{Connection, params};

use crate::deployed::{self, Old, STATE};
use crate::{SENTINEL, WAYS, open, takeover};

/// Rows, and why each is not taken, where it is not.
fn table() -> Vec<(Old, Option<RefusedReason>)> {
    let sound = |n: u64| {
        let id = deployed::id(n);
        Old::new(&id, Some(n.cast_signed()), 5, deployed::json(&id, n))
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let with_id = |n, id: Value| Old { id, ..sound(n) };
    let with_order = |n, order: Value| Old { order, ..sound(n) };
    let with_ts = |n, ts: Value| Old { ts, ..sound(n) };
    let with_json = |n, json: &str| Old {
        json: text(json),
        ..sound(n)
    };
    let of_size = |n, size: usize| {
        let head = format!(r#"{{"signature":{{"hash":"{}"}},"data":""#, deployed::id(n));
        let data = "x".repeat(size - head.len() - 2);
        with_json(n, &format!("{head}{data}\"}}"))
    };
    let limit = 1 << 20;
    vec![
        (with_order(1, SENTINEL.into()), Some(RejectedUpstream)),
        (with_id(2, text("")), Some(BadId)),
        (
            with_id(3, text(&format!("{}0", deployed::id(3)))),
            Some(BadId),
        ),
        (with_id(4, text(&"zz".repeat(32))), Some(BadId)),
        (with_id(5, text(&"long ".repeat(1 << 20))), Some(BadId)),
        (with_id(6, Value::Null), Some(BadId)),
        (with_id(7, Value::Blob(vec![7; 64])), Some(BadId)),
        (with_ts(8, (-1).into()), Some(BadTs)),
        (with_ts(9, (SENTINEL + 1).into()), Some(BadTs)),
        (with_ts(10, Value::Real(1.5)), Some(BadTs)),
        (with_ts(11, text("yesterday")), Some(BadTs)),
        (with_order(12, (-1).into()), Some(BadOrder)),
        (with_order(13, (SENTINEL + 1).into()), Some(BadOrder)),
        (with_order(14, Value::Real(0.5)), Some(BadOrder)),
        (with_order(15, text("first")), Some(BadOrder)),
        (with_json(16, ""), Some(BadJson)),
        (with_json(17, "[]"), Some(BadJson)),
        (with_json(18, "{\"signature\":"), Some(BadJson)),
        (
            Old {
                json: Value::Blob(b"{}".to_vec()),
                ..sound(19)
            },
            Some(BadJson),
        ),
        (with_json(20, "{}"), Some(BadHash)),
        (
            with_json(21, &deployed::json(&deployed::id(22), 0)),
            Some(BadHash),
        ),
        (of_size(23, limit + 1), Some(TooLarge { bytes: limit + 1 })),
        (of_size(24, limit), None),
        // Its order is above that of the same id in small letters, which is therefore taken.
        (
            Old {
                order: 31.into(),
                ..with_id(30, text(&deployed::id(30).to_uppercase()))
            },
            Some(Duplicate),
        ),
        (sound(30), None),
        (with_id(36, text(&deployed::id(36).to_uppercase())), None),
        (with_order(32, 0.into()), None),
        (with_order(33, (SENTINEL - 1).into()), None),
        (with_ts(34, SENTINEL.into()), None),
        (with_ts(35, 0.into()), None),
    ]
}

#[test]
fn every_row_that_cannot_be_taken_is_listed_with_its_reason() {
    let table = table();
    let sound = table.iter().filter(|(_, reason)| reason.is_none()).count() as u64;
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("operations.db");
        let input: Vec<_> = table.iter().map(|(row, _)| row.clone()).collect();
        deployed::write(&old, &input);
        let (takeover, config) = takeover(way, &old);
        let report = block_on(takeover.run()).unwrap();
        // The rows were written in the table's order, so that a rowid tells which one is meant.
        for (rowid, (row, reason)) in (1..).zip(&table) {
            let refused = report
                .refused
                .iter()
                .find(|refused| refused.place == rowid.to_string());
            let found = refused.map(|refused| &refused.reason);
            assert_eq!(
                found,
                reason.as_ref(),
                "{way:?}: {:?}",
                (&row.order, &row.ts, rowid)
            );
        }
        assert_eq!(report.taken, sound, "{way:?}");
        for row in &report.refused {
            assert!(row.to_string().len() < 400, "{way:?}: {row}");
        }
        let store = open(&config);
        assert_eq!(block_on(store.stats()).unwrap().total, sound, "{way:?}");
        assert!(block_on(store.verify()).unwrap().is_clean(), "{way:?}");
    }
}

#[test]
fn state_that_cannot_be_taken_is_listed_and_the_rest_is_taken() {
    let limit = 64 << 10;
    let odd = [
        (Value::Null, "no key".to_owned()),
        (Value::Text(String::new()), "an empty key".to_owned()),
        (Value::Text("k".repeat(257)), "of a long key".to_owned()),
        (Value::Text("large".into()), "x".repeat(limit + 1)),
        (Value::Text("largest".into()), "x".repeat(limit)),
    ];
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("operations.db");
        deployed::write(&old, &[]);
        let connection = Connection::open(&old).unwrap();
        for (key, value) in &odd {
            let insert = "INSERT INTO sync_state VALUES (?1, ?2)";
            connection.execute(insert, params![key, value]).unwrap();
        }
        drop(connection);
        let (takeover, config) = takeover(way, &old);
        let report = block_on(takeover.run()).unwrap();
        let mut refused: Vec<_> = report
            .refused_state
            .iter()
            .map(|state| (state.bytes, state.reason.clone()))
            .collect();
        refused.sort_by_key(|(bytes, _)| *bytes);
        let wanted = [
            (6, BadKey),
            (12, BadKey),
            (13, BadKey),
            (limit + 1, BadValue),
        ];
        assert_eq!(refused, wanted, "{way:?}");
        assert_eq!(report.state_keys.len(), STATE.len() + 1, "{way:?}");
        let store = open(&config);
        let largest = block_on(store.load(&StateKey::new("largest").unwrap())).unwrap();
        assert_eq!(largest.unwrap().len(), limit, "{way:?}");
    }
}
