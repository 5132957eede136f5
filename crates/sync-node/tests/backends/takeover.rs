//! A mediator's databases become a space of the program.

use std::time::{Duration, Instant};

use pollster::block_on;
use serde_json::Value;
use sync_store::postgres::tokio_postgres::SimpleQueryMessage;
use sync_store::postgres_config;
use sync_tests::databases::Database;
use sync_tests::mediator::{Schema, Server, odd_rows, rows, write_file};

use crate::node::{self, Node};

/// What the tests do on the server behind the program's back.
fn server() -> Server {
    let url = std::env::var("SYNC_TEST_POSTGRES_URL").unwrap();
    let client = block_on(postgres_config(&url).unwrap().client()).unwrap();
    Box::new(move |text| {
        let answers = block_on(client.simple_query(text)).unwrap();
        let first = |answer: &SimpleQueryMessage| match answer {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        answers.iter().filter_map(first).collect()
    })
}

#[test]
fn a_mediators_tables_in_postgresql_are_taken_over_and_stay_as_they_are() {
    let sound = rows(1, 100);
    let old = Schema::new(server(), &[sound.clone(), odd_rows(&sound)].concat());
    let before = old.contents();
    let databases = Database::of_every_process();
    let node = Node::on(&databases[0]);
    let taken = node.run(&["take-over", &old.url(), "--json"]).ok();
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(
        (&taken["rows"], &taken["taken"]),
        (&105.into(), &100.into())
    );
    assert_eq!(taken["refused"].as_array().unwrap().len(), 5);
    assert_eq!(taken["stateKeys"].as_array().unwrap().len(), 6);
    node.run(&["verify"]).ok();
    assert!(old.contents() == before, "the old tables were written to");

    // Where no schema is named it is that of the mediator.
    let public = old
        .url()
        .replace(&format!("schema={}", old.name()), "sslmode=prefer");
    let failed = node.run(&["take-over", &public]);
    assert_eq!(failed.code(), Some(1), "{failed:?}");
    assert!(failed.err().contains("\"public\""), "{failed:?}");
    let pooled = format!("{}&pool_size=1", old.url());
    let failed = node::bare(&["take-over", &pooled, "--store", "memory:"]);
    assert_eq!(failed.code(), Some(2), "{failed:?}");
    assert!(
        failed.err().contains("the options of FROM are schema"),
        "{failed:?}"
    );
}

#[test]
fn a_takeover_that_is_killed_and_resumed_ends_as_the_same_dump_in_every_database() {
    let sound = rows(2, 3_000);
    let input = [odd_rows(&sound), sound].concat();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("operations.db");
    write_file(&file, &input);
    let bytes = std::fs::read(&file).unwrap();
    let tables = Schema::new(server(), &input);
    let contents = tables.contents();
    let mut random = fastrand::Rng::with_seed(1);
    for from in [format!("sqlite:{}", file.display()), tables.url()] {
        let databases = Database::of_every_process();
        let whole = Database::of_every_process();
        let begun = Instant::now();
        Node::on(&whole[0]).run(&["take-over", &from]).ok();
        let takes = begun.elapsed();
        let dump = |database| {
            let dump = Node::on(database).run(&["dump", "--all"]).ok();
            // The header says where a dump is from.
            dump.split_once('\n').unwrap().1.to_owned()
        };
        let expected = dump(&whole[0]);
        for database in &databases {
            let node = Node::on(database);
            let mut places = Vec::new();
            for _ in 0..4 {
                // Random moments are the point of the test.
                let part = random.u32(10..=90);
                let moment = Duration::min(takes * part / 100, Duration::from_secs(20));
                node.killed_after(&["take-over", &from], moment);
                let verified = node.run(&["verify", "--json"]).ok();
                let verified: Value = serde_json::from_str(&verified).unwrap();
                places.push(verified["rows"].as_u64().unwrap());
            }
            node.run(&["take-over", &from]).ok();
            println!("{}: {places:?} rows after the kills", database.name());
            assert!(places.is_sorted(), "{}: {places:?}", database.name());
            assert!(dump(database) == expected, "{} differs", database.name());
        }
    }
    assert!(
        std::fs::read(&file).unwrap() == bytes,
        "the file was written to"
    );
    assert!(tables.contents() == contents, "the tables were written to");
}
