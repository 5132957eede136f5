use std::fs;

use crate::node::{Node, finish, line};

/// Three databases in one directory, each with one row that tells it apart.
fn three() -> Node {
    let node = Node::unmigrated();
    for (n, name) in [(1, "flag.db"), (2, "env.db"), (3, "file.db")] {
        let store = format!("sqlite:{name}");
        node.run(&["migrate", "--store", &store]).ok();
        node.feed(&["load", "--store", &store], line(n)).ok();
    }
    node
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let node = three();
    fs::write(
        node.path("node.toml"),
        "store = 'sqlite:file.db'\nspace = 'default'\n",
    )
    .unwrap();
    let run = |flag: bool, env: bool| {
        let mut command = node.bare();
        command.args(["dump", "--config", "node.toml"]);
        if flag {
            command.args(["--store", "sqlite:flag.db"]);
        }
        if env {
            command.env("SYNC_NODE_STORE", "sqlite:env.db");
        }
        finish(command).ok()
    };
    assert_eq!(run(true, true), line(1));
    assert_eq!(run(true, false), line(1));
    assert_eq!(run(false, true), line(2));
    assert_eq!(run(false, false), line(3));
}

#[test]
fn the_space_and_the_file_come_from_the_environment_too() {
    let node = three();
    fs::write(
        node.path("node.toml"),
        "store = 'sqlite:file.db'\nspace = 'other'\n",
    )
    .unwrap();
    let run = |space: Option<&str>| {
        let mut command = node.bare();
        command.arg("dump").env("SYNC_NODE_CONFIG", "node.toml");
        if let Some(space) = space {
            command.env("SYNC_NODE_SPACE", space);
        }
        finish(command)
    };
    let ran = run(None);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(
        ran.err.contains("space other does not exist yet"),
        "{}",
        ran.err
    );
    assert_eq!(run(Some("default")).ok(), line(3));
}

#[test]
fn without_a_store_the_message_says_where_one_may_be_named() {
    let node = Node::unmigrated();
    let mut command = node.bare();
    command.arg("status");
    let message = finish(command).fails(2);
    for place in ["--store", "SYNC_NODE_STORE", "--config"] {
        assert!(message.contains(place), "{message}");
    }
}

