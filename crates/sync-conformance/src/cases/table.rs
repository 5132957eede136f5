//! The table of outcomes, line by line and pair by pair, and what follows from it for a source's
//! log in any order.

use sync_core::{
    Applied, BackfillOutcome, Delete, DeleteOutcome, Known, LiftOutcome, OpId, Operation, Page,
    TombstoneReason, UpsertOutcome,
};

use crate::data::{id, object, order, page_of, removed, seq, ts};
use crate::failure::{Failure, Verdict, ensure, ensure_eq, fail};
use crate::harness::Harness;
use crate::rig::{Rig, Space};

/// Written out, not computed: what the cases below are held against.
const OUTCOMES: &str = include_str!("table/outcomes.txt");

/// What a page says about its upserts, as the table names it.
const POLICIES: [&str; 4] = ["-", "+replace", "+revive", "+both"];

/// One line of the table.
#[derive(Clone, Copy)]
struct Line {
    standing: &'static str,
    policy: &'static str,
    inputs: &'static str,
    outcomes: &'static str,
    after: &'static str,
}

impl Line {
    fn parse(text: &'static str) -> Option<Self> {
        let (before, after) = text.split_once(" -> ")?;
        let (standing, rest) = before.split_once(' ')?;
        let (policy, rest) = rest.trim_start().split_once(' ')?;
        // Inputs are one or two words of two or three characters; outcomes are longer.
        let rest = rest.trim_start();
        let outcomes = rest.split(' ').find(|word| word.len() > 3)?;
        let (inputs, _) = rest.split_once(outcomes)?;
        let outcomes = rest.get(inputs.len()..)?;
        Some(Self {
            standing,
            policy,
            inputs: inputs.trim_end(),
            outcomes,
            after,
        })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            standing,
            policy,
            inputs,
            ..
        } = self;
        write!(f, "{inputs} on an id that is {standing}, policy {policy}")
    }
}

fn lines() -> Verdict<Vec<Line>> {
    let lines = OUTCOMES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|text| Line::parse(text).ok_or_else(|| Failure::new(format!("not a line: {text}"))))
        .collect()
}

/// The record the table calls U, of the id number `n`.
fn record(n: u64) -> Operation {
    Operation::new(id(n), ts(100 + n), format!("record {n}")).about(object("a"))
}

/// The record the table calls V.
fn other(n: u64) -> Operation {
    Operation::new(id(n), ts(200 + n), format!("other {n}")).about(object("a"))
}

/// An input's letter, the object it names and its number: `Db6` is `('D', Some("b"), Some(6))`.
fn parts(input: &str) -> Option<(char, Option<&str>, Option<u64>)> {
    let mut chars = input.chars();
    let letter = chars.next()?;
    let rest = chars.as_str();
    let at = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (name, number) = rest.split_at(at);
    let number = if number.is_empty() {
        None
    } else {
        Some(number.parse().ok()?)
    };
    Some((letter, (!name.is_empty()).then_some(name), number))
}

/// Adds the input on the id number `n` to the page.
fn add(page: Page, n: u64, input: &'static str) -> Verdict<Page> {
    let Some((letter, name, at)) = parts(input) else {
        fail!("not an input: {input}");
    };
    let delete = |reason| Delete {
        source_seq: at.map(order),
        object: name.map(|name| object(name.to_owned())),
        reject: letter == 'R',
        ..Delete::new(id(n), reason)
    };
    let upsert = |operation: Operation| Operation {
        sync_order: at.map(order),
        ..operation
    };
    Ok(match letter {
        'L' => page.lift(id(n)),
        'D' => page.delete(delete(TombstoneReason::Removed)),
        'R' => page.delete(delete(TombstoneReason::Rejected)),
        'O' => page.delete(delete(TombstoneReason::Operator)),
        'U' => page.upsert(upsert(record(n))),
        'V' => page.upsert(upsert(other(n))),
        'B' => page.backfill(id(n), order(at.unwrap_or_default())),
        _ => fail!("not an input: {input}"),
    })
}

