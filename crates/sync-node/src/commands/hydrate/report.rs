use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use sync_hydrate::{Progress, Status};
use sync_store::{SpaceName, SyncOrder, Totals};

use crate::count::Count;
use crate::failure::Result;
use crate::progress::per_second;
use crate::report::Report;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    source: Option<&'a str>,
    epoch: Option<&'a str>,
    phase: &'static str,
    /// How far the log is read; absent during the snapshot.
    cursor: Option<u64>,
    /// Where the snapshot began in the log, or where the backfill ends.
    checkpoint: Option<u64>,
    /// How far the backfill is, where one is under way.
    walked: Option<u64>,
    /// Operations the source held.
    held: Option<u64>,
    /// Rows without order.
    unordered: Option<u64>,
    /// Pages and records that this run read, repetitions included.
    pages: u64,
    records: u64,
    totals: Outcomes,
    left_out: LeftOut,
    /// Invalid records of this run, by reason.
    invalid: BTreeMap<&'a str, u64>,
    conflicts: u64,
    resets: u64,
    seconds: f64,
    records_per_second: u64,
    spent: Spent,
}

/// What became of the records.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcomes {
    inserted: u64,
    replaced: u64,
    ordered: u64,
    unchanged: u64,
    order_conflicts: u64,
    divergent: u64,
    tombstoned: u64,
    deleted: u64,
    rejected: u64,
    already_deleted: u64,
    superseded: u64,
    other_object: u64,
    unknown: u64,
}

#[derive(Serialize)]
struct LeftOut {
    /// Private to the source.
    local: u64,
    /// Nothing shows that they are not private.
    unshown: u64,
}

/// Where the time went.
#[derive(Serialize)]
struct Spent {
    fetch: Part,
    parse: Part,
    verify: Part,
    store: Part,
}

#[derive(Clone, Copy, Serialize)]
struct Part {
    seconds: f64,
    /// Of the sum of all parts; 0 to 1.
    share: f64,
}

/// The report of a run that took `time`.
pub(super) fn report(
    space: &SpaceName,
    status: Option<&Status>,
    progress: &Progress,
    time: Duration,
) -> Result<Report> {
    let position = |of: fn(&Status) -> Option<SyncOrder>| status.and_then(of).map(u64::from);
    let document = Document {
        space: space.as_str(),
        source: status.map(|status| status.name.as_str()),
        epoch: status.map(|status| status.epoch.as_str()),
        phase: status.map_or(progress.phase, |status| status.phase).name(),
        cursor: position(|status| status.cursor),
        checkpoint: position(|status| status.checkpoint),
        walked: position(|status| status.backfilled),
        held: status.map(|status| status.held),
        unordered: status.map(|status| status.unordered),
        pages: progress.pages,
        records: progress.records,
        totals: Outcomes::of(progress.totals),
        left_out: LeftOut {
            local: progress.private,
            unshown: progress.unshown,
        },
        invalid: progress
            .invalid
            .iter()
            .map(|(reason, count)| (reason.as_ref(), *count))
            .collect(),
        conflicts: progress.conflicts,
        resets: progress.resets,
        seconds: seconds(time),
        records_per_second: per_second(progress.records, time),
        spent: Spent::of(progress),
    };
    let text = document.to_text();
    Report::new(&document, text)
}

/// Seconds to the millisecond.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

impl Outcomes {
    fn of(totals: Totals) -> Self {
        Self {
            inserted: totals.inserted,
            replaced: totals.replaced,
            ordered: totals.ordered,
            unchanged: totals.unchanged,
            order_conflicts: totals.order_conflicts,
            divergent: totals.divergent,
            tombstoned: totals.tombstoned,
            deleted: totals.deleted,
            rejected: totals.rejected,
            already_deleted: totals.already_deleted,
            superseded: totals.superseded,
            other_object: totals.other_object,
            unknown: totals.unknown,
        }
    }
}

impl Spent {
    fn of(progress: &Progress) -> Self {
        let spent = progress.spent;
        let whole = spent.fetch + spent.parse + spent.verify + progress.stored;
        let part = |time: Duration| Part {
            seconds: seconds(time),
            share: if whole.is_zero() {
                0.0
            } else {
                (time.as_secs_f64() / whole.as_secs_f64() * 1e3).round() / 1e3
            },
        };
        Self {
            fetch: part(spent.fetch),
            parse: part(spent.parse),
            verify: part(spent.verify),
            store: part(progress.stored),
        }
    }
}

impl Document<'_> {
    fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = write!(text, "space {}", self.space);
        if let Some(source) = self.source {
            let _ = write!(text, ", source {}", source.escape_debug());
        }
        let _ = write!(text, ": {}", self.phase);
        if let (Some(walked), Some(checkpoint)) = (self.walked, self.checkpoint) {
            let _ = write!(text, ", {walked} of {checkpoint} walked");
        }
        let _ = match (self.cursor, self.held) {
            (Some(cursor), Some(held)) => {
                let held = Count(held, "operation");
                writeln!(text, ", read up to {cursor}; the source holds {held}")
            }
            _ => writeln!(text),
        };
        let _ = writeln!(
            text,
            "{} in {}, {:.1} s, {} a second",
            Count(self.records, "record"),
            Count(self.pages, "page"),
            self.seconds,
            Count(self.records_per_second, "record")
        );
        self.write_outcomes(&mut text);
        for (reason, count) in &self.invalid {
            let _ = writeln!(text, "invalid, {}: {count}", reason.escape_debug());
        }
        let Spent {
            fetch,
            parse,
            verify,
            store,
        } = self.spent;
        let percent = |part: Part| part.share * 100.0;
        let _ = writeln!(
            text,
            "time: source {:.0} %, parser {:.0} %, verification {:.0} %, store {:.0} %",
            percent(fetch),
            percent(parse),
            percent(verify),
            percent(store)
        );
        text
    }

    fn write_outcomes(&self, text: &mut String) {
        let totals = &self.totals;
        for (count, what) in [
            (totals.inserted, "inserted"),
            (totals.replaced, "replaced by the source's record"),
            (
                totals.ordered,
                "rows that were there without order, and got it",
            ),
            (totals.deleted, "deleted"),
            (totals.rejected, "removed before they were here"),
            (totals.unchanged, "rows that were there already"),
            (
                totals.divergent,
                "not stored, because another record has the id here",
            ),
            (
                totals.order_conflicts,
                "order not stored, because the row has another one here",
            ),
            (
                totals.tombstoned,
                "not stored, because the id has a tombstone here",
            ),
            (
                totals.superseded,
                "removals skipped, because a newer addition is stored",
            ),
            (
                totals.other_object,
                "removals skipped, because they name another object",
            ),
            (self.left_out.local, "left out as private to the source"),
            (
                self.left_out.unshown,
                "left out because nothing shows that they are not private",
            ),
            (
                self.conflicts,
                "pages written by another process in the meantime",
            ),
            (
                self.resets,
                "resets of the space, because the source began a new history",
            ),
            (self.unordered.unwrap_or(0), "rows without order"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "{what}: {count}");
            }
        }
    }
}
