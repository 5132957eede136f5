//! Scripts of random pages: against the model, and against a recorded dump.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;

use bytes::Bytes;
use sync_core::{
    Applied, Delete, Error, ErrorKind, FeedCursor, FeedEntry, FeedKind, Known, Limit, OpId,
    Operation, Page, Payloads, Result, Row, Seq, StateKey, Stats, TimeRange, TombstoneReason,
};

use crate::data::{id, key, object, order, seq, ts};
use crate::failure::{Failure, Verdict, ensure_eq, fail};
use crate::harness::Harness;
use crate::model::Model;
use crate::rig::{Db, Rig, Space};

/// Names one seed to try instead of the usual ones.
const SEED: &str = "SYNC_CONFORMANCE_SEED";
/// Seeds that are tried every time.
const SEEDS: u64 = 40;
/// Seeds that nobody chose.
const CHANCES: u64 = 10;
const IDS: u64 = 9;
const KEYS: [&str; 4] = ["cursor", "cursor.b", "lease", "%"];
const MANY: Limit = Limit::rows(1_000);

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    Apply(Box<Page>),
    /// Up to a seq of the model, which a backend with gaps translates.
    Prune(u64),
    NewEpoch,
    Restart,
}

/// `SplitMix64`: what the recorded script is made with must not change with a library.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn id(&mut self) -> OpId {
        id(self.below(IDS))
    }

    fn key(&mut self) -> StateKey {
        let at = self.below(KEYS.len() as u64) as usize;
        key(KEYS.get(at).copied().unwrap_or("cursor"))
    }

    fn value(&mut self) -> Option<Bytes> {
        let value = self.below(4);
        (value > 0).then(|| Bytes::from(vec![b'v'; value as usize - 1]))
    }

    fn operation(&mut self) -> Operation {
        let mut operation = Operation::new(
            self.id(),
            ts(self.below(3)),
            vec![b'p'; self.below(3) as usize],
        );
        if self.one_in(3) {
            operation.object = Some(object(format!("object {}", self.below(2))));
        }
        if self.one_in(2) {
            operation.sync_order = Some(order(self.below(6)));
        }
        operation
    }

    fn delete(&mut self) -> Delete {
        let reasons = TombstoneReason::ALL;
        let reason = reasons.get(self.below(5) as usize).copied();
        let mut delete = Delete::new(self.id(), reason.unwrap_or(TombstoneReason::Removed));
        if self.one_in(2) {
            delete.source_seq = Some(order(self.below(6)));
        }
        if self.one_in(3) {
            delete.object = Some(object(format!("object {}", self.below(2))));
        }
        if self.one_in(4) {
            delete.ts = Some(ts(self.below(3)));
        }
        delete.reject = self.one_in(2);
        delete
    }

    fn page(&mut self) -> Page {
        let mut page = Page::new();
        page.replace = self.one_in(3);
        page.revive = self.one_in(3);
        page.reset = self.one_in(25);
        for _ in 0..self.below(2) * self.below(3) {
            let (key, expected) = (self.key(), self.value());
            page = page.expect(key, expected);
        }
        for _ in 0..self.below(3) * self.below(2) {
            let id = self.id();
            page = page.lift(id);
        }
        for _ in 0..self.below(4) {
            let delete = self.delete();
            page = page.delete(delete);
        }
        for _ in 0..self.below(7) {
            let operation = self.operation();
            page = page.upsert(operation);
        }
        for _ in 0..self.below(3) {
            let (id, at) = (self.id(), order(self.below(6)));
            page = page.backfill(id, at);
        }
        for _ in 0..self.below(3) {
            let (key, value) = (self.key(), self.value());
            page = match value {
                Some(value) => page.set(key, value),
                None => page.unset(key),
            };
        }
        page
    }

    fn script(&mut self) -> Vec<Step> {
        (0..5 + self.below(20))
            .map(|_| match self.below(20) {
                0 => Step::Prune(self.below(60)),
                1 => Step::NewEpoch,
                2 => Step::Restart,
                _ => Step::Apply(Box::new(self.page())),
            })
            .collect()
    }
}

/// The backend and the model, and which seq of the one is which of the other.
struct Pair<'a, 'h, H: Harness> {
    db: &'a Db<'h, H>,
    name: String,
    space: Space<'h, H>,
    model: Model,
    /// By the backend's seq, the model's. Backends may leave gaps between pages.
    seqs: BTreeMap<Seq, Seq>,
}