fn with_policy(mut page: Page, policy: &str) -> Page {
    page.replace = matches!(policy, "+replace" | "+both");
    page.revive = matches!(policy, "+revive" | "+both");
    page
}

/// Brings the ids to their standing, in three pages for all of them.
fn prepare<H: Harness>(space: &Space<'_, H>, standings: &[&str]) -> Verdict {
    let (mut rows, mut deletes, mut lifts) = (Page::new(), Page::new(), Page::new());
    for (n, standing) in (0..).zip(standings) {
        let delete = |reason| Delete::new(id(n), reason);
        match *standing {
            "unknown" => continue,
            "live" => {}
            "live5" => {
                rows.upserts.push(record(n).at(order(5)));
                continue;
            }
            "removed" => deletes.deletes.push(delete(TombstoneReason::Removed)),
            "removed5" => deletes
                .deletes
                .push(delete(TombstoneReason::Removed).at(order(5))),
            "operator" => deletes.deletes.push(delete(TombstoneReason::Operator)),
            "lifted" => {
                deletes
                    .deletes
                    .push(delete(TombstoneReason::Removed).at(order(5)));
                lifts.lifts.push(id(n));
            }
            _ => fail!("not a standing: {standing}"),
        }
        rows.upserts.push(record(n));
    }
    for page in [rows, deletes, lifts] {
        let _ = space.apply(page)?;
    }
    Ok(())
}

/// The outcomes of the page, in the words of the table, taken list by list as the inputs ask.
struct Answers {
    lifts: std::vec::IntoIter<LiftOutcome>,
    deletes: std::vec::IntoIter<DeleteOutcome>,
    upserts: std::vec::IntoIter<UpsertOutcome>,
    backfills: std::vec::IntoIter<BackfillOutcome>,
}

impl Answers {
    fn new(applied: Applied) -> Self {
        Self {
            lifts: applied.lifts.into_iter(),
            deletes: applied.deletes.into_iter(),
            upserts: applied.upserts.into_iter(),
            backfills: applied.backfills.into_iter(),
        }
    }

    fn next(&mut self, input: &str) -> String {
        let word = match input.as_bytes().first() {
            Some(b'L') => self.lifts.next().map(|outcome| format!("{outcome:?}")),
            Some(b'D' | b'R' | b'O') => self.deletes.next().map(|outcome| format!("{outcome:?}")),
            Some(b'U' | b'V') => self.upserts.next().map(|outcome| match outcome {
                UpsertOutcome::OrderConflict { stored } => format!("Conflict{stored}"),
                outcome => format!("{outcome:?}"),
            }),
            _ => self.backfills.next().map(|outcome| match outcome {
                BackfillOutcome::OrderConflict { stored } => format!("Conflict{stored}"),
                outcome => format!("{outcome:?}"),
            }),
        };
        word.unwrap_or_else(|| "nothing".to_owned())
    }
}

/// The standing of the id number `n`, in the words of the table.
fn standing(n: u64, known: Known, row: Option<&Operation>) -> String {
    let with = |word: &str, number: Option<sync_core::SyncOrder>| match number {
        Some(number) => format!("{word}{number}"),
        None => word.to_owned(),
    };
    match (known, row) {
        (Known::Unknown, None) => "unknown".to_owned(),
        (
            Known::Tombstoned {
                reason, source_seq, ..
            },
            None,
        ) => with(reason.name(), source_seq),
        (Known::Live { sync_order, .. }, Some(row)) => {
            let plain = Operation {
                sync_order: None,
                ..row.clone()
            };
            if row.sync_order != sync_order {
                format!("known at {sync_order:?} and read at {:?}", row.sync_order)
            } else if plain == record(n) {
                with("live", sync_order)
            } else if plain == other(n) {
                with("other", sync_order)
            } else {
                format!("{row:?}")
            }
        }
        (known, row) => format!("known as {known:?} and read as {row:?}"),
    }
}

