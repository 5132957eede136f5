//! A page of new operations, in a transaction under `WATCH`.
//!
//! Two round trips on a connection that no other call uses meanwhile. The first one watches every key
//! of the space, asks which server this is, looks up what the page names, and ends with `MULTI`.
//! Commands that write are sent only once the server has confirmed it. The second one is these
//! commands and `EXEC`. What was looked up still holds when `EXEC` is carried out, because `EXEC`
//! answers nil where any of the keys was touched since: by another writer, a reset, a prune, another
//! program, or a replication that replaced the data.
//!
//! - **The server's identity** (`master_replid`) is read in the first round trip, and the page counts
//!   as written under it. It cannot be out of date in a way that matters. Another process is another
//!   connection, which knows of no transaction. The same process may have followed another primary and
//!   been promoted in between. Either that changed the space, and `EXEC` answers nil; or the space is
//!   what was looked up, under an identity that is not the server's any more, and the next read or
//!   write begins a new epoch, as after any other failover.
//! - **Nothing fails halfway.** A command that fails inside a transaction does not undo the others, so
//!   every cause of a failure is excluded before: the types of all keys that are written are checked
//!   under the watch; memory, disk, replicas, rights and slots are checked by the server when a command
//!   is queued and once more by `EXEC`, each of which refuses the whole. The one exception is a right
//!   that an administrator takes away between the two, which is told as an error of its own.
//! - **Everything unexpected is left to the script**, preconditions that do not hold included: without
//!   an `EXEC` behind it the look-up is not one snapshot.
//! - **A connection is given back** only after `EXEC` or `DISCARD` was answered, and so never with a
//!   transaction or a watched key. Any other ends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{Cmd, Pipeline, RedisError, Value};
use sync_core::plan::{Before, Counters, Plan};
use sync_core::{Error, ErrorKind, Page, Result, Seq, StateKey};
use sync_kit::Written;
use sync_kit::digests::Digests;
use sync_kit::fault::Faults;

use super::{LARGE, inserts, weight};
use crate::error::{Failure, corrupt};
use crate::layout::{INLINE, Key};
use crate::reply::{Parts, optional_bytes, unexpected};
use crate::server::ServerInfo;
use crate::servers::Lent;
use crate::space::Space;

/// The most operations. What a page that is not new after all brings along is bounded by it.
const MOST: usize = 5_000;
/// The most state keys, for the same reason.
const MOST_KEYS: usize = 64;