#[test]
fn a_configuration_file_that_is_not_understood_is_a_usage_error_that_shows_no_value() {
    let node = Node::unmigrated();
    for (text, expected) in [
        (
            "stor = 'hunter2'",
            "unknown field `stor`, expected one of `store`, `space`, `hydrate`",
        ),
        ("\nstore = hunter2", "line 2"),
        ("store = 'hunter2\n", "line 1"),
        ("store = ['hunter2']", "store, space and from are strings"),
        (
            "store = 'memory:'\nspace = 'Hunter2'",
            "space in the configuration file",
        ),
    ] {
        fs::write(node.path("node.toml"), text).unwrap();
        let mut command = node.bare();
        command.args(["status", "--config", "node.toml"]);
        let message = finish(command).fails(2);
        assert!(message.contains(expected), "{text}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let message = node.run(&["status", "--config", "absent.toml"]).fails(2);
    assert!(message.contains("absent.toml"), "{message}");
}

#[test]
fn a_url_that_cannot_be_used_is_a_usage_error_that_says_what_can() {
    let node = Node::unmigrated();
    for (url, expected) in [
        ("mysql://me:hunter2@host", "memory:, sqlite:"),
        (
            "sqlite:x?cache=hunter2",
            "accepted are durability, busy_timeout, readers, cache_kib, mode",
        ),
        ("sqlite:x?mode=wr", "one of rw, ro"),
        ("hunter2", "not a store URL"),
    ] {
        let message = node.run(&["status", "--store", url]).fails(2);
        assert!(message.contains(expected), "{url}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
        let (kind, message) = node.run(&["--json", "status", "--store", url]).error(2);
        assert_eq!(kind, "config");
        assert!(
            message.contains(expected) && !message.contains("hunter2"),
            "{message}"
        );
    }
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error_in_json_as_well() {
    let node = Node::unmigrated();
    for arguments in [
        &["--json"][..],
        &["--json", "dmup"],
        &["status", "--json", "--bogus"],
        &["status", "--json", "--space", "Not A Space"],
        &["load", "--json", "--page-size", "0"],
        &["load", "--json", "--page-size", "100001"],
        &["load", "--json", "--cursor-key", ""],
        &["prune", "--json", "--keep", "90"],
        &["prune", "--json", "--keep", "1d", "--up-to", "5"],
        &["prune", "--json", "--up-to", "9007199254740992"],
        &["reject", "--json"],
        &["reject", "--json", "abcd"],
        &["tombstones", "--json", "--reason", "gone"],
        &["dump", "--json", "--all", "--keys"],
        &["dump", "--json", "--all", "--order", "time"],
        &["dump", "--json", "--keys", "--json-payload"],
        &["dump", "--json", "--order", "size"],
    ] {
        let (kind, message) = node.run(arguments).error(2);
        assert_eq!(kind, "usage", "{arguments:?}");
        assert!(!message.starts_with("error"), "{message}");
        let text: Vec<_> = arguments
            .iter()
            .filter(|a| **a != "--json")
            .copied()
            .collect();
        assert!(node.run(&text).fails(2).starts_with("error: "));
    }
}

#[test]
fn without_a_command_the_message_lists_them() {
    let message = finish(Node::unmigrated().bare()).fails(2);
    let (first, rest) = message.split_once('\n').unwrap();
    assert!(first.contains("requires a subcommand"), "{message}");
    assert!(rest.contains("new-epoch"), "{message}");
}

#[test]
fn a_url_in_the_wrong_place_of_a_command_line_is_not_repeated() {
    let node = Node::unmigrated();
    let url = "postgres://me:hunter2@host/db";
    for arguments in [
        &["status", url][..],
        &["--json", url],
        &["status", "--space", url],
        &["--json", "status", &format!("--space={url}")],
        &["load", "--page-size", url],
        &["reject", url],
        &[&format!("--sto={url}"), "status"],
    ] {
        let ran = node.run(arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    let message = node.run(&["status", url]).fails(2);
    assert!(message.contains("'postgres://…'"), "{message}");
}

#[test]
fn help_and_version_are_printed_and_show_no_environment() {
    let node = Node::unmigrated();
    let mut command = node.bare();
    command
        .arg("--help")
        .env("SYNC_NODE_STORE", "postgres://me:hunter2@host");
    let help = finish(command).ok();
    assert!(
        help.contains("SYNC_NODE_STORE") && !help.contains("hunter2"),
        "{help}"
    );
    assert!(help.contains("4 verification found a difference"), "{help}");
    assert!(node.run(&["--version"]).ok().starts_with("sync-node "));
}

#[test]
fn a_database_that_is_not_there_or_not_ours_ends_in_one() {
    let node = Node::unmigrated();
    let (kind, message) = node.run(&["status", "--json"]).error(1);
    assert_eq!(kind, "notFound");
    assert!(message.contains("sync-node migrate"), "{message}");
    assert!(!node.path("sync.db").exists());
    let (kind, message) = node
        .run(&["migrate", "--json", "--store", "sqlite:absent/sync.db"])
        .error(1);
    assert_eq!(kind, "notFound");
    assert!(!message.contains("sync-node migrate"), "{message}");
    fs::write(node.path("sync.db"), "a letter").unwrap();
    let (kind, _) = node.run(&["migrate", "--json"]).error(1);
    assert!(kind == "foreign" || kind == "corrupt", "{kind}");
    assert_eq!(fs::read(node.path("sync.db")).unwrap(), b"a letter");
}

#[test]
fn a_database_that_another_process_holds_ends_in_three() {
    let node = Node::new();
    let holder = rusqlite::Connection::open(node.path("sync.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let store = format!("{}&busy_timeout=50ms", node.url());
    let (kind, _) = node
        .feed(&["load", "--json", "--store", &store], line(1))
        .error(3);
    assert_eq!(kind, "busy");
    holder.execute_batch("ROLLBACK").unwrap();
    node.feed(&["load", "--store", &store], line(1)).ok();
}

#[test]
fn a_read_only_store_is_read_and_not_written() {
    let node = Node::new();
    node.feed(&["load"], line(1)).ok();
    let store = format!("{}&mode=ro", node.url());
    assert_eq!(node.run(&["dump", "--store", &store]).ok(), line(1));
    let (kind, _) = node
        .feed(&["load", "--json", "--store", &store], line(2))
        .error(1);
    assert_eq!(kind, "readOnly");
}
