//! A file that appears when it is complete.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};

/// A temporary file that becomes the output. A failure removes it; a kill leaves it behind.
pub(crate) struct Output {
    file: NamedTempFile,
    target: PathBuf,
}

impl Output {
    /// A temporary file beside `path`, or beside the file that symbolic links at `path` lead to.
    /// `what` is part of its name.
    pub(crate) fn create(path: &Path, what: &str) -> Result<Self> {
        let target = target(path)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let prefix = format!(".sync-node-{what}-");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // The umask decides, as for `File::create`.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(directory)
            .map_err(|error| Failure::io(format!("a file in {}", directory.display()), error))?;
        Ok(Self { file, target })
    }

    /// A writer to the file; the caller flushes it.
    pub(crate) fn writer(&self) -> BufWriter<&File> {
        BufWriter::new(self.file.as_file())
    }

    /// Gives the complete file its name.
    pub(crate) fn keep(self) -> Result<()> {
        let failed = |error| Failure::io(self.target.display(), error);
        self.file.as_file().sync_all().map_err(failed)?;
        let kept = self.file.persist(&self.target);
        kept.map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The file to replace: `path`, or the file that symbolic links there lead to. A device, a pipe or a
/// socket is refused, because the output would replace it.
fn target(path: &Path) -> Result<PathBuf> {
    let Ok(found) = std::fs::metadata(path) else {
        return Ok(path.to_owned());
    };
    if !found.is_file() {
        return Err(Failure::usage(format!(
            "--output {}: exists and is not a file; without --output all goes to standard output",
            path.display()
        )));
    }
    std::fs::canonicalize(path).map_err(|error| Failure::io(path.display(), error))
}
