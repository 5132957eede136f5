//! The commands that write a plan of new rows: a few, however many rows there are.

use redis::{Cmd, Pipeline};
use sync_core::plan::{NewRow, Plan};
use sync_core::{Operation, Page};

use crate::layout::{HEAD, INLINE, Key, be8, object_prefix, pack_row};
use crate::space::Space;

/// Bytes of a member of an index that holds a position and an id.
const MEMBER: usize = 40;

/// The boundaries before the commands that a page may need.
pub(super) const COMMANDS: [&str; 9] = [
    "rows", "time", "seq", "order", "object", "blobs", "state", "meta", "exec",
];

/// All of them, the end of the transaction, and behind it the notification, which is a hint, and
/// which the user need not have the right to send.
pub(super) fn pipeline(space: &Space, page: &Page, plan: &Plan) -> Pipeline {
    let keys = space.keys();
    let rows = Rows { page, plan };
    let mut pipeline = Pipeline::with_capacity(16);
    pipeline.add_command(rows.rows(keys.name(Key::Rows)));
    pipeline.add_command(rows.index(keys.name(Key::Time), |_, of| Some(of.ts.value())));
    pipeline.add_command(rows.index(keys.name(Key::Seq), |row, _| Some(row.seq.value())));
    if plan.inserted.iter().any(|row| row.sync_order.is_some()) {
        let order = |row: &NewRow, _: &Operation| row.sync_order.map(u64::from);
        pipeline.add_command(rows.index(keys.name(Key::Order), order));
    }
    if page.upserts.iter().any(|upsert| upsert.object.is_some()) {
        rows.objects(keys.name(Key::Object), &mut pipeline);
    }
    if page.upserts.iter().any(is_large) {
        rows.blobs(keys.name(Key::Blobs), &mut pipeline);
    }
    state(space, plan, &mut pipeline);
    // The epoch, the server and the floor are what they were, and so are the tombstones.
    pipeline.cmd("HSET").arg(keys.name(Key::Meta));
    for (field, value) in [
        ("head", plan.head.value()),
        ("total", plan.counters.total),
        ("ordered", plan.counters.ordered),
    ] {
        pipeline.arg(field).arg(value);
    }
    pipeline.cmd("EXEC");
    pipeline.cmd("PUBLISH").arg(&keys.channel).arg("");
    pipeline
}

/// The rows of a plan, with what they hold.
struct Rows<'a> {
    page: &'a Page,
    plan: &'a Plan,
}

impl Rows<'_> {
    fn each(&self) -> impl Iterator<Item = (&NewRow, &Operation)> {
        let inserted = self.plan.inserted.iter();
        inserted.filter_map(|row| Some((row, self.page.upserts.get(row.upsert)?)))
    }

    fn rows(&self, key: &str) -> Cmd {
        let bytes = self.each().map(|(_, of)| {
            let object = of
                .object
                .as_ref()
                .map_or(0, |object| object.as_bytes().len());
            let payload = if is_large(of) { 0 } else { of.payload.len() };
            32 + HEAD + object + payload
        });
        let bytes = bytes.sum::<usize>() + key.len() + 16;
        let mut command = Cmd::with_capacity(2 * self.plan.inserted.len() + 2, bytes);
        command.arg("HSET").arg(key);
        let mut packed = Vec::new();
        for (row, of) in self.each() {
            packed.clear();
            packed.extend_from_slice(&be8(row.seq));
            pack_row(of, row.sync_order, &row.digest, &mut packed);
            command.arg(of.id.as_bytes()).arg(&packed[..]);
        }
        command
    }

    /// The members of an index that sorts by a position and the id.
    fn index(&self, key: &str, position: impl Fn(&NewRow, &Operation) -> Option<u64>) -> Cmd {
        let members = self.plan.inserted.len();
        let mut command =
            Cmd::with_capacity(2 * members + 2, (MEMBER + 1) * members + key.len() + 16);
        command.arg("ZADD").arg(key);
        let mut member = Vec::with_capacity(MEMBER);
        for (row, of) in self.each() {
            if let Some(position) = position(row, of) {
                member.clear();
                member.extend_from_slice(&be8(position));
                member.extend_from_slice(of.id.as_bytes());
                command.arg("0").arg(&member[..]);
            }
        }
        command
    }

    fn objects(&self, key: &str, pipeline: &mut Pipeline) {
        let mut command = redis::cmd("ZADD");
        command.arg(key);
        let mut member = Vec::new();
        for (row, of) in self.each() {
            if let Some(object) = &of.object {
                member.clear();
                object_prefix(object, &mut member);
                member.extend_from_slice(&be8(row.seq));
                member.extend_from_slice(of.id.as_bytes());
                command.arg("0").arg(&member[..]);
            }
        }
        add(command, pipeline);
    }

    fn blobs(&self, key: &str, pipeline: &mut Pipeline) {
        let mut command = redis::cmd("HSET");
        command.arg(key);
        for (_, of) in self.each().filter(|(_, of)| is_large(of)) {
            command.arg(of.id.as_bytes()).arg(&of.payload[..]);
        }
        add(command, pipeline);
    }
}

fn state(space: &Space, plan: &Plan, pipeline: &mut Pipeline) {
    let keys = space.keys();
    let [mut set, mut named] = [redis::cmd("HSET"), redis::cmd("ZADD")];
    let [mut unset, mut forgotten] = [redis::cmd("HDEL"), redis::cmd("ZREM")];
    for command in [&mut set, &mut unset] {
        command.arg(keys.name(Key::State));
    }
    for command in [&mut named, &mut forgotten] {
        command.arg(keys.name(Key::Names));
    }
    for change in &plan.state {
        let key = change.key.as_str();
        if let Some(value) = &change.value {
            set.arg(key).arg(&value[..]);
            named.arg("0").arg(key);
        } else {
            unset.arg(key);
            forgotten.arg(key);
        }
    }
    for command in [set, named, unset, forgotten] {
        add(command, pipeline);
    }
}

/// Adds a command that has more than its key.
fn add(command: Cmd, pipeline: &mut Pipeline) {
    if command.args_iter().nth(2).is_some() {
        pipeline.add_command(command);
    }
}

fn is_large(operation: &Operation) -> bool {
    operation.payload.len() > INLINE
}
