//! Answers, made.

use std::io::Write as _;

use sha2::{Digest as _, Sha256};
use sync_core::SyncOrder;
use sync_hydrate::{ChangesPage, Source as _};
use sync_mdip::{CaptureSource, canonicalize};

/// A page of changes.
pub(crate) struct Changes {
    pub(crate) epoch: &'static str,
    pub(crate) cursor: u64,
    pub(crate) checkpoint: u64,
    pub(crate) more: bool,
    pub(crate) dids: Vec<String>,
    pub(crate) operations: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl Changes {
    /// The last page of a log that ends at `cursor`.
    pub(crate) fn to(cursor: u64) -> Self {
        Self {
            epoch: "an epoch",
            cursor,
            checkpoint: cursor,
            more: false,
            dids: Vec::new(),
            operations: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let removed = if self.removed.is_empty() {
            String::new()
        } else {
            format!(r#","removedOperations":[{}]"#, self.removed.join(","))
        };
        format!(
            concat!(
                r#"{{"mode":"changes","indexEpoch":"{}","cursor":"{}","checkpointCursor":"{}","#,
                r#""hasMore":{},"dids":[{}],"blocks":[],"operations":[{}]{}}}"#
            ),
            self.epoch,
            self.cursor,
            self.checkpoint,
            self.more,
            self.dids.join(","),
            self.operations.join(","),
            removed
        )
    }

    /// The page as a source reads it from a capture.
    pub(crate) fn read(&self) -> ChangesPage {
        read(self.text().as_bytes())
    }
}

/// The first page of changes that a capture of one answer serves.
pub(crate) fn read(answer: &[u8]) -> ChangesPage {
    let source = capture(&[answer]);
    pollster::block_on(source.changes(SyncOrder::ZERO, 5000)).unwrap()
}

/// A page of a snapshot.
pub(crate) struct Snapshot {
    pub(crate) cursor: Option<&'static str>,
    pub(crate) checkpoint: u64,
    pub(crate) more: bool,
    pub(crate) dids: Vec<String>,
}

impl Snapshot {
    pub(crate) fn text(&self) -> String {
        format!(
            concat!(
                r#"{{"mode":"snapshot","indexEpoch":"an epoch","cursor":{},"checkpointCursor":"{}","#,
                r#""hasMore":{},"dids":[{}],"blocks":[]}}"#
            ),
            self.cursor
                .map_or("null".to_owned(), |cursor| format!("{cursor:?}")),
            self.checkpoint,
            self.more,
            self.dids.join(",")
        )
    }
}

/// A row of `operations`.
pub(crate) fn row(seq: u64, did: &str, operation: &str) -> String {
    format!(
        r#"{{"seq":{seq},"did":"{did}","event":{{"registry":"local","operation":{operation}}}}}"#
    )
}

/// A row of `removedOperations`.
pub(crate) fn removal(seq: u64, did: &str, hash: &str) -> String {
    format!(r#"{{"seq":{seq},"did":"{did}","operationHash":"{hash}"}}"#)
}

/// All that a Gatekeeper holds of a DID.
pub(crate) fn history(did: &str, operations: &[&str]) -> String {
    let events = operations
        .iter()
        .map(|operation| format!(r#"{{"registry":"local","operation":{operation}}}"#))
        .collect::<Vec<_>>();
    format!(r#"{{"did":"{did}","events":[{}]}}"#, events.join(","))
}

/// The members of an update with the hash of what they say, and no signature that could be checked
/// here.
pub(crate) fn signed(did: &str, members: &str) -> String {
    let content = format!(r#"{{"type":"update","did":"{did}",{members}}}"#);
    let hash = Sha256::digest(canonicalize(content.as_bytes()).unwrap());
    let hash = hex::encode(hash);
    format!(
        r#"{{"type":"update","did":"{did}",{members},"signature":{{"hash":"{hash}","signed":"2024-06-01T00:00:00Z"}}}}"#
    )
}

/// A file of `lines`.
pub(crate) fn file(lines: &[impl AsRef<[u8]>]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        file.write_all(line.as_ref()).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file
}

/// A source over one file, which it keeps.
pub(crate) struct Captured {
    source: CaptureSource,
    pub(crate) file: tempfile::NamedTempFile,
}

impl std::ops::Deref for Captured {
    type Target = CaptureSource;

    fn deref(&self) -> &CaptureSource {
        &self.source
    }
}

/// A capture of `lines`.
pub(crate) fn capture(lines: &[impl AsRef<[u8]>]) -> Captured {
    let file = file(lines);
    let source = CaptureSource::open([file.path()]).unwrap();
    Captured { source, file }
}
