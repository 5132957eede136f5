use std::fs;

use serde_json::{Value, json};
use sync_mdip_simulator::Log;

use crate::node::Node;
use crate::upstream::{Holds, capture, gatekeeper, holds, hydrate, interrupted, log, recorded};

/// What the log alone comes to, from a capture of it.
fn from_capture(log: &Log, flags: &[&str]) -> Holds {
    let node = Node::new();
    let file = capture(&node, log);
    hydrate(
        &node,
        &[&["--from", file.to_str().unwrap()], flags].concat(),
    )
    .ok();
    node.run(&["verify"]).ok();
    holds(&node)
}

#[test]
fn a_gatekeeper_and_a_capture_end_the_same_at_any_page_limit() {
    let log = log(300);
    let gatekeeper = gatekeeper(log.clone());
    for local in [&[][..], &["--include-local"]] {
        let expected = from_capture(&log, local);
        assert_eq!(expected.unordered(), 0);
        assert!(expected.tombstones() > 0);
        for limit in ["1", "7", "100", "5000"] {
            let node = Node::new();
            let arguments = ["--from", gatekeeper.url(), "--page-limit", limit];
            hydrate(&node, &[&arguments, local].concat()).ok();
            node.run(&["verify"]).ok();
            let when = format!("by snapshot, page limit {limit}, {local:?}");
            holds(&node).assert_same(&expected, &when);
            let limited = [&["--page-limit", limit], local].concat();
            let when = format!("by log, page limit {limit}, {local:?}");
            from_capture(&log, &limited).assert_same(&expected, &when);
        }
    }
    let all = from_capture(&log, &["--include-local"]).rows();
    assert!(from_capture(&log, &[]).rows() < all);
}

#[test]
fn a_recorded_gatekeeper_ends_the_same_from_its_log_and_from_its_snapshot() {
    let (public, all, files) = if let Some(directory) = recorded() {
        println!("with the capture in {}", directory.display());
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let files = [
            file("snapshot-limit500.ndjson"),
            file("changes-after-snapshot-limit500.ndjson"),
            file("changes-from-zero-limit500.ndjson"),
        ];
        (3_197, 3_207, files.to_vec())
    } else {
        println!("no capture here; with a generated log instead");
        let node = Node::new();
        let log = log(300);
        let file = capture(&node, &log).to_str().unwrap().to_owned();
        let snapshot = node.path("snapshot.ndjson");
        let mut frozen = log.clone();
        frozen.snapshot_at(log.newest() / 2);
        sync_mdip_simulator::write_snapshot(&frozen, 50, fs::File::create(&snapshot).unwrap())
            .unwrap();
        let count = |flags: &[&str]| from_capture(&log, flags).rows();
        let (public, all) = (count(&[]), count(&["--include-local"]));
        let files = vec![snapshot.to_str().unwrap().to_owned(), file];
        return same_from_log_and_snapshot(public, all, &files);
    };
    same_from_log_and_snapshot(public, all, &files);
}

fn same_from_log_and_snapshot(public: usize, all: usize, files: &[String]) {
    let from: Vec<&str> = files.iter().flat_map(|file| ["--from", file]).collect();
    for (flags, rows) in [(&[][..], public), (&["--include-local"], all)] {
        let node = Node::new();
        let changes = ["--changes-only", "--from", files.last().unwrap()];
        let report = hydrate(&node, &[&changes, flags, &["--json"]].concat()).json();
        let expected = holds(&node);
        assert_eq!((expected.rows(), expected.unordered()), (rows, 0));
        assert_eq!(report["phase"], "current");
        let node = Node::new();
        let report = hydrate(&node, &[&from, flags, &["--json"]].concat()).json();
        holds(&node).assert_same(&expected, &format!("{flags:?}"));
        assert!(
            report["totals"]["ordered"].as_u64().unwrap() > 0,
            "{report}"
        );
    }
}