/// How an attempt ended that did not fail.
enum Attempt {
    Written(Written),
    /// Nothing was written, and why.
    Not(&'static str),
}

/// Whether the page is of a kind that can be written so.
pub(super) fn is_possible(page: &Page) -> bool {
    let few = (1..=MOST).contains(&page.upserts.len());
    let few_keys = page.preconditions.len() + page.state.len() <= MOST_KEYS;
    few && few_keys
        && !page.reset
        && page.lifts.is_empty()
        && page.deletes.is_empty()
        && page.backfills.is_empty()
}

/// Writes a page of new operations; `None` where it is left to the script, with nothing written.
pub(super) async fn apply(
    space: &Space,
    page: &Arc<Page>,
    digests: &Digests,
) -> Result<Option<Written>> {
    let (streak, faults) = (&space.local().streak, space.engine.faults());
    match attempt(space, page, digests).await? {
        Attempt::Written(written) => {
            streak.went_well();
            faults.way("watched");
            Ok(Some(written))
        }
        Attempt::Not(why) => {
            let name = space.shared.name().as_str();
            tracing::debug!(space = name, why, "left a page to the script");
            streak.went_wrong();
            faults.way(why);
            Ok(None)
        }
    }
}

async fn attempt(space: &Space, page: &Arc<Page>, digests: &Digests) -> Result<Attempt> {
    let (servers, faults) = (&space.engine.servers, space.engine.faults());
    let node = servers.node(space.keys().slot);
    for name in ["watch", "look up", "multi"] {
        faults.boundary(name)?;
    }
    let lent = match servers.lend(&node).await {
        Ok(Some(lent)) => lent,
        Ok(None) => return Ok(Attempt::Not("all lent")),
        Err(_) => return Ok(Attempt::Not("no connection")),
    };
    let asked = Asked::new(space, page);
    let answers = match lent.answers(&asked.pipeline).await {
        Ok(answers) => answers,
        // The time for an answer is over: the script would only wait once more.
        Err(Failure::NoAnswer) => return Err(Failure::NoAnswer.into()),
        Err(_) => return Ok(Attempt::Not("connection lost")),
    };
    count_cost(faults, &asked.pipeline, &answers);
    let found = match asked.found(space, answers) {
        Ok(found) => found,
        Err(why) => {
            discard(lent).await;
            return Ok(Attempt::Not(why));
        }
    };
    let digests = digests.clone().await;
    let planned = Plan::new(page, &digests, found);
    let Some(plan) = planned.ok().filter(only_inserts) else {
        discard(lent).await;
        return Ok(Attempt::Not("not only inserts"));
    };
    for name in inserts::COMMANDS {
        faults.boundary(name)?;
    }
    let (pipeline, plan) = if weight(page) < LARGE {
        (inserts::pipeline(space, page, &plan), plan)
    } else {
        let (of, page) = (space.clone(), Arc::clone(page));
        let pack = move || (inserts::pipeline(&of, &page, &plan), plan);
        space.engine.driver.compute(pack).await?
    };
    faults.boundary("commit")?;
    execute(faults, lent, &pipeline, plan).await
}

/// Sends the writes and the end of the transaction, and reads how that went.
async fn execute(faults: &Faults, lent: Lent, pipeline: &Pipeline, plan: Plan) -> Result<Attempt> {
    let mut answers = match lent.answers(pipeline).await {
        Ok(answers) => answers,
        Err(Failure::NotSent(_)) => return Ok(Attempt::Not("connection lost")),
        // On any other driver error of the whole pipeline, assume that it was sent.
        Err(Failure::Refused(error)) => return Err(Failure::Lost(error).of_a_write()),
        Err(failure) => return Err(failure.of_a_write()),
    };
    count_cost(faults, pipeline, &answers);
    // Behind it is the notification, which may be refused.
    let _published = answers.pop();
    match answers.pop() {
        Some(Value::Nil) => {
            lent.give_back();
            Ok(Attempt::Not("changed meanwhile"))
        }
        Some(Value::ServerError(_)) => {
            // A command was refused, or `EXEC`: the server has discarded the others.
            Ok(Attempt::Not("refused"))
        }
        Some(Value::Array(done)) => {
            lent.give_back();
            let all = done.len();
            let refused = done.into_iter().filter_map(|answer| match answer {
                Value::ServerError(error) => Some(RedisError::from(error)),
                _ => None,
            });
            let mut refused: Vec<_> = refused.collect();
            match refused.pop() {
                None => {}
                Some(_) if refused.len() + 1 == all => return Ok(Attempt::Not("refused")),
                Some(error) => return Err(torn(error)),
            }
            faults.committed()?;
            Ok(Attempt::Written(Written {
                applied: plan.applied,
                changed: true,
                garbage: false,
            }))
        }
        _ => Err(unexpected()),
    }
}

/// Ends the transaction, and forgets what was watched.
async fn discard(lent: Lent) {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("DISCARD");
    let discarded = lent.answers(&pipeline).await;
    if discarded.is_ok_and(|answers| answers == [Value::Okay]) {
        lent.give_back();
    }
}

/// Whether the plan writes rows and state, and nothing else.
fn only_inserts(plan: &Plan) -> bool {
    plan.lifted.is_empty()
        && plan.raised.is_empty()
        && plan.removed.is_empty()
        && plan.tombstones.is_empty()
        && plan.ordered.is_empty()
        && !plan.inserted.is_empty()
}

/// The server took some of the transaction's commands and refused others, which it only does where
/// the user's rights were changed while the page was on its way.
fn torn(error: RedisError) -> Error {
    Error::new(ErrorKind::Corrupt)
        .with_message(
            "the user's rights were taken away while a page was written, and a part of it was \
             refused: restore them, and reset or drop the space",
        )
        .with_source(error)
}

/// Counts what commands cost, as the scripts are counted.
fn count_cost(faults: &Faults, pipeline: &Pipeline, answers: &[Value]) {
    if faults.counts_work() {
        let took = pipeline.cmd_iter().map(|cmd| cmd.args_iter().count());
        let gave = answers.iter().map(|answer| match answer {
            Value::Array(parts) => parts.len(),
            _ => 1,
        });
        let values = took.chain(gave).map(|values| values as u64).sum();
        faults.cost("watched", values);
    }
}

/// The first round trip.
struct Asked<'a> {
    pipeline: Pipeline,
    /// Answers that only say that a key is of its type.
    types: usize,
    tombstones: bool,
    state: Vec<&'a StateKey>,
}

