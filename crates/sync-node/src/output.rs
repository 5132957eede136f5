//! A file that appears when it is complete.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};

/// A file on its way: gone when the command fails, left beside its place when it is killed.
pub(crate) struct Output {
    file: NamedTempFile,
    target: PathBuf,
}

impl Output {
    /// A file that will take the place of `path`, or of the file that is behind symbolic links
    /// there. `what` is part of its name until then.
    pub(crate) fn create(path: &Path, what: &str) -> Result<Self> {
        let target = target(path)?;
        let directory = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let prefix = format!(".sync-node-{what}-");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // As `File::create` would: the umask decides.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(directory)
            .map_err(|error| Failure::io(format!("a file in {}", directory.display()), error))?;
        Ok(Self { file, target })
    }

    /// Where to write; what is written has to be flushed.
    pub(crate) fn writer(&self) -> BufWriter<&File> {
        BufWriter::new(self.file.as_file())
    }

    /// Puts the complete file in its place.
    pub(crate) fn keep(self) -> Result<()> {
        let failed = |error| Failure::io(self.target.display(), error);
        self.file.as_file().sync_all().map_err(failed)?;
        let kept = self.file.persist(&self.target);
        kept.map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The file that one named `path` takes the place of: behind symbolic links, and never a device, a
/// pipe or a socket, which a file would replace.
fn target(path: &Path) -> Result<PathBuf> {
    let Ok(found) = std::fs::metadata(path) else {
        return Ok(path.to_owned());
    };
    if !found.is_file() {
        return Err(Failure::usage(format!(
            "--output {}: is there, and is not a file; without --output all goes to standard output",
            path.display()
        )));
    }
    std::fs::canonicalize(path).map_err(|error| Failure::io(path.display(), error))
}