fn check_standings<H: Harness>(space: &Space<'_, H>, lines: &[Line]) -> Verdict {
    let ids: Vec<OpId> = (0..lines.len() as u64).map(id).collect();
    let known = space.known(&ids)?;
    let rows = space.get(&ids)?;
    for ((n, line), (known, row)) in (0..).zip(lines).zip(known.into_iter().zip(rows)) {
        let found = standing(n, known, row.as_ref().map(|row| &row.operation));
        ensure_eq!(found, line.after, "the standing after {line}");
    }
    space.audit()
}

pub(crate) fn every_line_of_the_table_holds_in_a_page_of_its_own<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let (_db, space) = rig.space()?;
    let lines = lines()?;
    ensure!(
        lines.len() > 1_000,
        "only {} lines in the table",
        lines.len()
    );
    let standings: Vec<&str> = lines.iter().map(|line| line.standing).collect();
    prepare(&space, &standings)?;
    for (n, line) in (0..).zip(&lines) {
        let mut page = Page::new();
        for input in line.inputs.split(' ') {
            page = add(page, n, input)?;
        }
        let mut answers = Answers::new(space.apply(with_policy(page, line.policy))?);
        let found: Vec<String> = line
            .inputs
            .split(' ')
            .map(|input| answers.next(input))
            .collect();
        ensure_eq!(found.join(" "), line.outcomes, "the outcomes of {line}");
    }
    check_standings(&space, &lines)
}

/// Many ids in one page, as a statement over sets sees them.
pub(crate) fn every_line_of_the_table_holds_in_one_page_of_all<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    let db = rig.fresh()?;
    let all = lines()?;
    for policy in POLICIES {
        let space = db.connect()?.open(&policy.replace(['+', '-'], "policy."))?;
        // A line without policy, or the line of this policy in its place.
        let lines: Vec<Line> = all
            .iter()
            .filter(|line| line.policy == "-")
            .map(|plain| {
                let own = all.iter().find(|line| {
                    (line.policy, line.standing, line.inputs)
                        == (policy, plain.standing, plain.inputs)
                });
                own.copied().unwrap_or(*plain)
            })
            .collect();
        let standings: Vec<&str> = lines.iter().map(|line| line.standing).collect();
        prepare(&space, &standings)?;
        let mut page = Page::new();
        for (n, line) in (0..).zip(&lines) {
            for input in line.inputs.split(' ') {
                page = add(page, n, input)?;
            }
        }
        let mut answers = Answers::new(space.apply(with_policy(page, policy))?);
        for line in &lines {
            let found: Vec<String> = line
                .inputs
                .split(' ')
                .map(|input| answers.next(input))
                .collect();
            ensure_eq!(
                found.join(" "),
                line.outcomes,
                "the outcomes of {line}, page {policy}"
            );
        }
        check_standings(&space, &lines)?;
    }
    Ok(())
}

