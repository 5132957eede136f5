use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sync_hydrate::{Status, StoredInvalid};
use sync_store::Object;

use crate::failure::Result;
use crate::marks;
use crate::report::Report;
use crate::session::Session;
use crate::settings::Settings;

/// Characters that are shown of a record's start.
const SHOWN: usize = 160;

/// The arguments of `invalid`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The most records to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    space: &'a str,
    source: Option<&'a str>,
    /// All invalid records so far, by reason.
    reasons: BTreeMap<&'a str, u64>,
    /// Newest first.
    records: Vec<Listed>,
    /// More records are kept than --limit allows.
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    reason: String,
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_base64: Option<String>,
    sha256: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_base64: Option<String>,
}

pub(crate) async fn run(args: Args, settings: &Settings) -> Result<Report> {
    let session = Session::open(settings).await?;
    session.stats().await?;
    let status = Status::load(&session.store).await?;
    let status = status.as_ref();
    let kept = sync_hydrate::invalid_records(&session.store).await?;
    let more = kept.len() > args.limit;
    let document = Document {
        space: session.space.as_str(),
        source: status.map(|status| status.name.as_str()),
        reasons: status.map_or_else(BTreeMap::new, |status| {
            let counts = status.invalid.iter();
            counts.map(|(reason, n)| (reason.as_str(), *n)).collect()
        }),
        records: kept
            .into_iter()
            .rev()
            .take(args.limit)
            .map(Listed::of)
            .collect(),
        more,
    };
    let text = document.to_text();
    Report::new(&document, text)
}

impl Listed {
    fn of(kept: StoredInvalid) -> Self {
        let record = kept.record;
        let object = record.object.as_ref().map(Object::as_bytes);
        let object_text = object.and_then(|object| str::from_utf8(object).ok());
        let start = text_of_start(&record.start);
        Self {
            reason: record.reason.into_owned(),
            seq: record.seq.map(u64::from),
            object: object_text.map(ToOwned::to_owned),
            object_base64: match object_text {
                Some(_) => None,
                None => object.map(|object| STANDARD.encode(object)),
            },
            sha256: hex::encode(record.sha256),
            at: kept.at,
            start_base64: start.is_none().then(|| STANDARD.encode(&record.start)),
            start: start.map(ToOwned::to_owned),
        }
    }

    fn write_text(&self, text: &mut String) {
        let Self { reason, sha256, .. } = self;
        let _ = write!(text, "\n{}", reason.escape_debug());
        if let Some(seq) = self.seq {
            let _ = write!(text, "  seq {seq}");
        }
        match (&self.object, &self.object_base64) {
            (Some(object), _) => {
                let _ = write!(text, "  {}", object.escape_debug());
            }
            (None, Some(base64)) => {
                let _ = write!(text, "  base64 {base64}");
            }
            (None, None) => {}
        }
        let _ = writeln!(text, "  {} ago\n  sha256 {sha256}", marks::ago(self.at));
        let _ = match (&self.start, &self.start_base64) {
            (Some(start), _) => writeln!(text, "  {}", shown(start)),
            (None, base64) => {
                let base64 = base64.as_deref().unwrap_or_default();
                writeln!(text, "  base64 {}", shown(base64))
            }
        };
    }
}

/// The start of a record as text. It may end inside a character, which is left out.
fn text_of_start(start: &[u8]) -> Option<&str> {
    match str::from_utf8(start) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => start
            .get(..error.valid_up_to())
            .and_then(|whole| str::from_utf8(whole).ok()),
        Err(_) => None,
    }
}

/// The first characters, without control characters, which a terminal would obey.
fn shown(text: &str) -> String {
    let mut characters = text.chars();
    // Quotation marks stay: records are full of them, and no terminal minds them.
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => vec![c],
        c => c.escape_debug().collect(),
    };
    let mut shown: String = characters.by_ref().take(SHOWN).flat_map(escape).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

impl Document<'_> {
    fn to_text(&self) -> String {
        let mut text = String::new();
        let all: u64 = self.reasons.values().sum();
        let _ = write!(text, "{all} invalid records");
        let _ = match self.source {
            Some(source) => writeln!(text, " of source {}", source.escape_debug()),
            None => writeln!(text, ": space {} has no source yet", self.space),
        };
        for (reason, count) in &self.reasons {
            let _ = writeln!(text, "{count:>10}  {}", reason.escape_debug());
        }
        for listed in &self.records {
            listed.write_text(&mut text);
        }
        if self.more {
            text.push_str("\nand older ones: raise --limit\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_ends_inside_a_character_is_text_without_it() {
        assert_eq!(text_of_start(b"ab\xe2\x82"), Some("ab"));
        assert_eq!(text_of_start("ab€".as_bytes()), Some("ab€"));
        assert_eq!(text_of_start(b"ab\xff"), None);
        assert_eq!(text_of_start(b"\xffab"), None);
    }

    #[test]
    fn a_record_is_shown_on_one_line_that_no_terminal_obeys() {
        assert_eq!(
            shown("{\"a\":\"\u{1b}[2J\n\"}"),
            "{\"a\":\"\\u{1b}[2J\\n\"}"
        );
        let long = "x".repeat(SHOWN + 1);
        assert_eq!(shown(&long), format!("{}…", "x".repeat(SHOWN)));
        assert_eq!(shown(&long[1..]), long[1..]);
    }
}
