//! A log that answers, against what a real Gatekeeper answered.

use serde::Deserialize;
use serde_json::value::RawValue;
use sync_mdip_simulator::{Capture, Config, Log, generate, write_capture, write_snapshot};

use crate::files::files;

/// Recorded answers: of changes from zero, and of a snapshot with the changes after it.
struct Recorded {
    changes: String,
    after: String,
    snapshot: String,
    what: &'static str,
}

/// A capture where there is one. Else a generated log's answers, whose histories no real
/// Gatekeeper has checked.
fn recorded() -> Recorded {
    if let Some(recorded) = files() {
        let [changes, after, snapshot] = recorded.try_into().unwrap();
        return Recorded {
            changes,
            after,
            snapshot,
            what: "the capture",
        };
    }
    let mut log = Log::from_rows(generate(Config::new(11, 3000))).unwrap();
    log.snapshot_at(1500);
    let mut snapshot = Vec::new();
    write_snapshot(&log, 500, &mut snapshot).unwrap();
    Recorded {
        changes: lines(&changes(&log, 0, 500)),
        after: lines(&changes(&log, 1500, 500)),
        snapshot: String::from_utf8(snapshot).unwrap(),
        what: "no capture here; a generated log's answers instead",
    }
}

fn lines(answers: &[String]) -> String {
    answers.iter().map(|answer| answer.clone() + "\n").collect()
}

fn log(recorded: &Recorded) -> Log {
    Log::from_captured(recorded.changes.lines(), recorded.snapshot.lines()).unwrap()
}

/// What stands in an answer, each record in its own bytes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    cursor: Option<String>,
    checkpoint_cursor: String,
    has_more: bool,
    #[serde(borrow)]
    dids: Vec<&'a RawValue>,
    #[serde(borrow)]
    blocks: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    operations: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    removed_operations: Vec<&'a RawValue>,
}

fn read(answer: &str) -> Answer<'_> {
    serde_json::from_str(answer).unwrap()
}

fn changes(log: &Log, from: u64, limit: usize) -> Vec<String> {
    let mut answers = Vec::new();
    let mut cursor = from.to_string();
    loop {
        let request = format!(
            r#"{{"mode":"changes","cursor":"{cursor}","limit":{limit},"includeOperations":true}}"#
        );
        let answer = log.export(request.as_bytes()).unwrap();
        let page = read(&answer);
        let (next, more) = (page.cursor.unwrap(), page.has_more);
        answers.push(answer);
        if !more {
            return answers;
        }
        assert_ne!(next, cursor);
        cursor = next;
    }
}

fn snapshot(log: &Log, limit: usize) -> Vec<String> {
    let mut answers: Vec<String> = Vec::new();
    loop {
        let request = match answers.last().map(|answer| read(answer)) {
            None => format!(r#"{{"mode":"snapshot","cursor":null,"limit":{limit}}}"#),
            Some(page) if page.has_more => format!(
                r#"{{"mode":"snapshot","cursor":"{}","checkpointCursor":"{}","limit":{limit}}}"#,
                page.cursor.unwrap(),
                page.checkpoint_cursor
            ),
            Some(_) => return answers,
        };
        answers.push(log.export(request.as_bytes()).unwrap());
    }
}

type Part = for<'a> fn(Answer<'a>) -> Vec<&'a RawValue>;

fn all<'a>(answers: impl IntoIterator<Item = &'a str>, part: Part) -> Vec<&'a str> {
    let parts = answers.into_iter().flat_map(|answer| part(read(answer)));
    parts.map(RawValue::get).collect()
}

const LIMITS: [usize; 4] = [1, 7, 500, 5000];

#[test]
fn a_captured_log_answers_its_changes_byte_for_byte_at_any_limit() {
    let recorded = recorded();
    let log = log(&recorded);
    for limit in LIMITS {
        let answers = changes(&log, 0, limit);
        for part in [
            (|answer| answer.operations) as Part,
            |answer| answer.removed_operations,
            |answer| answer.blocks,
        ] {
            let expected = all(recorded.changes.lines(), part);
            assert!(!expected.is_empty());
            let found = all(answers.iter().map(String::as_str), part);
            assert!(found == expected, "limit {limit}");
        }
    }
    let operations = all(recorded.changes.lines(), |answer| answer.operations).len();
    crate::say(&format!("{}: {operations} operations", recorded.what));
}

