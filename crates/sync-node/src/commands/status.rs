use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use sync_hydrate::Status;
use sync_reconcile::Aggregate;
use sync_store::{
    AnyBackend, AnyStore, Capabilities, Description, Durability, Limit, SpaceName, StateEntry,
    Stats, SyncState, SyncStore, TimeRange,
};

use crate::attempts::ATTEMPTS;
use crate::count::Count;
use crate::failure::{Exit, Result};
use crate::progress::Progress;
use crate::report::Report;
use crate::session::connect;
use crate::settings::Settings;

/// Keys of one step of the walk.
const KEYS: usize = 10_000;
/// Spaces of one step of the listing.
const SPACES: usize = 100;
/// State entries shown of one space.
const STATE_SHOWN: usize = 1_000;
/// The prefix of hydration's own state keys, whose values are shown as the source.
const SOURCE_STATE: &str = "source.";
/// The longest state value shown as text, in bytes.
const TEXT_SHOWN: usize = 128;
/// How many bytes of any other state value are shown.
const HEX_SHOWN: usize = 16;

/// The arguments of `status`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Leave out the fingerprint, for which every key of a space is read
    #[arg(long)]
    no_fingerprint: bool,
}

#[derive(Serialize)]
struct Document {
    store: Store,
    spaces: Vec<Space>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    backend: &'static str,
    /// The database's name and version.
    server: String,
    durability: &'static str,
    multi_process: bool,
    notify_delay_ms: u128,
    /// The settings that decide what an acknowledged page survives, under the database's own names.
    settings: BTreeMap<String, String>,
    /// The size of the database, in memory or on disk; absent where the database does not tell.
    bytes: Option<u64>,
    /// Bytes for each row, where every space is shown and there is a row.
    bytes_per_operation: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Space {
    #[serde(rename = "space")]
    name: String,
    /// Absent where the space does not exist yet.
    epoch: Option<String>,
    rows: u64,
    ordered: u64,
    tombstones: u64,
    head: u64,
    floor: u64,
    fingerprint: Option<Keys>,
    /// Rows came or went during every walk of the keys, so that the fingerprint is not known.
    moving: bool,
    /// Absent where no source ever filled the space.
    source: Option<Source>,
    /// All entries but those that the source section shows.
    state: Vec<State>,
    /// The space has more state than is shown.
    state_more: bool,
}

#[derive(Serialize)]
struct Keys {
    count: u64,
    hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    name: String,
    epoch: String,
    phase: &'static str,
    /// How far the log is read; absent during the snapshot.
    cursor: Option<u64>,
    /// Where the snapshot began in the log, or where the backfill ends.
    checkpoint: Option<u64>,
    /// How far the backfill is, where one is under way.
    walked: Option<u64>,
    held: u64,
    unordered: u64,
    /// By reason.
    invalid: BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State {
    key: String,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex_prefix: Option<String>,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let backend = connect(settings).await?;
    let names = match &settings.named_space {
        Some(space) => vec![space.clone()],
        None => every_space(&backend).await?,
    };
    let mut spaces = Vec::with_capacity(names.len());
    for name in names {
        let store = backend.open(&name).await?;
        spaces.push(Space::read(&store, !args.no_fingerprint).await?);
    }
    let rows = match &settings.named_space {
        Some(_) => 0,
        None => spaces.iter().map(|space| space.rows).sum(),
    };
    let description = backend.describe().await?;
    let document = Document {
        store: Store::of(backend.name(), backend.capabilities(), description, rows),
        spaces,
    };
    let text = document.to_text();
    let exit = if document.spaces.iter().any(|space| space.moving) {
        Exit::Retryable
    } else {
        Exit::Done
    };
    Ok(Report::new(&document, text)?.with_exit(exit))
}

async fn every_space(backend: &AnyBackend) -> Result<Vec<SpaceName>> {
    let mut names: Vec<SpaceName> = Vec::new();
    loop {
        let more = backend.spaces(names.last(), SPACES).await?;
        if more.is_empty() {
            return Ok(names);
        }
        names.extend(more);
    }
}

impl Store {
    fn of(
        backend: &'static str,
        capabilities: Capabilities,
        description: Description,
        rows: u64,
    ) -> Self {
        let bytes = description.bytes;
        Self {
            backend,
            server: description.server,
            durability: match capabilities.durability {
                Durability::Memory => "memory",
                Durability::Process => "process",
                Durability::Machine => "machine",
            },
            multi_process: capabilities.multi_process,
            notify_delay_ms: capabilities.notify_delay.as_millis(),
            settings: description.settings.into_iter().collect(),
            bytes,
            bytes_per_operation: bytes.and_then(|bytes| bytes.checked_div(rows)),
        }
    }
}

impl Store {
    fn write_server(&self, text: &mut String) {
        let _ = write!(text, "{}", self.server);
        for (name, value) in &self.settings {
            let _ = write!(text, ", {name}={value}");
        }
        match (self.bytes, self.bytes_per_operation) {
            (Some(bytes), Some(each)) => {
                let _ = write!(
                    text,
                    "; {}, {each} for each operation",
                    Count(bytes, "byte")
                );
            }
            (Some(bytes), None) => {
                let _ = write!(text, "; {}", Count(bytes, "byte"));
            }
            (None, _) => {}
        }
        text.push('\n');
    }
}

impl Space {
    async fn read(store: &AnyStore, with_fingerprint: bool) -> Result<Self> {
        let (stats, fingerprint) = if with_fingerprint {
            fingerprint(store).await?
        } else {
            (store.stats().await?, None)
        };
        let (entries, state_more) = state(store).await?;
        Ok(Self {
            name: store.space().to_string(),
            epoch: stats.epoch.map(|epoch| epoch.to_string()),
            rows: stats.total,
            ordered: stats.ordered,
            tombstones: stats.tombstones,
            head: stats.head.value(),
            floor: stats.floor.value(),
            moving: with_fingerprint && fingerprint.is_none(),
            fingerprint,
            source: Status::load(store).await?.map(Source::of),
            state: entries,
            state_more,
        })
    }
}

/// The first entries that are not hydration's own, and whether there are more.
async fn state(store: &AnyStore) -> Result<(Vec<State>, bool)> {
    let mut shown = Vec::new();
    let mut after = None;
    loop {
        let batch = store
            .list("", after.as_ref(), Limit::rows(STATE_SHOWN))
            .await?;
        let own = |entry: &&StateEntry| entry.key.as_str().starts_with(SOURCE_STATE);
        for entry in batch.items.iter().filter(|entry| !own(entry)) {
            if shown.len() == STATE_SHOWN {
                return Ok((shown, true));
            }
            shown.push(State::of(entry));
        }
        after = batch.next;
        if after.is_none() {
            return Ok((shown, false));
        }
    }
}

/// The counters and the fingerprint of one moment. There is no fingerprint where rows came or went
/// during every attempt.
async fn fingerprint(store: &AnyStore) -> Result<(Stats, Option<Keys>)> {
    let mut before = store.stats().await?;
    for _ in 0..ATTEMPTS {
        let keys = keys(store).await?;
        let after = store.stats().await?;
        // No row comes or goes without a new head. A prune leaves the keys as they are.
        if (after.epoch, after.head) == (before.epoch, before.head) {
            return Ok((after, Some(keys)));
        }
        before = after;
    }
    Ok((before, None))
}

async fn keys(store: &AnyStore) -> Result<Keys> {
    let mut progress = Progress::new("keys read");
    let mut keys = Aggregate::EMPTY;
    let mut after = None;
    loop {
        let batch = store
            .scan_keys(TimeRange::ALL, after, Limit::rows(KEYS))
            .await?;
        for key in &batch.items {
            keys += &key.id;
        }
        progress.at(keys.count() as u64);
        after = batch.next;
        if after.is_none() {
            return Ok(Keys {
                count: keys.count() as u64,
                hash: keys.fingerprint().to_string(),
            });
        }
    }
}

impl Source {
    fn of(status: Status) -> Self {
        Self {
            name: status.name,
            epoch: status.epoch.to_string(),
            phase: status.phase.name(),
            cursor: status.cursor.map(u64::from),
            checkpoint: status.checkpoint.map(u64::from),
            walked: status.backfilled.map(u64::from),
            held: status.held,
            unordered: status.unordered,
            invalid: status.invalid,
        }
    }