impl<'a, 'h, H: Harness> Pair<'a, 'h, H> {
    fn new(db: &'a Db<'h, H>, name: String) -> Verdict<Self> {
        let space = db.connect()?.open(&name)?;
        Ok(Self {
            db,
            name,
            space,
            model: Model::new(),
            seqs: BTreeMap::from([(Seq::ZERO, Seq::ZERO)]),
        })
    }

    /// Takes one step on both sides and compares everything.
    fn step(&mut self, step: &Step) -> Verdict {
        let before = (self.space.stats()?.epoch, self.model.stats().epoch);
        match step {
            Step::Apply(page) => {
                let found = self.space.apply(Page::clone(page));
                let expected = self.model.apply(page);
                self.compare_answers(found, expected)?;
            }
            Step::Prune(up_to) => {
                let up_to = seq(*up_to);
                let theirs = self.seqs.iter().rfind(|(_, model)| **model <= up_to);
                let theirs = theirs.map_or(Seq::ZERO, |(theirs, _)| *theirs);
                let found = self.space.prune(theirs)?;
                // A floor between two seqs of the model is the one below.
                let expected = self.model.prune(up_to.min(self.model.stats().head));
                ensure_eq!(found.dropped, expected.dropped, "tombstones pruned");
                ensure_eq!(self.translated(found.floor)?, expected.floor, "the floor");
            }
            Step::NewEpoch => {
                let found = self.space.new_epoch()?;
                ensure_eq!(
                    found.is_some(),
                    self.model.new_epoch()?.is_some(),
                    "a new epoch"
                );
            }
            Step::Restart => self.space = self.db.connect()?.open(&self.name)?,
        }
        let after = (self.space.stats()?.epoch, self.model.stats().epoch);
        ensure_eq!(
            (after.0.is_some(), after.0 == before.0),
            (after.1.is_some(), after.1 == before.1),
            "whether the space exists, and keeps its epoch"
        );
        self.compare()
    }

    fn compare_answers(&mut self, found: Result<Applied>, expected: Result<Applied>) -> Verdict {
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                if let (Some(theirs), Some(ours)) = (found.seqs, expected.seqs) {
                    ensure_eq!(theirs.count(), ours.count(), "seqs minted");
                    let theirs = theirs.first.value()..=theirs.last.value();
                    let ours = ours.first.value()..=ours.last.value();
                    self.seqs.extend(theirs.map(seq).zip(ours.map(seq)));
                }
                let found = Applied {
                    seqs: found.seqs.and(expected.seqs),
                    ..found
                };
                ensure_eq!(found, expected, "what the page did");
                Ok(())
            }
            (Err(found), Err(expected)) => {
                ensure_eq!(
                    refusal(&found),
                    refusal(&expected),
                    "why the page was refused"
                );
                Ok(())
            }
            (Ok(found), Err(expected)) => fail!("expected {expected}, found {found:?}"),
            (Err(found), Ok(expected)) => fail!("expected {expected:?}, found {found}"),
        }
    }

    fn compare(&self) -> Verdict {
        let dump = self.space.dump()?;
        let expected = self.model.stats();
        let found = Stats {
            epoch: expected.epoch,
            head: self.translated(dump.stats.head)?,
            floor: self.translated(dump.stats.floor)?,
            ..dump.stats
        };
        ensure_eq!(found, expected, "counters");
        let rows: Vec<Row> = dump
            .rows
            .into_iter()
            .map(|row| {
                Ok(Row {
                    seq: self.translated(row.seq)?,
                    ..row
                })
            })
            .collect::<Verdict<_>>()?;
        let expected = self.model.scan_time(TimeRange::ALL, None, MANY).items;
        ensure_eq!(rows, expected, "rows by time");
        let feed: Vec<FeedEntry> = dump
            .feed
            .into_iter()
            .map(|entry| {
                Ok(FeedEntry {
                    seq: self.translated(entry.seq)?,
                    ..entry
                })
            })
            .collect::<Verdict<_>>()?;
        let expected = self
            .model
            .feed(FeedCursor::Beginning, MANY, Payloads::Include)?
            .entries;
        ensure_eq!(feed, expected, "the feed");
        let expected = self.model.list("", None, MANY).items;
        ensure_eq!(dump.state, expected, "state");
        let ids: Vec<OpId> = (0..IDS).map(id).collect();
        let found: Vec<Known> = self
            .space
            .known(&ids)?
            .into_iter()
            .map(|known| self.known(known))
            .collect::<Verdict<_>>()?;
        let expected: Vec<Known> = ids.iter().map(|id| self.model.known(*id)).collect();
        ensure_eq!(found, expected, "what is known of each id");
        self.space.audit()
    }

    fn known(&self, known: Known) -> Verdict<Known> {
        Ok(match known {
            Known::Live {
                ts,
                seq,
                sync_order,
            } => Known::Live {
                ts,
                seq: self.translated(seq)?,
                sync_order,
            },
            Known::Tombstoned {
                reason,
                seq,
                source_seq,
            } => Known::Tombstoned {
                reason,
                seq: self.translated(seq)?,
                source_seq,
            },
            Known::Unknown => Known::Unknown,
        })
    }

    fn translated(&self, theirs: Seq) -> Verdict<Seq> {
        match self.seqs.get(&theirs) {
            Some(ours) => Ok(*ours),
            None => fail!("the seq {theirs}, which no page said it minted"),
        }
    }
}

