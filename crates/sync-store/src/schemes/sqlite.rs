use sync_core::{Durability, Result};
use sync_sqlite::SqliteConfig;

use crate::options::Options;
use crate::url::{StoreUrl, decode, error};

const OPTIONS: [&str; 5] = ["durability", "busy_timeout", "readers", "cache_kib", "mode"];

/// `sqlite:PATH`, with the options named above.
pub(crate) fn config(url: StoreUrl) -> Result<SqliteConfig> {
    let mut config = SqliteConfig::new(path(url.rest())?);
    let options = Options::of(url, "sqlite", &OPTIONS)?;
    let durabilities = [
        ("full", Durability::Machine),
        ("normal", Durability::Process),
    ];
    if let Some(durability) = options.choice("durability", &durabilities)? {
        config = config.durability(durability);
    }
    if let Some(timeout) = options.duration("busy_timeout")? {
        config = config.busy_timeout(timeout);
    }
    if let Some(readers) = options.count("readers")? {
        config = config.readers(readers);
    }
    if let Some(cache_kib) = options.count("cache_kib")? {
        config = config.cache_kib(cache_kib);
    }
    if let Some(read_only) = options.choice("mode", &[("rw", false), ("ro", true)])? {
        config = config.read_only(read_only);
    }
    Ok(config)
}

/// Everything behind the colon is the path, as on a command line: relative to the working
/// directory unless it begins with a slash. `sqlite:///PATH`, as other programs write it, is the
/// absolute path; `sqlite://PATH` means different files to different programs and is refused.
fn path(rest: &str) -> Result<String> {
    let rest = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => {
            return Err(error(
                "sqlite://NAME is ambiguous; write sqlite:NAME for a relative path, sqlite:/NAME \
                 or sqlite:///NAME for an absolute one",
            ));
        }
        None => rest,
    };
    match decode(rest)?.as_str() {
        "" => Err(error("sqlite: is followed by the path of a file")),
        ":memory:" => Err(error(
            "sqlite::memory: would lose its data with each connection; use memory:",
        )),
        path if path.starts_with("file:") => Err(error(
            "sqlite: is followed by a path, not by file:; a file of that name is ./file:",
        )),
        path => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<SqliteConfig> {
        config(StoreUrl::parse(url)?)
    }

    #[test]
    fn what_follows_the_colon_is_the_path() {
        for (url, path) in [
            ("sqlite:sync.db", "sync.db"),
            ("sqlite:data/sync.db", "data/sync.db"),
            ("sqlite:./sync.db?readers=2", "./sync.db"),
            ("sqlite:../sync.db", "../sync.db"),
            ("sqlite:/var/lib/sync.db", "/var/lib/sync.db"),
            ("sqlite:///var/lib/sync.db", "/var/lib/sync.db"),
            ("sqlite:a b%20c%3F%23%25.db", "a b c?#%.db"),
            ("sqlite:m%C3%BC+x@y:z.db", "mü+x@y:z.db"),
            ("sqlite:./file:x", "./file:x"),
            ("SQLITE:x", "x"),
        ] {
            let config = read(url).unwrap();
            assert_eq!(config.path(), std::path::Path::new(path), "{url}");
        }
    }

    #[test]
    fn a_path_that_could_mean_something_else_is_refused() {
        for url in [
            "sqlite:",
            "sqlite:?mode=ro",
            "sqlite:///?mode=ro&mode=ro",
            "sqlite://sync.db",
            "sqlite://host/sync.db",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:%3Amemory%3A",
            "sqlite:file:sync.db",
            "sqlite:sync.db#x",
            "sqlite:100%.db",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }

    #[test]
    fn every_option_reaches_the_configuration() {
        let url = "sqlite:x?durability=normal&busy_timeout=1500ms&readers=7&cache_kib=2000&mode=ro";
        let expected = SqliteConfig::new("x")
            .durability(Durability::Process)
            .busy_timeout(std::time::Duration::from_millis(1500))
            .readers(7)
            .cache_kib(2000)
            .read_only(true);
        assert_eq!(format!("{:?}", read(url).unwrap()), format!("{expected:?}"));
        let defaults = read("sqlite:x?durability=full&mode=rw").unwrap();
        assert_eq!(
            format!("{defaults:?}"),
            format!("{:?}", SqliteConfig::new("x"))
        );
    }

    #[test]
    fn a_bad_value_and_an_unknown_option_name_what_is_accepted() {
        for (url, message) in [
            ("sqlite:x?durability=none", "one of full, normal"),
            (
                "sqlite:x?mode=rwc",
                "option mode of sqlite: \"rwc\" is not one of rw, ro",
            ),
            ("sqlite:x?busy_timeout=5", "500ms, 5s, 2m"),
            ("sqlite:x?readers=0", "a whole number from 1"),
            (
                "sqlite:x?cache=shared",
                "not an option of sqlite; accepted are durability, busy_timeout, readers, cache_kib, mode",
            ),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
