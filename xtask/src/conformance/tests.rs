use std::fs;

use crate::backend::BackendName::{Memory, Sqlite};

use super::controls::Controls;
use super::record::{CaseId, Outcome, Record, parse_lines};
use super::table::Table;

fn ids(text: &[&str]) -> Vec<CaseId> {
    text.iter().map(|id| id.parse().unwrap()).collect()
}

#[test]
fn cases_sort_as_a_reader_counts() {
    let mut sorted = ids(&[
        "36b", "M2", "10", "31b", "2", "31", "M1", "1", "36", "9", "52",
    ]);
    sorted.sort();
    assert_eq!(
        sorted,
        ids(&[
            "1", "2", "9", "10", "31", "31b", "36", "36b", "52", "M1", "M2"
        ])
    );
}

#[test]
fn a_case_without_a_number_is_refused() {
    assert!("b31".parse::<CaseId>().is_err());
    assert!("M".parse::<CaseId>().is_err());
    assert!("".parse::<CaseId>().is_err());
}

#[test]
fn outcomes_are_the_three_words_and_nothing_else() {
    assert_eq!("passed".parse::<Outcome>().unwrap(), Outcome::Passed);
    assert_eq!("failed".parse::<Outcome>().unwrap(), Outcome::Failed);
    let unsupported = Outcome::Unsupported("kill".to_owned());
    assert_eq!("unsupported:kill".parse::<Outcome>().unwrap(), unsupported);
    for bad in [
        "",
        "ok",
        "unsupported",
        "unsupported:",
        "unsupported: ",
        "passed:x",
        "Passed",
    ] {
        assert!(bad.parse::<Outcome>().is_err(), "`{bad}` was taken");
    }
}

#[test]
fn a_bad_line_is_named_by_its_number() {
    let error = parse_lines::<Record>("memory\t1\tname\tpassed\t3\nmemory\t2\tname\n").unwrap_err();
    assert!(format!("{error:#}").contains("line 2"), "{error:#}");
}

#[test]
fn a_line_that_was_cut_off_is_an_error() {
    assert!(parse_lines::<Record>("memory\t1\tname\tpassed\t35").is_err());
    assert_eq!(
        parse_lines::<Record>("memory\t1\tname\tpassed\t35\n")
            .unwrap()
            .len(),
        1
    );
}

fn table(memory: &str, sqlite: &str) -> Table {
    let mut table = Table::new(&[Memory, Sqlite]);
    table.add("memory", memory).unwrap();
    table.add("sqlite", sqlite).unwrap();
    table
}

#[test]
fn a_table_of_passed_and_unsupported_cases_has_no_problem() {
    let table = table(
        "memory\t31b\tlast\tpassed\t10\nmemory\t9\tfirst\tunsupported:kill\t1\n",
        "sqlite\t9\tfirst\tpassed\t1200\nsqlite\t31b\tlast\tpassed\t34\n",
    );
    assert_eq!(table.problems(), [""; 0]);
    let expected = "\
case  memory      sqlite  promise
9     n/a (kill)  pass    first
31b   pass        pass    last
memory: 1 passed, 0 failed, 1 not applicable, 0 missing; 0.011 s in cases
sqlite: 2 passed, 0 failed, 0 not applicable, 0 missing; 1.234 s in cases
";
    assert_eq!(table.to_string(), expected);
}

#[test]
fn a_failed_case_is_a_problem() {
    let table = table("memory\t1\ta\tpassed\t1\n", "sqlite\t1\ta\tfailed\t1\n");
    assert_eq!(table.problems(), ["sqlite: case 1 failed: a"]);
    assert!(table.to_string().contains("FAIL"));
}

#[test]
fn a_case_that_ran_on_one_backend_only_is_a_problem() {
    let table = table("memory\t1\ta\tpassed\t1\n", "sqlite\t2\tb\tpassed\t1\n");
    assert_eq!(
        table.problems(),
        [
            "memory: case 2 ran elsewhere, not here: b",
            "sqlite: case 1 ran elsewhere, not here: a",
        ]
    );
    assert!(table.to_string().contains("MISSING"));
}

#[test]
fn a_backend_without_a_file_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("memory.tsv"),
        "memory\t1\ta\tpassed\t1\n",
    )
    .unwrap();
    let table = Table::read(folder.path(), &[Memory, Sqlite]).unwrap();
    assert_eq!(table.problems(), ["sqlite: no case ran"]);
}

#[test]
fn a_configuration_of_a_backend_has_a_column_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for column in ["a-toy", "sqlite-normal", "sqlite", "memory"] {
        let text = format!("{column}\t1\ta\tpassed\t1\n");
        fs::write(folder.path().join(format!("{column}.tsv")), text).unwrap();
    }
    fs::write(folder.path().join("controls.tsv"), "late\t1\tfailed\n").unwrap();
    let table = Table::read(folder.path(), &[Memory, Sqlite]).unwrap();
    assert_eq!(table.problems(), [""; 0]);
    let text = table.to_string();
    assert!(
        text.starts_with("case  memory  sqlite  sqlite-normal  a-toy  promise\n"),
        "{text}"
    );
}

#[test]
fn a_table_without_any_case_is_a_problem() {
    let table = Table::new(&[Memory]);
    assert_eq!(table.problems(), ["memory: no case ran"]);
}

#[test]
fn a_line_of_another_backend_is_refused() {
    assert!(
        Table::new(&[Memory])
            .add("memory", "sqlite\t1\ta\tpassed\t1\n")
            .is_err()
    );
}

#[test]
fn of_two_configurations_the_worst_outcome_counts() {
    for lines in [
        ["passed", "failed"],
        ["failed", "passed"],
        ["failed", "unsupported:x"],
    ] {
        let mut table = Table::new(&[Memory]);
        for outcome in lines {
            table
                .add("memory", &format!("memory\t1\ta\t{outcome}\t1\n"))
                .unwrap();
        }
        assert_eq!(table.problems(), ["memory: case 1 failed: a"], "{lines:?}");
    }
}

#[test]
fn controls_show_which_store_fails_which_case() {
    let controls = Controls::parse(
        "late\t31b\tpassed\nlate\t2\tfailed\nchunks\t2\tpassed\nchunks\t31b\tfailed\n",
    )
    .unwrap();
    assert_eq!(controls.problems(), [""; 0]);
    let text = controls.to_string();
    assert!(
        text.starts_with("case    1  2\n2       x  .\n31b     .  x\n"),
        "{text}"
    );
    assert!(text.ends_with("  1  late\n  2  chunks\n"), "{text}");
}

#[test]
fn a_case_that_no_broken_store_fails_is_a_problem() {
    let controls = Controls::parse("late\t1\tfailed\nlate\t2\tpassed\n").unwrap();
    assert_eq!(
        controls.problems(),
        ["no broken store fails case 2: it proves nothing"]
    );
}

#[test]
fn a_broken_store_that_fails_no_case_is_a_problem() {
    let controls = Controls::parse("late\t1\tfailed\nfine\t1\tpassed\n").unwrap();
    assert_eq!(
        controls.problems(),
        ["no case fails on the broken store `fine`"]
    );
}

#[test]
fn controls_that_did_not_run_are_a_problem() {
    assert_eq!(Controls::parse("").unwrap().problems(), ["no control ran"]);
}