/// The same script on the backend and on the model: outcomes, rows, feed, counters and state are
/// equal after every step.
pub(crate) fn random_pages_do_what_the_model_does<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let mut spaces = 0;
    let mut attempt = |script: &[Step]| -> Verdict {
        spaces += 1;
        let mut pair = Pair::new(&db, format!("script-{spaces}"))?;
        for (n, step) in script.iter().enumerate() {
            let done = pair.step(step);
            done.map_err(|failure| failure.while_doing(&format!("step {n}")))?;
        }
        Ok(())
    };
    let chosen = match env::var(SEED) {
        Ok(seed) => match seed.parse() {
            Ok(seed) => vec![seed],
            Err(_) => fail!("{SEED} is not a number: {seed}"),
        },
        Err(_) => (0..SEEDS)
            .chain((0..CHANCES).map(|_| fastrand::u64(..)))
            .collect(),
    };
    for seed in chosen {
        let script = Random(seed).script();
        if let Err(failure) = attempt(&script) {
            let (script, failure) = shrink(script, failure, &mut attempt);
            fail!("seed {seed} (set {SEED} to try it alone): {failure}\nin the script {script:#?}");
        }
    }
    Ok(())
}

/// The shortest script found that still fails, and how it fails: steps are left out, then entries.
fn shrink(
    mut script: Vec<Step>,
    mut failure: Failure,
    attempt: &mut impl FnMut(&[Step]) -> Verdict,
) -> (Vec<Step>, Failure) {
    // Bounded, because every attempt is a run on the backend.
    let mut attempts = 500_u32;
    loop {
        let smaller = smaller(&script).into_iter().find_map(|candidate| {
            attempts = attempts.checked_sub(1)?;
            attempt(&candidate)
                .err()
                .map(|failure| (candidate, failure))
        });
        match smaller {
            Some(smaller) => (script, failure) = smaller,
            None => return (script, failure),
        }
    }
}

/// Every script that is one step, or one entry of one page, shorter.
fn smaller(script: &[Step]) -> Vec<Vec<Step>> {
    let mut smaller = Vec::new();
    for at in (0..script.len()).rev() {
        let mut without = script.to_vec();
        without.remove(at);
        smaller.push(without);
    }
    for (at, step) in script.iter().enumerate() {
        let Step::Apply(page) = step else { continue };
        for page in shorter(page) {
            let mut with = script.to_vec();
            if let Some(step) = with.get_mut(at) {
                *step = Step::Apply(Box::new(page));
            }
            smaller.push(with);
        }
    }
    smaller
}

fn shorter(page: &Page) -> Vec<Page> {
    let mut pages = Vec::new();
    macro_rules! without_one_of {
        ($($list:ident),+) => {
            $(for at in 0..page.$list.len() {
                let mut page = page.clone();
                page.$list.remove(at);
                pages.push(page);
            })+
        };
    }
    without_one_of!(preconditions, lifts, deletes, upserts, backfills, state);
    if page.reset {
        let mut page = page.clone();
        page.reset = false;
        pages.push(page);
    }
    pages
}

