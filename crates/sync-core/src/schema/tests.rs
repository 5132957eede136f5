use super::*;

const ALL: [Migration; 2] = [
    Migration {
        version: 1,
        name: "init",
        text: "one",
    },
    Migration {
        version: 2,
        name: "more",
        text: "two",
    },
];

fn recorded(migrations: &[Migration]) -> Vec<Recorded> {
    let record = |migration: &Migration| Recorded {
        version: migration.version,
        checksum: migration.checksum(),
    };
    migrations.iter().map(record).collect()
}

fn missing(contents: Contents, history: &[Recorded]) -> Vec<u32> {
    let missing = decide(contents, history, &ALL).unwrap();
    missing.iter().map(|migration| migration.version).collect()
}

#[test]
fn an_empty_database_needs_all_and_an_older_one_the_rest() {
    let [first, _] = ALL;
    assert_eq!(missing(Contents::Empty, &[]), [1, 2]);
    assert_eq!(
        missing(Contents::Ours { version: 1 }, &recorded(&[first])),
        [2]
    );
    assert!(missing(Contents::Ours { version: 2 }, &recorded(&ALL)).is_empty());
}

#[test]
fn a_newer_schema_and_a_foreign_one_are_refused() {
    let newer = decide(Contents::Ours { version: 3 }, &recorded(&ALL), &ALL).unwrap_err();
    assert_eq!(
        *newer.kind(),
        ErrorKind::SchemaMismatch {
            found: 3,
            supported: 2
        }
    );
    let foreign = decide(Contents::Foreign, &[], &ALL).unwrap_err();
    assert_eq!(*foreign.kind(), ErrorKind::Foreign);
}

#[test]
fn an_applied_migration_that_is_not_recorded_or_differs_is_damage() {
    let ours = Contents::Ours { version: 1 };
    let unrecorded = decide(ours, &[], &ALL).unwrap_err();
    assert_eq!(*unrecorded.kind(), ErrorKind::Corrupt);
    let mut history = recorded(&ALL);
    history.swap(0, 1);
    if let Some(first) = history.last_mut() {
        first.checksum = String::new();
    }
    let differs = decide(ours, &history, &ALL).unwrap_err();
    assert_eq!(*differs.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_connection_needs_exactly_the_supported_version() {
    assert!(require(Contents::Ours { version: 2 }, &ALL).is_ok());
    for (contents, found) in [
        (Contents::Empty, 0),
        (Contents::Ours { version: 1 }, 1),
        (Contents::Ours { version: 3 }, 3),
    ] {
        let refused = require(contents, &ALL).unwrap_err();
        let expected = ErrorKind::SchemaMismatch {
            found,
            supported: 2,
        };
        assert_eq!(*refused.kind(), expected);
    }
}