impl<'a> Asked<'a> {
    fn new(space: &Space, page: &'a Page) -> Self {
        let keys = space.keys();
        let mut state: Vec<_> = page
            .preconditions
            .iter()
            .map(|precondition| &precondition.key)
            .chain(page.state.iter().map(|change| &change.key))
            .collect();
        state.sort_unstable();
        state.dedup();
        let tombstones = space.local().has_tombstones.load(Ordering::Relaxed);
        let mut pipeline = Pipeline::with_capacity(16);
        let mut watch = redis::cmd("WATCH");
        for key in &keys.all {
            watch.arg(key);
        }
        pipeline.add_command(watch);
        pipeline.cmd("INFO").arg("replication");
        pipeline.cmd("HMGET").arg(keys.name(Key::Meta));
        for field in ["epoch", "server", "head", "total", "ordered", "tombstones"] {
            pipeline.arg(field);
        }
        let before = pipeline.len();
        for key in [Key::Time, Key::Seq, Key::Order] {
            pipeline.cmd("ZCARD").arg(keys.name(key));
        }
        if page.upserts.iter().any(|upsert| upsert.object.is_some()) {
            pipeline.cmd("ZCARD").arg(keys.name(Key::Object));
        }
        if page
            .upserts
            .iter()
            .any(|upsert| upsert.payload.len() > INLINE)
        {
            pipeline.cmd("HLEN").arg(keys.name(Key::Blobs));
        }
        if !page.state.is_empty() {
            pipeline.cmd("ZCARD").arg(keys.name(Key::Names));
        }
        let types = pipeline.len() - before;
        pipeline.add_command(ids(keys.name(Key::Rows), page));
        if tombstones {
            pipeline.add_command(ids(keys.name(Key::TombstoneOf), page));
        }
        if !state.is_empty() {
            pipeline.cmd("HMGET").arg(keys.name(Key::State));
            for key in &state {
                pipeline.arg(key.as_str());
            }
        }
        pipeline.cmd("MULTI");
        Self {
            pipeline,
            types,
            tombstones,
            state,
        }
    }

    /// What the server answered, where the page may go on, or why not.
    fn found(&self, space: &Space, answers: Vec<Value>) -> Result<Before, &'static str> {
        let refused = |answer: &Value| matches!(answer, Value::ServerError(_));
        if answers.len() != self.pipeline.len() || answers.iter().any(refused) {
            return Err("refused");
        }
        self.read(space, answers).unwrap_or(Err("refused"))
    }

    fn read(&self, space: &Space, answers: Vec<Value>) -> Result<Result<Before, &'static str>> {
        let mut answers = Parts::of(Value::Array(answers))?;
        let _watched = answers.value()?;
        let server = ServerInfo::of(answers.value()?)?;
        let mut meta = answers.parts()?;
        if meta.optional()?.is_none() {
            return Ok(Err("no space"));
        }
        let wrote = meta.bytes()?;
        let here = server.replication_id().unwrap_or_default();
        if !server.is_primary() || wrote != here.as_bytes() {
            return Ok(Err("another server"));
        }
        let mut before = Before {
            head: Seq::try_from(meta.number()?).map_err(corrupt)?,
            counters: Counters {
                total: meta.number()?,
                ordered: meta.number()?,
                tombstones: meta.number()?,
            },
            ..Before::default()
        };
        let tombstones = before.counters.tombstones > 0;
        let seen = &space.local().has_tombstones;
        seen.store(tombstones, Ordering::Relaxed);
        if tombstones && !self.tombstones {
            return Ok(Err("tombstones"));
        }
        for _ in 0..self.types {
            answers.value()?;
        }
        let is_known = |mut found: Parts| found.any(|found| found != Value::Nil);
        if is_known(answers.parts()?) {
            return Ok(Err("known"));
        }
        if self.tombstones && is_known(answers.parts()?) {
            return Ok(Err("tombstoned"));
        }
        if !self.state.is_empty() {
            for (key, value) in self.state.iter().zip(answers.parts()?) {
                if let Some(value) = optional_bytes(value)? {
                    before.state.insert((*key).clone(), value);
                }
            }
        }
        Ok(match answers.value()? {
            Value::Okay => Ok(before),
            _ => Err("refused"),
        })
    }
}

/// A look-up of the page's ids in a hash.
fn ids(key: &str, page: &Page) -> Cmd {
    let mut command = Cmd::with_capacity(page.upserts.len() + 2, 32 * page.upserts.len() + 256);
    command.arg("HMGET").arg(key);
    for operation in &page.upserts {
        command.arg(operation.id.as_bytes());
    }
    command
}
