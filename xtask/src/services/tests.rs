use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args as _;

use super::account::Account;
use super::actions::export;
use super::compose;
use super::edition::{Edition, Setup};
use super::fetch::{self, RELEASES, Release};
use super::process::{Identity, start_of_stat};
use super::provider::{Choice, Provider, choose};
use super::server::{Server, Version};

use super::settings::{self, filled};
use super::{Options, containers, local, nowhere, programs};

/// Asks in `order`; only `has` answers yes.
fn chosen(order: &[Provider], has: Provider) -> (Option<Provider>, Vec<String>) {
    let answer = choose(order, |provider| {
        Ok(if provider == has {
            Ok(provider)
        } else {
            Err("no".to_owned())
        })
    });
    answer.unwrap()
}

#[test]
fn providers_are_tried_in_the_order_that_is_documented() {
    use Provider::{Compose, Containers, Env, Fetched, Path, Up};
    for (choice, order) in [
        (Choice::Auto, &[Env, Up, Compose, Path, Fetched][..]),
        (Choice::Env, &[Env]),
        (Choice::Compose, &[Compose]),
        (Choice::Local, &[Path, Fetched]),
        (Choice::Path, &[Path]),
        (Choice::Fetched, &[Fetched]),
        (Choice::Containers, &[Containers]),
    ] {
        assert_eq!(choice.order(), order, "{choice:?}");
    }
}