    fn write_text(&self, text: &mut String) {
        let Self { name, epoch, .. } = self;
        let _ = writeln!(
            text,
            "source       {}\n  epoch      {}\n  phase      {}",
            name.escape_debug(),
            epoch.escape_debug(),
            self.phase
        );
        for (name, count) in [
            ("cursor", self.cursor),
            ("checkpoint", self.checkpoint),
            ("walked", self.walked),
            ("held", Some(self.held)),
            ("unordered", Some(self.unordered)),
        ] {
            if let Some(count) = count {
                let _ = writeln!(text, "  {name:<10} {count}");
            }
        }
        for (reason, count) in &self.invalid {
            let _ = writeln!(text, "  invalid    {count} {}", reason.escape_debug());
        }
    }
}

impl State {
    fn of(entry: &StateEntry) -> Self {
        let value = &entry.value;
        let readable = |text: &&str| !text.chars().any(char::is_control);
        let text = (value.len() <= TEXT_SHOWN)
            .then(|| str::from_utf8(value).ok().filter(readable))
            .flatten();
        let prefix = value.get(..HEX_SHOWN).unwrap_or(value);
        Self {
            key: entry.key.to_string(),
            bytes: value.len(),
            text: text.map(ToOwned::to_owned),
            hex_prefix: text.is_none().then(|| hex::encode(prefix)),
        }
    }
}

impl Document {
    fn to_text(&self) -> String {
        let mut text = String::new();
        let Store {
            backend,
            durability,
            multi_process,
            notify_delay_ms,
            ..
        } = &self.store;
        let processes = if *multi_process {
            "several processes"
        } else {
            "one process"
        };
        let _ = writeln!(
            text,
            "{backend}: an acknowledged page survives {}; for {processes}; other processes see it \
             within {notify_delay_ms} ms",
            match *durability {
                "memory" => "nothing",
                "process" => "the end of the process",
                _ => "a crash of the machine",
            }
        );
        self.store.write_server(&mut text);
        if self.spaces.is_empty() {
            text.push_str("no spaces yet\n");
        }
        for space in &self.spaces {
            space.write_text(&mut text);
        }
        text
    }
}

impl Space {
    fn write_text(&self, text: &mut String) {
        let _ = writeln!(text, "\nspace        {}", self.name);
        let Some(epoch) = &self.epoch else {
            text.push_str("             does not exist yet\n");
            return;
        };
        let _ = writeln!(text, "epoch        {epoch}");
        for (name, count) in [
            ("rows", self.rows),
            ("ordered", self.ordered),
            ("tombstones", self.tombstones),
            ("head", self.head),
            ("floor", self.floor),
        ] {
            let _ = writeln!(text, "{name:<12} {count}");
        }
        if let Some(Keys { count, hash }) = &self.fingerprint {
            let keys = Count(count, "key");
            let _ = writeln!(text, "fingerprint  {hash} of {keys}");
        }
        if self.moving {
            let _ = writeln!(
                text,
                "fingerprint  not known: rows came or went during each of {ATTEMPTS} walks"
            );
        }
        if let Some(source) = &self.source {
            source.write_text(text);
        }
        for state in &self.state {
            let State { key, bytes, .. } = state;
            // A key may hold control characters, which a terminal would obey.
            let key = key.escape_debug();
            let _ = match (&state.text, &state.hex_prefix) {
                (Some(value), _) => writeln!(text, "state        {key} = {value}"),
                (None, prefix) => {
                    let prefix = prefix.as_deref().unwrap_or_default();
                    let bytes = Count(bytes, "byte");
                    writeln!(text, "state        {key} = {bytes}, {prefix}…")
                }
            };
        }
        if self.state_more {
            let _ = writeln!(text, "state        and more");
        }
    }
}

#[cfg(test)]
mod tests;
