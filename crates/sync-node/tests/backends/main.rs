//! The program on a database of every kind that several processes can open.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends in a panic"
)]

mod node;
mod takeover;

use std::path::Path;

use serde_json::Value;
use sync_tests::databases::Database;

use node::Node;

/// A capture of generated operations in `directory`, and what a run needs to read it.
fn captured(directory: &Path) -> String {
    let file = directory.join("capture.ndjson");
    let file = file.to_str().unwrap();
    let sizes = ["--operations", "600", "--seed", "5", "--output", file];
    node::bare(&[&["generate"], &sizes[..]].concat()).ok();
    file.to_owned()
}

/// The document without the values that differ between databases.
fn comparable(mut document: Value) -> Value {
    if let Some(members) = document.as_object_mut() {
        // A random epoch, the database itself, how long things took, and how much was swept.
        for own in [
            "epoch",
            "store",
            "seconds",
            "spent",
            "recordsPerSecond",
            "swept",
        ] {
            members.remove(own);
        }
        for (_, member) in members {
            *member = comparable(member.take());
        }
    } else if let Some(items) = document.as_array_mut() {
        for item in items {
            *item = comparable(item.take());
        }
    }
    document
}

#[test]
fn a_space_moves_through_every_database_and_its_dump_stays_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let capture = captured(directory.path());
    let databases = Database::of_every_process();
    let first = Node::on(&databases[0]);
    first.run(&["hydrate", "--from", &capture]).ok();
    let id = first.run(&["dump", "--keys"]).ok();
    let id: Value = serde_json::from_str(id.lines().next().unwrap()).unwrap();
    first.run(&["reject", id["id"].as_str().unwrap()]).ok();
    let dump = first.run(&["dump", "--all"]).ok();
    assert!(dump.contains("\"reason\":\"operator\"") && dump.contains("\"reason\":\"removed\""));

    let last = Database::of_every_process();
    let way = databases.iter().skip(1).chain(last.first());
    let mut moving = dump.clone();
    for database in way {
        let node = Node::on(database);
        node.feed(&["load"], &moving).ok();
        moving = node.run(&["dump", "--all"]).ok();
        // The header says where a dump is from; the second SQLite file has another space.
        let header = |text: &str| text.split_once('\n').unwrap().1.to_owned();
        assert!(
            header(&moving) == header(&dump),
            "through {}",
            database.name()
        );
        node.run(&["verify"]).ok();
        println!("{}: {} bytes", database.name(), moving.len());
    }
}

#[test]
fn every_command_says_the_same_on_every_database() {
    let directory = tempfile::tempdir().unwrap();
    let capture = captured(directory.path());
    let rows = {
        let databases = Database::of_every_process();
        let node = Node::on(&databases[0]);
        node.run(&["hydrate", "--from", &capture]).ok();
        node.run(&["dump"]).ok()
    };
    let (first, second) = rows.split_at(rows.match_indices('\n').nth(99).unwrap().0 + 1);
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().to_owned()
    };
    let (one, other) = (
        id(first.lines().next().unwrap()),
        id(first.lines().nth(1).unwrap()),
    );
    let script: &[(&[&str], &str)] = &[
        (&["status"], ""),
        (&["load"], first),
        (&["hydrate", "--from", &capture], ""),
        (&["reject", &one, &other], ""),
        (&["load"], second),
        (&["tombstones"], ""),
        (&["revive", &one], ""),
        (&["load"], first),
        (&["invalid"], ""),
        (&["verify"], ""),
        (&["status"], ""),
        (&["dump"], ""),
        (&["dump", "--order", "sync"], ""),
        (&["dump", "--order", "seq"], ""),
        (&["dump", "--keys"], ""),
        (&["dump", "--all"], ""),
        (&["prune", "--up-to", "400", "--yes"], ""),
        (&["dump", "--all"], ""),
        (&["new-epoch"], ""),
        (&["migrate"], ""),
        (&["reset", "--yes"], ""),
        (&["status"], ""),
        (&["verify"], ""),
    ];
    let mut expected: Vec<String> = Vec::new();
    for database in Database::of_every_process() {
        let node = Node::on(&database);
        for (step, (arguments, input)) in script.iter().enumerate() {
            let as_document = [&["--json"], *arguments].concat();
            let is_dump = arguments.first() == Some(&"dump");
            let ran = node.feed(if is_dump { arguments } else { &as_document }, input);
            let said = if is_dump {
                // What hydration remembers holds times and a random salt.
                let dump = ran.ok();
                let lines = dump
                    .lines()
                    .filter(|line| !line.contains("\"key\":\"source."));
                lines.collect::<Vec<_>>().join("\n")
            } else {
                comparable(serde_json::from_str(&ran.ok()).unwrap()).to_string()
            };
            let name = database.name();
            match expected.get(step) {
                None => expected.push(said),
                Some(expected) => assert_eq!(said, *expected, "{name}: {arguments:?}"),
            }
        }
    }
}
