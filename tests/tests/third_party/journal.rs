//! The file: a line that says what it is, and one record after the other.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sync_core::play::Played;
use sync_core::{Bytes, Error, ErrorKind, Migrated, Result, SpaceName};
use sync_kit::Written;

use crate::codec::{Entry, Record};
use crate::space::Space;

const HEADER: &str = "journal 1\n";

/// The file, and everything in it.
pub(crate) struct Journal {
    file: File,
    pub(crate) spaces: BTreeMap<SpaceName, Space>,
    /// Rows that drops and resets left in the file.
    pub(crate) garbage: u64,
}

pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed).with_source(error)
}

/// The version in the file's first line; 0 where there is no file.
fn version(path: &Path) -> Result<u32> {
    let mut first = String::new();
    let read = File::open(path).and_then(|file| BufReader::new(file).read_line(&mut first));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    }
    let first = first
        .strip_suffix('\n')
        .and_then(|line| line.strip_prefix("journal "));
    let version = first.and_then(|version| version.parse().ok());
    version.ok_or_else(|| Error::new(ErrorKind::Foreign))
}

fn check(path: &Path) -> Result<()> {
    match version(path)? {
        1 => Ok(()),
        found => Err(Error::new(ErrorKind::SchemaMismatch {
            found,
            supported: 1,
        })),
    }
}

pub(crate) fn migrate(path: &Path) -> Result<Migrated> {
    // Whoever creates the file migrates; the others find it.
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    match created {
        Ok(mut file) => {
            file.write_all(HEADER.as_bytes()).map_err(failed)?;
            return Ok(Migrated { from: 0, to: 1 });
        }
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    check(path)?;
    Ok(Migrated { from: 1, to: 1 })
}

impl Journal {
    /// Replays the file. A record that was cut off was never answered, and goes.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        check(path)?;
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.map_err(failed)?;
        file.try_lock()
            .map_err(|error| Error::new(ErrorKind::Busy).with_source(error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let mut rest = Bytes::from(bytes);
        let mut end = HEADER.len();
        let _ = rest.split_to(end);
        let mut journal = Self {
            file,
            spaces: BTreeMap::new(),
            garbage: 0,
        };
        while let Some(length) = rest.first_chunk::<8>().copied() {
            let length = usize::try_from(u64::from_le_bytes(length)).map_err(failed)?;
            if rest.len() - 8 < length {
                break;
            }
            let _ = rest.split_to(8);
            journal.act(&Record::decode(rest.split_to(length))?)?;
            end += 8 + length;
        }
        journal.file.set_len(end as u64).map_err(failed)?;
        journal.file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(journal)
    }

    /// Writes the record down, then does what it says.
    pub(crate) fn commit(&mut self, record: &Record) -> Result<Written> {
        let body = record.encode();
        let mut bytes = (body.len() as u64).to_le_bytes().to_vec();
        bytes.extend(body);
        let end = self.file.stream_position().map_err(failed)?;
        if let Err(error) = self.file.write_all(&bytes) {
            // What was written of it is cut off now, or when the file is opened again.
            self.file.set_len(end).map_err(failed)?;
            self.file.seek(SeekFrom::End(0)).map_err(failed)?;
            return Err(failed(error));
        }
        self.act(record)
    }

    fn act(&mut self, Record { space: name, entry }: &Record) -> Result<Written> {
        let mut space = self.spaces.remove(name).unwrap_or_default();
        let mut played = Played::default();
        let before = space.weight();
        let mut garbage = 0;
        match entry {
            Entry::Page(page, epoch) => {
                if page.reset {
                    garbage = before;
                }
                played = space.apply(page, *epoch)?;
            }
            Entry::Floor(floor) => space.floor = *floor,
            Entry::Prune => space.prune(),
            Entry::NewEpoch(epoch) => space.epoch = Some(*epoch),
            Entry::Drop => {
                garbage = before;
                space = Space::default();
            }
        }
        if space.epoch.is_some() {
            self.spaces.insert(name.clone(), space);
        }
        self.garbage += garbage;
        Ok(Written {
            applied: played.applied,
            changed: played.changed,
            garbage: garbage > 0,
        })
    }
}