/// An empty program that everybody may run.
fn program(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn the_folder_of_a_linked_program_is_the_one_that_has_its_companions() {
    let nobody = Account::find("nobody:x:65534:65534::/:", "nobody").unwrap();
    let (links, programs) = (open_folder(), open_folder());
    let postgres = program(programs.path(), "postgres");
    let link = links.path().join("postgres");
    symlink(&postgres, &link).unwrap();

    let lacking = programs::folder_of(Server::Postgres, &link, nobody).unwrap_err();
    assert!(
        lacking.contains("has no initdb, pg_ctl, pg_basebackup"),
        "{lacking}"
    );
    for name in ["initdb", "pg_ctl", "pg_basebackup"] {
        program(programs.path(), name);
    }
    let folder = programs::folder_of(Server::Postgres, &link, nobody).unwrap();
    assert_eq!(folder, programs.path().canonicalize().unwrap());
}

#[test]
fn a_program_that_servers_may_not_run_is_lacking() {
    let nobody = Account::find("nobody:x:65534:65534::/:", "nobody").unwrap();
    let folder = open_folder();
    let valkey = program(folder.path(), "valkey-server");
    programs::folder_of(Server::Redis, &valkey, nobody).unwrap();
    fs::set_permissions(&valkey, Permissions::from_mode(0o700)).unwrap();
    let lacking = programs::folder_of(Server::Redis, &valkey, nobody).unwrap_err();
    assert!(
        lacking.contains("valkey-server or redis-server"),
        "{lacking}"
    );
}

#[test]
fn the_first_provider_that_has_a_server_gives_it_and_the_others_say_why_not() {
    let order = Choice::Auto.order();
    let (found, passed_over) = chosen(order, Provider::Compose);
    assert_eq!(found, Some(Provider::Compose));
    assert_eq!(passed_over, ["env: no", "up: no"]);
}

#[test]
fn where_no_provider_has_a_server_the_error_says_how_to_get_one() {
    let order = Choice::Local.order();
    let (found, reasons) = chosen(order, Provider::Env);
    assert_eq!(found, None);
    assert_eq!(reasons, ["path: no", "fetched: no"]);
    let text = nowhere(Server::Redis, None, &reasons);
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
    let order = Choice::Auto.order();
    let found = choose::<()>(order, |_| bail!("no answer"));
    assert!(found.is_err());
}

fn options(provider: Choice, releases: &[&str]) -> Options {
    let editions = releases.iter().map(|name| Edition::parse(name).unwrap());
    Options {
        provider,
        editions: editions.collect(),
    }
}

#[test]
fn a_pinned_release_is_fetched_and_another_has_to_be_in_path() {
    for (provider, release, order) in [
        (Choice::Auto, "postgres-16", &[Provider::Fetched][..]),
        (Choice::Auto, "postgres-15-pgbouncer", &[Provider::Path]),
        (
            Choice::Local,
            "postgres-16",
            &[Provider::Path, Provider::Fetched],
        ),
        (Choice::Path, "postgres-16", &[Provider::Path]),
        (Choice::Path, "postgres-15", &[Provider::Path]),
    ] {
        let options = options(provider, &[release]);
        let found = options.order(Server::Postgres).unwrap();
        assert_eq!(found, order, "{provider:?} {release}");
    }
    let auto = options(Choice::Auto, &["postgres-16"]);
    assert_eq!(auto.order(Server::Redis).unwrap().len(), 5);
}

#[test]
fn a_release_that_cannot_be_where_it_is_asked_for_is_refused() {
    for (provider, release) in [
        (Choice::Compose, "postgres-16"),
        (Choice::Env, "postgres-16"),
        (Choice::Fetched, "postgres-15"),
    ] {
        let error = options(provider, &[release])
            .order(Server::Postgres)
            .unwrap_err();
        assert!(error.to_string().contains(release), "{error}");
    }
}

#[test]
fn where_no_provider_has_a_release_the_error_speaks_of_that_one() {
    let edition = Edition::parse("redis-7.0-cluster").unwrap();
    let text = nowhere(Server::Redis, Some(&edition), &["path: no".to_owned()]);
    for part in [
        "there is no redis-7.0:",
        "path: no",
        "redis-server into PATH",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_help_names_every_release_that_is_fetched() {
    let command = Options::augment_args(clap::Command::new("test"));
    let releases = command
        .get_arguments()
        .find(|argument| argument.get_id() == "editions");
    let help = releases.unwrap().get_help().unwrap().to_string();
    for release in RELEASES.iter() {
        assert!(help.contains(&release.name), "{}", release.name);
    }
}

#[test]
fn a_release_is_not_ignored() {
    let servers = [Server::Postgres];
    let two = options(Choice::Auto, &["postgres-16", "postgres-18"]);
    two.check(&servers).unwrap_err();
    let other = options(Choice::Auto, &["valkey-9"]);
    other.check(&servers).unwrap_err();
    let one = options(Choice::Auto, &["postgres-16"]);
    one.check(&servers).unwrap();
}

#[test]
fn a_release_is_a_product_a_version_and_a_setup() {
    for (name, server, setup, pinned) in [
        ("postgres-18", Server::Postgres, Setup::Plain, true),
        (
            "postgres-18-pgbouncer",
            Server::Postgres,
            Setup::Pooled,
            true,
        ),
        ("postgres-15", Server::Postgres, Setup::Plain, false),
        ("valkey-9-cluster", Server::Redis, Setup::Cluster, true),
        ("redis-7.0", Server::Redis, Setup::Plain, false),
        (
            "postgres-18-durable",
            Server::Postgres,
            Setup::Durable,
            true,
        ),
        ("mongodb-6", Server::Mongo, Setup::Plain, true),
    ] {
        let edition = Edition::parse(name).unwrap();
        assert_eq!((edition.server, edition.setup), (server, setup), "{name}");
        assert_eq!(edition.pinned.is_some(), pinned, "{name}");
    }
    for name in [
        "",
        "postgres",
        "postgres-",
        "postgres-x",
        "postgres-18-cluster",
        "valkey-9-pgbouncer",
        "mongodb-6-cluster",
        "mysql-8",
    ] {
        let error = Edition::parse(name).unwrap_err();
        assert!(error.contains("postgres-18, postgres-16"), "{error}");
    }
}

#[test]
fn the_numbers_of_a_release_are_the_first_of_a_version() {
    let of = |text| Version::parse(text).unwrap();
    let redis = of("Redis server v=7.0.15 sha=0\n");
    assert!(redis.is_of("redis-7") && redis.is_of("redis-7.0"));
    assert!(!redis.is_of("valkey-7") && !redis.is_of("redis-7.0.1"));
    let postgres = of("postgres (PostgreSQL) 15.18\n");
    assert!(postgres.is_of("postgres-15") && !postgres.is_of("postgres-1"));
}

#[test]
fn a_url_says_how_the_server_is_set_up() {
    for (server, setup, hosts, expected) in [
        (
            Server::Postgres,
            Setup::Pooled,
            "h:1",
            "postgres://postgres:p@h:1/postgres?pooler=transaction",
        ),
        (
            Server::Postgres,
            Setup::Plain,
            "h:1",
            "postgres://postgres:p@h:1/postgres",
        ),
        (
            Server::Redis,
            Setup::Cluster,
            "h:1,h:2",
            "redis://:p@h:1,h:2",
        ),
    ] {
        assert_eq!(local::url(server, setup, "p", hosts), expected);
    }
}

#[test]
fn every_server_has_a_release_and_every_release_a_name_of_its_own() {
    for server in Server::ALL {
        assert!(Release::default_of(server).is_some(), "{server}");
    }
    for release in RELEASES.iter() {
        let same = RELEASES.iter().filter(|other| other.name == release.name);
        assert_eq!(same.count(), 1, "{}", release.name);
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

/// An archive with one file in it, made by Python's `zipfile`: `bin/tool` holds `#!`, and the
/// archive does not mark it as a program.
const ARCHIVE: &str = "504b030414000000080000002150c07519b304000000020000000800000062696e2f746f6f6c5356\
    0400504b0102140314000000080000002150c07519b3040000000200000008000000000000000000\
    000080010000000062696e2f746f6f6c504b05060000000001000100360000002a0000000000";

#[test]
fn an_archive_is_unpacked_if_it_is_the_pinned_one_and_every_account_may_run_its_programs() {
    let archive = hex::decode(ARCHIVE).unwrap();
    let pinned = "75f8515b82c047477fb3c398b774ecf1540aa1c4be43c157ee4ae12adf3fc9f1";
    let folder = open_folder();
    let unpacked = folder.path().join("unpacked");

    let other = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let error = fetch::unpack(&archive, other, &unpacked)
        .unwrap_err()
        .to_string();
    assert!(error.contains(pinned) && error.contains(other), "{error}");
    assert!(!unpacked.exists());

    fetch::unpack(&archive, pinned, &unpacked).unwrap();
    let tool = unpacked.join("bin/tool");
    assert_eq!(fs::read(&tool).unwrap(), b"#!");
    assert_eq!(
        fs::metadata(&tool).unwrap().permissions().mode() & 0o555,
        0o555
    );
}

#[test]
fn an_address_is_read_from_the_url_of_a_container() {
    for (url, expected) in [
        ("postgres://postgres@127.0.0.1:5/postgres", "127.0.0.1:5"),
        ("redis://127.0.0.1:6", "127.0.0.1:6"),
        (
            "mongodb://127.0.0.1:7/?directConnection=true",
            "127.0.0.1:7",
        ),
    ] {
        assert_eq!(containers::address(url), Some(expected));
    }
    assert_eq!(containers::address("127.0.0.1:5"), None);
}

#[test]
fn every_value_that_settings_ask_for_is_filled_in() {
    let values = [
        "port", "password", "folder", "data", "durable", "host", "upstream", "users",
    ];
    let values = values.map(|name| (name, "value"));
    for text in [
        settings::POSTGRES,
        settings::REDIS,
        settings::REDIS_CLUSTER,
        settings::PGBOUNCER,
        settings::MONGO,
    ] {
        let filled = filled(text, &values);
        for (name, _) in values {
            assert!(!filled.contains(&format!("{{{name}}}")), "{filled}");
        }
        assert_ne!(filled, text);
    }
}