/// Pages of new operations alone, for which a backend may have a shorter way, and after some of them a
/// page that only looks like another one: the shorter way has to notice.
pub(crate) fn pages_that_look_new_do_what_the_model_does<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let db = rig.fresh()?;
    let mut random = Random(77);
    for n in 0..16 {
        let mut pair = Pair::new(&db, format!("new-{n}"))?;
        for page in 0..9 {
            let mut step = Page::new();
            step.replace = random.one_in(2);
            step.revive = random.one_in(2);
            for row in 0..3 {
                step = step.upsert(Operation::new(id(100 + 3 * page + row), ts(row), "new"));
            }
            if page % 4 == 3 {
                // A stored id, or one of the page itself, perhaps with another content.
                let twice = 100 + random.below(3 * page + 3);
                let payload = if random.one_in(2) { "new" } else { "other" };
                step = step.upsert(Operation::new(id(twice), ts(twice % 3), payload));
            }
            pair.step(&Step::Apply(Box::new(step.set(key("cursor"), "v"))))?;
        }
    }
    Ok(())
}

/// Pages of the recorded script.
const RECORDED: usize = 150;

/// What every backend must answer, byte for byte.
const DUMP: &str = include_str!("script/dump.txt");

/// One script, any backend, one dump.
pub(crate) fn the_recorded_script_gives_the_recorded_dump<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let mut text = String::new();
    let mut random = Random(2_026);
    for n in 0..RECORDED {
        match space.apply(random.page()) {
            Ok(applied) => {
                let Applied {
                    lifts,
                    deletes,
                    upserts,
                    backfills,
                    ..
                } = applied;
                line(
                    &mut text,
                    format_args!("page {n} {lifts:?} {deletes:?} {upserts:?} {backfills:?}"),
                )?;
            }
            Err(error) => line(&mut text, format_args!("page {n} {}", refusal(&error)))?,
        }
        if n % 30 == 29 {
            dump(&space, &mut text)?;
        }
    }
    for (n, (found, expected)) in (1..).zip(text.lines().zip(DUMP.lines())) {
        ensure_eq!(found, expected, "line {n} of the dump");
    }
    ensure_eq!(
        text.lines().count(),
        DUMP.lines().count(),
        "lines of the dump"
    );
    ensure_eq!(text, DUMP, "the dump");
    Ok(())
}

/// Everything a reader sees, without seqs, which may have gaps, and epochs, which are random.
fn dump<H: Harness>(space: &Space<'_, H>, text: &mut String) -> Verdict {
    let dump = space.dump()?;
    for row in &dump.rows {
        let Operation {
            id,
            ts,
            object,
            sync_order,
            payload,
        } = &row.operation;
        let object = object
            .as_ref()
            .map(|object| object.as_bytes().escape_ascii());
        let (object, order) = (absent(object), absent(*sync_order));
        let payload = payload.escape_ascii();
        line(
            text,
            format_args!("row {id} {ts} object {object} order {order} payload \"{payload}\""),
        )?;
    }
    for FeedEntry {
        id,
        ts,
        object,
        kind,
        ..
    } in &dump.feed
    {
        let object = absent(
            object
                .as_ref()
                .map(|object| object.as_bytes().escape_ascii()),
        );
        let ts = absent(*ts);
        match kind {
            FeedKind::Live { .. } => {
                line(text, format_args!("feed {id} {ts} object {object} live"))?;
            }
            FeedKind::Tombstone {
                reason,
                source_seq,
                lifted,
            } => {
                let at = absent(*source_seq);
                let lifted = if *lifted { " lifted" } else { "" };
                line(
                    text,
                    format_args!("feed {id} {ts} object {object} {reason} at {at}{lifted}"),
                )?;
            }
        }
    }
    for entry in &dump.state {
        line(
            text,
            format_args!("state {} = \"{}\"", entry.key, entry.value.escape_ascii()),
        )?;
    }
    let Stats {
        total,
        ordered,
        tombstones,
        ..
    } = dump.stats;
    line(
        text,
        format_args!("stats total {total} ordered {ordered} tombstones {tombstones}"),
    )
}

fn absent(value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Why a page was refused. In which order a conflict names its keys is the backend's.
fn refusal(error: &Error) -> ErrorKind {
    match error.kind() {
        ErrorKind::Conflict(mismatches) => {
            let mut mismatches = mismatches.clone();
            mismatches.sort_by(|a, b| a.key.cmp(&b.key));
            ErrorKind::Conflict(mismatches)
        }
        kind => kind.clone(),
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) -> Verdict {
    match writeln!(text, "{words}") {
        Ok(()) => Ok(()),
        Err(error) => fail!("a line that cannot be written: {error}"),
    }
}
