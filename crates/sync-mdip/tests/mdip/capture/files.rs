//! Where recorded answers are.

use std::path::PathBuf;

/// The files of responses, one response a line: from the directory that `SYNC_MDIP_CAPTURE` names,
/// else from `shared/data/gatekeeper` beside the workspace. `None` where there is none.
pub(crate) fn files() -> Option<Vec<String>> {
    let directory = std::env::var_os("SYNC_MDIP_CAPTURE").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/data/gatekeeper"
            ))
        },
        PathBuf::from,
    );
    let names = [
        "changes-from-zero-limit500.ndjson",
        "changes-after-snapshot-limit500.ndjson",
        "snapshot-limit500.ndjson",
    ];
    directory.exists().then(|| {
        names
            .map(|name| std::fs::read_to_string(directory.join(name)).unwrap())
            .to_vec()
    })
}
