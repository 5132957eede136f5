//! The example `harness`, driven by lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../examples/harness.rs"]
mod harness;

use std::collections::BTreeSet;

/// What the harness answers to these lines.
fn answers(lines: &[String], limit: usize) -> Vec<String> {
    let mut output = Vec::new();
    harness::run(lines.join("\n").as_bytes(), &mut output, limit).unwrap();
    let output = String::from_utf8(output).unwrap();
    output.lines().map(str::to_owned).collect()
}

fn items(numbers: impl Iterator<Item = u32>) -> Vec<String> {
    let mut lines: Vec<_> = numbers
        .map(|n| {
            // Ids that are not random have equal sums, and equal sums are equal fingerprints.
            let mixed = fastrand::Rng::with_seed(n.into()).u64(..);
            let ts = 1_700_000_000 + n / 3;
            format!("item,{ts},{n:08x}{mixed:016x}{}", "5a".repeat(20))
        })
        .collect();
    // The order of lines is nobody's business.
    lines.reverse();
    lines.push("seal".to_owned());
    lines
}

#[test]
fn two_harnesses_find_their_difference_line_by_line() {
    for limit in [0, 4_096] {
        // A session begins anew with each call: every side is given all lines so far.
        let mut asks = items((0..3_000).filter(|n| n % 10 != 0));
        let mut responds = items((0..3_000).filter(|n| n % 7 != 0));
        asks.push("initiate".to_owned());
        let mut rounds = 0;
        let told = loop {
            let told = answers(&asks, limit);
            let last = told.last().unwrap().clone();
            if last == "done" {
                break told;
            }
            assert!(last.len() <= 4 + 2 * 4_096 || limit == 0);
            responds.push(last);
            let answer = answers(&responds, limit).pop().unwrap();
            assert!(answer.starts_with("msg,"));
            asks.push(answer);
            rounds += 1;
        };
        assert!(if limit == 0 { rounds < 5 } else { rounds > 3 }, "{rounds}");

        let found = |what: &str| {
            let ids = told.iter().filter_map(|line| line.strip_prefix(what));
            let numbers = ids.map(|id| u32::from_str_radix(&id[..8], 16).unwrap());
            let found: Vec<_> = numbers.collect();
            let distinct: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(found.len(), distinct.len(), "{what}");
            distinct
        };
        let expected = |present: u32, absent: u32| {
            (0..3_000)
                .filter(|n| n % present != 0 && n % absent == 0)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(found("have,"), expected(10, 7));
        assert_eq!(found("need,"), expected(7, 10));
    }
}

#[test]
fn lines_are_what_other_implementations_write() {
    let empty = ["seal", "initiate"].map(str::to_owned);
    assert_eq!(answers(&empty, 0), ["msg,6100000200"]);
    let id = "11".repeat(32);
    let one = [
        format!("item,5,{id}"),
        "seal".to_owned(),
        "msg,6100000200".to_owned(),
    ];
    assert_eq!(answers(&one, 0), [format!("msg,6100000201{id}")]);
    let mut asks = empty.to_vec();
    asks.push(format!("msg,6100000201{id}"));
    assert_eq!(
        answers(&asks, 0),
        [
            "msg,6100000200".to_owned(),
            format!("need,{id}"),
            "done".to_owned()
        ]
    );
}

#[test]
fn a_line_that_makes_no_sense_ends_the_harness_with_an_error() {
    for lines in [
        "msg,61",
        "seal\nseal",
        "item,9007199254740992,00",
        "seal\ninitiate\nmsg,zz",
    ] {
        assert!(
            harness::run(lines.as_bytes(), &mut Vec::new(), 0).is_err(),
            "{lines}"
        );
    }
}