#[test]
fn a_captured_log_answers_its_snapshot_byte_for_byte_at_any_limit() {
    let recorded = recorded();
    let log = log(&recorded);
    let dids = all(recorded.snapshot.lines(), |answer| answer.dids);
    for limit in LIMITS {
        let answers = snapshot(&log, limit);
        let found = all(answers.iter().map(String::as_str), |answer| answer.dids);
        assert!(found == dids, "limit {limit}");
        let checkpoint = read(recorded.snapshot.lines().next().unwrap()).checkpoint_cursor;
        assert!(
            answers
                .iter()
                .all(|answer| read(answer).checkpoint_cursor == checkpoint)
        );
    }
    let events = recorded.snapshot.matches(r#""operation":{"#).count();
    crate::say(&format!(
        "{}: {events} operations in the snapshot",
        recorded.what
    ));
}

/// Histories, confirmations and the order of DIDs included.
#[test]
fn a_captured_log_asked_again_gives_the_answers_that_were_recorded() {
    let recorded = recorded();
    let log = log(&recorded);
    let limit = 500;
    for (from, answers) in [
        (0, &recorded.changes),
        (read_checkpoint(&recorded), &recorded.after),
    ] {
        for (found, expected) in changes(&log, from, limit).iter().zip(answers.lines()) {
            let difference = found
                .bytes()
                .zip(expected.bytes())
                .position(|(a, b)| a != b);
            let at = difference.unwrap_or_default();
            let around =
                |text: &str| text[at.saturating_sub(80)..(at + 80).min(text.len())].to_owned();
            assert!(found == expected, "{}\n{}", around(found), around(expected));
        }
    }
    assert_eq!(lines(&snapshot(&log, limit)), recorded.snapshot);
}

fn read_checkpoint(recorded: &Recorded) -> u64 {
    let first = recorded.snapshot.lines().next().unwrap();
    read(first).checkpoint_cursor.parse().unwrap()
}

#[test]
fn a_log_frozen_at_a_position_answers_the_snapshot_of_its_rows_up_to_there() {
    let rows = generate(Config::new(12, 1000)).collect::<Vec<_>>();
    let mut whole = Log::from_rows(rows.iter().cloned()).unwrap();
    for seq in [0, 1, 300, 700, whole.newest()] {
        let before = rows.iter().take_while(|row| row.seq <= seq).cloned();
        let mut prefix = Log::from_rows(before).unwrap();
        prefix.set_epoch(whole.epoch());
        whole.snapshot_at(seq);
        let expected = snapshot(&prefix, 13);
        assert_eq!(snapshot(&whole, 13), expected, "{seq}");
        // What happens afterwards does not show.
        let did = whole.create("hyperswarm");
        assert_eq!(snapshot(&whole, 13), expected, "{seq}");
        whole.snapshot_now();
        assert!(snapshot(&whole, 13).concat().contains(&did));
        whole.rewind(rows.last().unwrap().seq);
    }
}

#[test]
fn a_written_capture_holds_the_log_that_was_written() {
    for limit in [1, 7, 500] {
        let capture = Capture {
            epoch: "an epoch".to_owned(),
            newest: None,
            limit,
        };
        let rows = || generate(Config::new(13, 600));
        let mut file = Vec::new();
        let pages = write_capture(rows(), &capture, &mut file).unwrap();
        let file = String::from_utf8(file).unwrap();
        assert_eq!(file.lines().count() as u64, pages);
        let log = Log::from_captured(file.lines(), []).unwrap();
        assert_eq!(log.epoch(), "an epoch");
        let expected = Log::from_rows(rows()).unwrap();
        let records = |log: &Log, part: Part| {
            let answers = changes(log, 0, 100);
            let records = all(answers.iter().map(String::as_str), part);
            records.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            records(&log, |answer| answer.operations),
            records(&expected, |answer| answer.operations)
        );
        assert_eq!(
            records(&log, |answer| answer.removed_operations),
            records(&expected, |answer| answer.removed_operations)
        );
        let mut cursor = 0;
        for line in file.lines() {
            let page = read(line);
            let next = page.cursor.unwrap().parse::<u64>().unwrap();
            assert!(next > cursor && page.has_more == (next < expected.newest()));
            let checkpoint = page.checkpoint_cursor.parse::<u64>().unwrap();
            assert_eq!(page.has_more, checkpoint > next);
            cursor = next;
        }
        assert_eq!(cursor, expected.newest());
    }
}

#[test]
fn an_empty_log_is_written_as_one_empty_page() {
    let capture = Capture {
        epoch: "e".to_owned(),
        newest: Some(0),
        limit: 0,
    };
    let mut file = Vec::new();
    assert_eq!(write_capture([], &capture, &mut file).unwrap(), 1);
    let expected = r#"{"mode":"changes","indexEpoch":"e","cursor":null,"checkpointCursor":"0","hasMore":false,"dids":[],"blocks":[],"operations":[]}"#;
    assert_eq!(String::from_utf8(file).unwrap().trim_end(), expected);
}

#[test]
fn what_is_no_capture_is_refused_with_its_line() {
    let recorded = recorded();
    let first = recorded.changes.lines().next().unwrap();
    let errors = [
        vec![first, "{}"],
        vec![first, &first[..first.len() / 2]],
        vec![first, "\u{0}"],
    ];
    for lines in errors {
        let error = Log::from_captured(lines, []).unwrap_err();
        assert_eq!(error.to_string(), "line 2 is no answer of the index export");
    }
    let error = Log::from_captured([first, first], []).unwrap_err();
    assert_eq!(error.to_string(), "the answers do not follow one another");
}
