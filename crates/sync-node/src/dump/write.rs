use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use sync_store::{Bytes, Object, Operation, SpaceName, StateEntry, SyncOrder, TimeKey};

use super::{Counts, FORMAT, Tombstone, VERSION};

/// How payloads are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    /// All as base64.
    Base64,
    /// As they are where they are JSON on one line, else as base64.
    Json,
}

/// Writes records, and counts them.
pub(crate) struct Writer<W> {
    out: W,
    form: PayloadForm,
    line: Vec<u8>,
    counts: Counts,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// A writer of records to `out`.
    pub(crate) fn new(out: W, form: PayloadForm) -> Self {
        Self {
            out,
            form,
            line: Vec::new(),
            counts: Counts::default(),
            bytes: 0,
        }
    }

    /// The header of a complete dump.
    pub(crate) fn header(&mut self, space: &SpaceName) -> io::Result<()> {
        write!(
            self.line,
            r#"{{"kind":"header","format":"{FORMAT}","version":{VERSION},"space":"{space}""#
        )?;
        self.end_line()
    }

    /// A row.
    pub(crate) fn row(&mut self, operation: &Operation) -> io::Result<()> {
        let Operation {
            id,
            ts,
            object,
            sync_order,
            payload,
        } = operation;
        write!(self.line, r#"{{"id":"{id}","ts":{ts}"#)?;
        self.object(object.as_ref())?;
        write!(self.line, r#","syncOrder":{}"#, OrNull(*sync_order))?;
        self.payload(payload)?;
        self.counts.rows += 1;
        self.end_line()
    }

    /// The key of a row.
    pub(crate) fn key(&mut self, key: TimeKey, order: Option<SyncOrder>) -> io::Result<()> {
        let TimeKey { ts, id } = key;
        let order = OrNull(order);
        write!(self.line, r#"{{"id":"{id}","syncOrder":{order},"ts":{ts}"#)?;
        self.counts.rows += 1;
        self.end_line()
    }

    /// The floor, behind the entries written so far.
    pub(crate) fn floor(&mut self) -> io::Result<()> {
        self.line.extend_from_slice(br#"{"kind":"floor""#);
        self.end_line()
    }

    /// A tombstone.
    pub(crate) fn tombstone(&mut self, tombstone: &Tombstone) -> io::Result<()> {
        let Tombstone {
            id,
            ts,
            object,
            reason,
            source_seq,
            lifted,
        } = tombstone;
        write!(
            self.line,
            r#"{{"kind":"tombstone","id":"{id}","ts":{}"#,
            OrNull(*ts)
        )?;
        self.object(object.as_ref())?;
        let source_seq = OrNull(*source_seq);
        write!(
            self.line,
            r#","reason":"{reason}","sourceSeq":{source_seq},"lifted":{lifted}"#
        )?;
        self.counts.tombstones += 1;
        self.end_line()
    }

    /// A state entry.
    pub(crate) fn state(&mut self, entry: &StateEntry) -> io::Result<()> {
        self.line.extend_from_slice(br#"{"kind":"state","key":"#);
        serde_json::to_writer(&mut self.line, entry.key.as_str())?;
        self.text_or_base64("value", &entry.value)?;
        self.counts.state += 1;
        self.end_line()
    }

    /// The end of a complete dump, which tells a reader that nothing is missing.
    pub(crate) fn end(&mut self, counts: Counts) -> io::Result<()> {
        let Counts {
            rows,
            tombstones,
            state,
        } = counts;
        write!(
            self.line,
            r#"{{"kind":"end","rows":{rows},"tombstones":{tombstones},"state":{state}"#
        )?;
        self.end_line()
    }

    /// How many records were written.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// How many bytes were written.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies the lines of another writer, without counting their records.
    pub(crate) fn append(&mut self, mut lines: impl BufRead) -> io::Result<()> {
        self.bytes += io::copy(&mut lines, &mut self.out)?;
        Ok(())
    }

    /// Flushes and returns the output.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn object(&mut self, object: Option<&Object>) -> io::Result<()> {
        match object {
            Some(object) => self.text_or_base64("object", object.as_bytes()),
            None => self.line.write_all(br#","object":null"#),
        }
    }

    /// A member of any bytes: as text where they are UTF-8, else with `Base64` behind the name.
    fn text_or_base64(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if let Ok(text) = str::from_utf8(bytes) {
            write!(self.line, r#","{name}":"#)?;
            serde_json::to_writer(&mut self.line, text)?;
        } else {
            let base64 = STANDARD.encode(bytes);
            write!(self.line, r#","{name}Base64":"{base64}""#)?;
        }
        Ok(())
    }

    fn payload(&mut self, payload: &Bytes) -> io::Result<()> {
        if self.form == PayloadForm::Json && is_json_on_one_line(payload) {
            self.line.extend_from_slice(br#","payloadJson":"#);
            self.line.extend_from_slice(payload);
        } else {
            let base64 = STANDARD.encode(payload);
            write!(self.line, r#","payload":"{base64}""#)?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.extend_from_slice(b"}\n");
        self.out.write_all(&self.line)?;
        self.bytes += self.line.len() as u64;
        self.line.clear();
        Ok(())
    }
}

/// Whether a reader of the line gets these very bytes back as the member's value: they are one JSON
/// value with nothing around it, and no line ends within.
fn is_json_on_one_line(payload: &[u8]) -> bool {
    let value = serde_json::from_slice::<&RawValue>(payload);
    value.is_ok_and(|value| value.get().len() == payload.len())
        && !payload.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
}

/// A number, or `null`.
struct OrNull<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for OrNull<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}