/// Until it is passed, lifted or pruned. `known` tells all of it apart.
pub(crate) fn a_tombstone_keeps_an_id_away<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..3))?;
    let delete = |n, reason| Delete::new(id(n), reason);
    let page = Page::new()
        .delete(delete(0, TombstoneReason::Removed).at(order(5)))
        .delete(delete(1, TombstoneReason::Rejected))
        .delete(delete(2, TombstoneReason::Operator))
        .delete(delete(3, TombstoneReason::Operator).reject())
        .delete(delete(6, TombstoneReason::Rejected).reject())
        .delete(delete(4, TombstoneReason::Removed));
    let _ = space.apply(page)?;
    drop(space);
    let space = db.space()?;
    let plain = space.apply(page_of(0..5))?;
    let expected = [
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Inserted,
    ];
    ensure_eq!(plain.upserts, expected, "what a peer's page does");
    let at = |n: u64, at: u64| crate::data::op(n).at(order(at));
    let page = Page::new()
        .upserts([at(0, 5), at(0, 6), at(1, 0), at(2, 9), at(3, 9)])
        .reviving();
    let expected = [
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Inserted,
        UpsertOutcome::Inserted,
        UpsertOutcome::Tombstoned,
        UpsertOutcome::Tombstoned,
    ];
    ensure_eq!(
        space.apply(page)?.upserts,
        expected,
        "what a source's page does"
    );
    let reasons: Vec<Option<TombstoneReason>> = space
        .known(&crate::data::ids(0..6))?
        .iter()
        .map(|known| match known {
            Known::Tombstoned { reason, .. } => Some(*reason),
            Known::Live { .. } | Known::Unknown => None,
        })
        .collect();
    let operator = Some(TombstoneReason::Operator);
    ensure_eq!(
        reasons,
        [None, None, operator, operator, None, None],
        "the tombstones that stand"
    );
    // What a prune takes is forgotten: the floor says so.
    let _ = space.prune(seq(u64::MAX))?;
    ensure_eq!(
        space.known(&[id(6)])?,
        [Known::Unknown],
        "a pruned tombstone"
    );
    let inserted = space.apply(page_of(6..7))?.totals().inserted;
    ensure_eq!(
        inserted,
        1,
        "rows that come once their tombstones are pruned"
    );
    space.audit()
}

/// An operator's decision can be taken back; the feed remembers both.
pub(crate) fn a_lift_takes_back_the_veto_and_keeps_the_entry<H: Harness>(
    rig: &Rig<'_, H>,
) -> Verdict {
    use sync_core::{FeedCursor, FeedKind, Limit};
    let (db, space) = rig.space()?;
    let _ = space.apply(page_of(0..2))?;
    let page = Page::new()
        .delete(Delete::new(id(0), TombstoneReason::Operator).at(order(7)))
        .delete(removed(id(5)).reject());
    let _ = space.apply(page)?;
    let before = space.dump()?;
    let applied = space.apply(Page::new().lift(id(0)).lift(id(1)).lift(id(9)))?;
    let expected = [
        LiftOutcome::Lifted,
        LiftOutcome::NotTombstoned,
        LiftOutcome::NotTombstoned,
    ];
    ensure_eq!(applied.lifts, expected, "outcomes of lifts");
    ensure_eq!(applied.seqs, None, "seqs of a lift");
    drop(space);
    let space = db.space()?;
    ensure_eq!(space.known(&[id(0)])?, [Known::Unknown], "a lifted id");
    let after = space.dump()?;
    ensure_eq!(after.stats, before.stats, "counters after a lift");
    let lifted: Vec<(OpId, bool)> = space
        .entries(FeedCursor::Beginning, Limit::rows(10))?
        .iter()
        .filter_map(|entry| match entry.kind {
            FeedKind::Tombstone { lifted, .. } => Some((entry.id, lifted)),
            FeedKind::Live { .. } => None,
        })
        .collect();
    ensure_eq!(
        lifted,
        [(id(0), true), (id(5), false)],
        "(id, lifted) of the feed's tombstones"
    );
    // Below the lifted source seq, by a plain page; then the whole way once more.
    let applied = space.apply(Page::new().upsert(crate::data::op(0).at(order(1))))?;
    ensure_eq!(
        applied.upserts,
        [UpsertOutcome::Inserted],
        "the id that was lifted"
    );
    let _ = space.apply(Page::new().delete(removed(id(0))))?;
    let applied = space.apply(page_of(0..1))?;
    ensure_eq!(
        applied.upserts,
        [UpsertOutcome::Tombstoned],
        "the id with a newer tombstone"
    );
    ensure_eq!(
        space.stats()?.tombstones,
        3,
        "tombstones: the lifted, the rejected, the newer"
    );
    space.audit()
}