#[test]
fn a_report_says_what_came_and_what_became_of_it() {
    let log = log(200);
    let gatekeeper = gatekeeper(log.clone());
    let node = Node::new();
    let report = hydrate(&node, &["--from", gatekeeper.url(), "--json"]).json();
    let expected = json!({
        "space": "default",
        "source": gatekeeper.url(),
        "epoch": log.epoch(),
        "phase": "current",
        "cursor": log.newest(),
        "checkpoint": null,
        "walked": null,
        "unordered": 0,
        "invalid": {},
        "conflicts": 0,
        "resets": 0,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(report[key], *value, "{key} of {report}");
    }
    let rows = node.holds().0;
    let totals = &report["totals"];
    let count = |value: &Value| value.as_u64().unwrap();
    assert_eq!(
        count(&totals["inserted"]) - count(&totals["deleted"]),
        rows,
        "{report}"
    );
    assert!(count(&report["leftOut"]["local"]) > 0, "{report}");
    let share = |part: &str| report["spent"][part]["share"].as_f64().unwrap();
    let whole: f64 = ["fetch", "parse", "verify", "store"]
        .map(share)
        .iter()
        .sum();
    assert!((whole - 1.0).abs() < 0.01, "{report}");

    // The same again: nothing changes, and the text says so.
    let before = node.everything();
    let text = hydrate(&node, &["--from", gatekeeper.url()]).ok();
    assert!(text.contains("current"), "{text}");
    assert!(!text.contains("inserted"), "{text}");
    assert_eq!(without_state(&node.everything()), without_state(&before));

    let status = node.run(&["status", "--json"]).json();
    let source = &status["spaces"][0]["source"];
    assert_eq!(
        (
            &source["name"],
            &source["phase"],
            &source["cursor"],
            &source["unordered"]
        ),
        (
            &json!(gatekeeper.url()),
            &json!("current"),
            &json!(log.newest()),
            &json!(0)
        )
    );
    assert_eq!(status["spaces"][0]["state"], json!([]));
    let text = node.run(&["status"]).ok();
    assert!(
        text.contains(&format!("source       {}", gatekeeper.url())),
        "{text}"
    );
}

/// The lines of a complete dump that are no state.
fn without_state(dump: &str) -> Vec<&str> {
    dump.lines()
        .filter(|line| !line.contains("\"state\""))
        .collect()
}

#[test]
fn a_run_that_failed_on_the_way_goes_on_where_it_was() {
    let log = log(300);
    let gatekeeper = gatekeeper(log.clone());
    let arguments = ["--from", gatekeeper.url(), "--page-limit", "20", "--json"];
    let whole = Node::new();
    let read = |report: &Value| report["records"].as_u64().unwrap();
    let all = read(&hydrate(&whole, &arguments).json());

    let node = Node::new();
    for requests in [3, 12, 20] {
        let ran = interrupted(&node, &gatekeeper, requests);
        let (kind, message) = ran.error(3);
        assert_eq!(kind, "unavailable", "{message}");
        node.run(&["verify"]).ok();
    }
    let rest = hydrate(&node, &arguments).json();
    assert!(read(&rest) < all, "{} of {all} records", read(&rest));
    holds(&node).assert_same(&holds(&whole), "after failures");
}

#[test]
fn prune_waits_for_the_backfill_unless_told() {
    let gatekeeper = gatekeeper(log(300));
    let node = Node::new();
    let prune =
        |flags: &[&str]| node.run(&[&["prune", "--yes", "--json", "--keep", "0s"], flags].concat());
    let position = |name: &str| {
        let status = node.run(&["status", "--json"]).json();
        status["spaces"][0]["source"][name].clone()
    };
    // In the snapshot, and in the walk of the log.
    for (requests, phases) in [
        (3, &["snapshot"][..]),
        (30, &["collect", "order", "settle"]),
    ] {
        interrupted(&node, &gatekeeper, requests).error(3);
        let phase = position("phase");
        assert!(phases.contains(&phase.as_str().unwrap()), "{phase}");
        let (kind, message) = prune(&[]).error(1);
        assert_eq!(kind, "refused");
        assert!(message.contains("backfill"), "{message}");
    }
    let tombstones = node.holds().1;
    assert!(tombstones > 0);
    let told = prune(&["--before-backfill"]).json();
    assert_eq!(told["dropped"], tombstones);
    hydrate(&node, &["--from", gatekeeper.url()]).ok();
    prune(&[]).json();
}

#[test]
fn a_source_that_shrank_is_left_until_an_operator_accepts_it() {
    let gatekeeper = gatekeeper(log(200));
    let node = Node::new();
    let arguments = ["--from", gatekeeper.url(), "--json"];
    hydrate(&node, &arguments).json();
    let before = node.everything();
    gatekeeper.change(|log| {
        log.reset();
        log.create("hyperswarm");
        log.create("hyperswarm");
    });
    let (kind, message) = hydrate(&node, &arguments).error(1);
    assert_eq!(kind, "sourceShrank");
    let held = node.run(&["status", "--json"]).json()["spaces"][0]["source"]["held"].clone();
    for part in [
        &format!("of {held} operations it holds 2;"),
        "--accept-shrunk-source",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(node.everything(), before);
    let accepted = [&arguments[..], &["--accept-shrunk-source"]].concat();
    let report = hydrate(&node, &accepted).json();
    assert_eq!((&report["resets"], node.holds().0), (&json!(1), 2));
}

#[test]
fn a_space_has_one_source() {
    let log = log(100);
    let (first, second) = (gatekeeper(log.clone()), gatekeeper(log));
    let node = Node::new();
    hydrate(&node, &["--from", first.url()]).ok();
    let (kind, message) = hydrate(&node, &["--from", second.url(), "--json"]).error(1);
    assert_eq!(kind, "otherSource");
    for part in [first.url(), "--space", "--source-name"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    hydrate(&node, &["--from", second.url(), "--space", "other"]).ok();
    // The same one at another address.
    let same = ["--from", second.url(), "--source-name", first.url()];
    hydrate(&node, &same).ok();
}

#[test]
fn a_source_that_cannot_be_reached_may_be_reached_later_and_its_password_is_never_shown() {
    let node = Node::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://me:hunter2@{address}/?key=hunter3");
    let silent = [
        "--from",
        &url,
        "--attempts",
        "1",
        "--timeout",
        "1s",
        "--json",
    ];
    let ran = hydrate(&node, &silent);
    assert!(!format!("{ran:?}").contains("hunter"), "{ran:?}");
    assert_eq!(ran.error(3).0, "timeout");
    drop(listener);
    let ran = hydrate(&node, &["--from", &url, "--attempts", "1", "--json"]);
    assert!(!format!("{ran:?}").contains("hunter"), "{ran:?}");
    assert_eq!(ran.error(3).0, "unavailable");
    assert_eq!(node.run(&["status", "--json"]).json()["spaces"], json!([]));
}

#[test]
fn what_hydrate_cannot_do_as_asked_is_a_usage_error() {
    let node = Node::new();
    for (arguments, expected) in [
        (&[][..], "SYNC_NODE_FROM"),
        (&["--from", "ftp://me:hunter2@host"], "http or https"),
        (
            &["--from", "http://me:hunter2@host", "--from", "x"],
            "one Gatekeeper's URL alone",
        ),
        (&["--from", "http://me:hunter2@"], "http://HOST"),
        (&["--from", "x", "--follow"], "a capture does not change"),
        (
            &["--from", "http://host", "--interval", "0s"],
            "--interval is at least 1s",
        ),
        (
            &["--from", "http://host", "--timeout", "0s"],
            "--timeout is at least 1s",
        ),
        (
            &["--from", "http://host", "--interval", "2"],
            "whole seconds with a unit",
        ),
        (&["--from", "x", "--page-limit", "0"], "from 1 to 5000"),
        (&["--from", "x", "--page-limit", "5001"], "from 1 to 5000"),
        (&["--from", "x", "--attempts", "0"], "from 1 to 100"),
        (&["--from", "x", "--source-name", ""], "--source-name"),
        (&["--from", "x", "--follow=perhaps"], "true, false"),
    ] {
        let message = hydrate(&node, arguments).fails(2);
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
        let (kind, _) = hydrate(&node, &[arguments, &["--json"]].concat()).error(2);
        assert_eq!(kind, "usage");
    }
    let (kind, message) = hydrate(&node, &["--from", "absent.ndjson", "--json"]).error(1);
    assert_eq!(kind, "io");
    assert!(message.contains("source"), "{message}");
    fs::write(node.path("letter"), "a letter\n").unwrap();
    let (kind, _) = hydrate(&node, &["--from", "letter", "--json"]).error(1);
    assert_eq!(kind, "sourceProtocol");
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_in_hydrate_too() {
    let node = Node::new();
    let log = log(100);
    capture(&node, &log);
    let source = |file: &str, env: &[(&str, &str)], flags: &[&str]| {
        fs::write(node.path("node.toml"), file).unwrap();
        let mut command = node.command(&["hydrate", "--json", "--config", "node.toml"]);
        command.args(flags).envs(env.iter().copied());
        crate::node::finish(command).json()["source"].clone()
    };
    let file = "[hydrate]\nfrom = ['capture.ndjson']\nsource-name = 'file'\n";
    let env = [("SYNC_NODE_SOURCE_NAME", "env"), ("SYNC_NODE_SPACE", "env")];
    assert_eq!(source(file, &[], &["--space", "file"]), "file");
    assert_eq!(source(file, &env, &[]), "env");
    assert_eq!(
        source(file, &env, &["--source-name", "flag", "--space", "flag"]),
        "flag"
    );

    let absent = "[hydrate]\nfrom = 'absent'\nsource-name = 'file'\n";
    let from = ("SYNC_NODE_FROM", "capture.ndjson");
    assert_eq!(source(absent, &[from], &["--space", "file"]), "file");
    let absent_too = [("SYNC_NODE_FROM", "absent")];
    let flags = ["--from", "capture.ndjson", "--space", "file"];
    assert_eq!(source(absent, &absent_too, &flags), "file");

    // A flag takes back what the environment or the file asks for.
    let rows = |env: &[(&str, &str)], flags: &[&str]| {
        let file = "[hydrate]\nfrom = 'capture.ndjson'\ninclude-local = true\n";
        fs::write(node.path("node.toml"), file).unwrap();
        let mut command = node.command(&["hydrate", "--json", "--config", "node.toml"]);
        command.args(flags).envs(env.iter().copied());
        let report = crate::node::finish(command).json();
        report["leftOut"]["local"].as_u64().unwrap()
    };
    assert_eq!(rows(&[], &["--space", "a"]), 0);
    let off = [("SYNC_NODE_INCLUDE_LOCAL", "false")];
    assert!(rows(&off, &["--space", "b"]) > 0);
    assert_eq!(rows(&off, &["--space", "c", "--include-local"]), 0);
    assert!(rows(&[], &["--space", "d", "--include-local=false"]) > 0);
}

#[test]
fn a_file_with_hydrate_settings_that_are_not_understood_is_a_usage_error_that_shows_no_value() {
    let node = Node::new();
    for (line, expected) in [
        (
            "frm = 'hunter2'",
            "unknown field `frm`, expected one of `from`",
        ),
        ("from = 5", "from are strings"),
        ("page-limit = 0", "from 1 to 5000"),
        ("page-limit = 'hunter2'", "another type"),
        ("interval = 'hunter2'", "whole seconds with a unit"),
        ("follow = 'hunter2'", "another type"),
    ] {
        fs::write(node.path("node.toml"), format!("[hydrate]\n{line}\n")).unwrap();
        let message = node.run(&["hydrate", "--config", "node.toml"]).fails(2);
        assert!(message.contains(expected), "{line}: {message}");
        assert!(message.contains("line 2"), "{line}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}
