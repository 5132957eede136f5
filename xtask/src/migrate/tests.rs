use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::sealed::Migrations;

fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        write(folder.path(), file, "CREATE TABLE t (x);");
    }
    folder
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn problems(folder: &TempDir) -> Vec<String> {
    Migrations::read(folder.path()).unwrap().problems()
}

#[test]
fn versions_count_from_one_without_gaps_for_each_backend() {
    assert_eq!(
        problems(&folder(&["a/V1__x.sql", "a/V2__y.sql", "b/V1__x.sql"])),
        [""; 0]
    );
    let many: Vec<_> = (1..=11).map(|n| format!("a/V{n}__x.sql")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(
        problems(&folder(&many)),
        [""; 0],
        "V10 comes after V9, not after V1"
    );
    let gap = problems(&folder(&["a/V1__x.sql", "a/V3__y.sql"]));
    assert_eq!(gap, ["a/V3__y.sql: version 3 does not follow 1"]);
    let twice = problems(&folder(&["a/V1__x.sql", "a/V1__y.sql"]));
    assert_eq!(twice, ["a/V1__y.sql: version 1 does not follow 1"]);
}

#[test]
fn a_file_that_is_not_named_as_a_migration_is_a_problem() {
    for name in [
        "init.sql",
        "V1_x.sql",
        "V01__x.sql",
        "V1__.sql",
        "V1__x",
        "Vx__x.sql",
    ] {
        assert_eq!(
            problems(&folder(&[&format!("a/{name}")])).len(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_sealed_migration_may_not_change() {
    let folder = folder(&["a/V1__x.sql"]);
    Migrations::read(folder.path()).unwrap().seal().unwrap();
    assert_eq!(problems(&folder), [""; 0]);
    write(folder.path(), "a/V1__x.sql", "CREATE TABLE t (x, y);");
    assert_eq!(
        problems(&folder),
        ["a/V1__x.sql: a released migration has changed"]
    );
}

#[test]
fn a_sealed_migration_may_not_go() {
    let folder = folder(&["a/V1__x.sql", "b/V1__x.sql"]);
    Migrations::read(folder.path()).unwrap().seal().unwrap();
    fs::remove_file(folder.path().join("b/V1__x.sql")).unwrap();
    assert_eq!(
        problems(&folder),
        ["b/V1__x.sql: a released migration is gone"]
    );
}

#[test]
fn what_comes_after_the_seal_is_open() {
    let folder = folder(&["a/V1__x.sql"]);
    Migrations::read(folder.path()).unwrap().seal().unwrap();
    write(folder.path(), "a/V2__y.sql", "CREATE TABLE u (x);");
    let migrations = Migrations::read(folder.path()).unwrap();
    assert_eq!(migrations.problems(), [""; 0]);
    let text = migrations.to_string();
    assert!(
        text.contains("sealed  a/V1__x.sql") && text.contains("open    a/V2__y.sql"),
        "{text}"
    );
}

#[test]
fn the_seal_is_in_the_format_of_sha256sum() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a/V1__x.sql", "abc");
    Migrations::read(folder.path()).unwrap().seal().unwrap();
    // The digest of "abc" is the first example of FIPS 180-2.
    let expected =
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a/V1__x.sql\n";
    assert_eq!(
        fs::read_to_string(folder.path().join("SHA256SUMS")).unwrap(),
        expected
    );
}

#[test]
fn a_folder_that_does_not_exist_holds_no_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let migrations = Migrations::read(&folder.path().join("none")).unwrap();
    assert_eq!(migrations.summary(), "0 migrations, 0 sealed");
    assert_eq!(migrations.problems(), [""; 0]);
}
