use sync_core::Result;
use sync_memory::MemoryConfig;

use crate::options::Options;
use crate::url::{StoreUrl, error};

/// `memory:` and nothing else: the database has no name, because each connection makes its own.
pub(crate) fn config(url: StoreUrl) -> Result<MemoryConfig> {
    if !url.rest().is_empty() {
        return Err(error(
            "memory: is followed by nothing: each connection is a new, empty database",
        ));
    }
    Options::of(url, "memory", &[])?;
    Ok(MemoryConfig::new())
}
