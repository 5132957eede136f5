//! What is taken, and how a report names the rest.

use pollster::block_on;
use rusqlite::params;
use rusqlite::types::Value;
use sync_core::{StateKey, SyncStoreExt};
use sync_mdip::Invalid;
use sync_takeover::{OldValue, RefusedReason};
use sync_tests::mediator::{REJECTED, Row, STATE, odd_rows, rows};

use crate::{Old, done, expected, store, take_over, value, writer};

#[test]
fn rows_and_state_are_taken_as_hydration_would_store_them_and_the_file_stays_as_it_is() {
    let sound = rows(1, 1_300);
    let odd = odd_rows(&sound);
    let (head, tail) = sound.split_at(sound.len() / 2);
    let old = Old::new(&[&odd[..2], head, &odd[2..], tail].concat());
    let before = old.bytes();
    let store = store();
    let report = take_over(old.open(), &store).unwrap();

    let taken = expected(&sound);
    let ordered = taken.iter().filter(|row| row.sync_order.is_some()).count();
    assert_eq!((report.rows, report.skipped), (1_305, 0));
    assert_eq!((report.taken, report.present), (1_300, 0));
    assert_eq!((report.ordered, report.orders_left), (ordered as u64, 0));
    assert!(crate::rows(&store) == taken, "the rows differ");
    let reasons: Vec<_> = report.refused.iter().map(|row| &row.reason).collect();
    // In the order of the walk: by the order in the column, then by the time.
    assert_eq!(
        reasons,
        [
            &RefusedReason::BadId,
            &RefusedReason::BadHash,
            &RefusedReason::BadRecord(Invalid::NotAnObject),
            &RefusedReason::RejectedUpstream,
            &RefusedReason::BadTs,
        ]
    );
    let names: Vec<_> = report.state_keys.iter().map(StateKey::as_str).collect();
    assert_eq!(names, STATE.map(|(key, _)| key));
    for (key, expected) in STATE {
        assert_eq!(value(&store, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(report.refused_state, []);
    assert_eq!(done(&store), 1_305 + 6);
    assert!(block_on(store.verify()).unwrap().is_clean());
    assert!(old.bytes() == before, "the old file was written to");
}

#[test]
fn columns_of_other_types_are_named_as_they_were_found() {
    let sound = rows(2, 12);
    let with = |n: usize, change: &dyn Fn(&mut Row)| {
        let mut row = sound[n].clone();
        row.order = i64::try_from(n).unwrap().into();
        change(&mut row);
        row
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let long = "long".repeat(100);
    let input = [
        with(0, &|row| row.id = Value::Blob(vec![0xab; 64])),
        with(1, &|row| row.id = text(&long)),
        with(2, &|row| row.ts = Value::Real(1.5)),
        with(3, &|row| row.ts = text("soon")),
        with(4, &|row| row.order = Value::Real(1.5)),
        with(5, &|row| row.order = text("first")),
        with(6, &|row| row.json = Value::Blob(b"{}".to_vec())),
        with(7, &|row| row.order = (REJECTED + 1).into()),
        // Taken: the last order there is, the last time, and no order.
        with(8, &|row| row.order = (REJECTED - 1).into()),
        with(9, &|row| row.ts = REJECTED.into()),
        with(10, &|row| row.order = Value::Null),
        with(11, &|row| row.id = text(&Row::text(&row.id).to_uppercase())),
    ];
    let report = take_over(Old::new(&input).open(), &store()).unwrap();
    assert_eq!(report.taken, 4);
    let mut refused: Vec<_> = report
        .refused
        .iter()
        .map(|row| (row.place.parse::<i64>().unwrap(), row))
        .collect();
    refused.sort_by_key(|(place, _)| *place);
    let reasons = refused
        .iter()
        .map(|(place, row)| (*place, row.reason.clone()));
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            (1, RefusedReason::BadId),
            (2, RefusedReason::BadId),
            (3, RefusedReason::BadTs),
            (4, RefusedReason::BadTs),
            (5, RefusedReason::BadOrder),
            (6, RefusedReason::BadOrder),
            (7, RefusedReason::BadRecord(Invalid::NotAnObject)),
            (8, RefusedReason::BadOrder),
        ]
    );
    assert_eq!(refused[0].1.id, OldValue::Blob(64));
    assert_eq!(refused[1].1.id, OldValue::Text(long[..80].to_owned()));
    assert_eq!(refused[2].1.ts, OldValue::Real(1.5));
    assert_eq!(refused[5].1.sync_order, OldValue::Text("first".to_owned()));
    for (_, row) in refused {
        assert!(row.to_string().len() < 400, "{row}");
    }
}

#[test]
fn state_that_cannot_be_taken_is_named_and_the_rest_is_taken() {
    const LIMIT: usize = 64 << 10;
    let old = Old::new(&[]);
    let connection = writer(&old.path());
    for (key, value) in [
        (Value::Null, "no key".to_owned()),
        (Value::Text(String::new()), "an empty key".to_owned()),
        (Value::Text("k".repeat(257)), "of a long key".to_owned()),
        (
            Value::Text("k".repeat(256)),
            "of the longest key".to_owned(),
        ),
        (Value::Text("large".into()), "x".repeat(LIMIT + 1)),
        (Value::Text("largest".into()), "x".repeat(LIMIT)),
        (Value::Text("takeover.cursor".into()), "not ours".to_owned()),
    ] {
        let insert = "INSERT INTO sync_state VALUES (?1, ?2)";
        connection.execute(insert, params![key, value]).unwrap();
    }
    drop(connection);
    let store = store();
    let report = take_over(old.open(), &store).unwrap();
    let mut refused: Vec<_> = report
        .refused_state
        .iter()
        .map(|state| (state.bytes, state.reason.clone()))
        .collect();
    refused.sort_by_key(|(bytes, _)| *bytes);
    assert_eq!(
        refused,
        [
            (6, RefusedReason::BadKey),
            (8, RefusedReason::OtherValue),
            (12, RefusedReason::BadKey),
            (13, RefusedReason::BadKey),
            (LIMIT + 1, RefusedReason::BadValue),
        ]
    );
    assert_eq!(report.state_keys.len(), STATE.len() + 2);
    assert_eq!(value(&store, "largest").unwrap().len(), LIMIT);
    assert_eq!(done(&store), 13);
}

#[test]
fn more_state_than_one_page_may_change_is_taken() {
    let old = Old::new(&[]);
    let connection = writer(&old.path());
    connection
        .execute_batch(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
             INSERT INTO sync_state SELECT 'key ' || n, n FROM n",
        )
        .unwrap();
    let store = store();
    let report = take_over(old.open(), &store).unwrap();
    assert_eq!(report.state_keys.len(), 2_506);
    assert_eq!(value(&store, "key 2500").as_deref(), Some("2500"));
}

#[test]
fn an_empty_database_writes_nothing() {
    let old = Old::new(&[]);
    writer(&old.path())
        .execute_batch("DELETE FROM sync_state")
        .unwrap();
    let store = store();
    assert_eq!(take_over(old.open(), &store).unwrap().rows, 0);
    let stats = block_on(sync_core::SyncStore::stats(&store)).unwrap();
    assert_eq!(stats.epoch, None);
}
