use pollster::block_on;
use sync_core::ErrorKind;

use super::*;

fn refusal(url: &str) -> String {
    let error = block_on(connect(url)).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Config, "{url}");
    let migration = block_on(migrate(url)).unwrap_err();
    assert_eq!(error.to_string(), migration.to_string());
    error.to_string()
}

#[test]
fn a_backend_that_is_not_in_this_version_says_so_and_repeats_no_secret() {
    for (url, database) in [
        ("postgres://me:hunter2@host/db", "PostgreSQL"),
        ("postgresql://me:hunter2@host/db", "PostgreSQL"),
        ("redis://:hunter2@host", "Redis"),
        ("rediss://:hunter2@host", "Redis"),
        ("valkey://:hunter2@host", "Valkey"),
        ("mongodb://me:hunter2@host", "MongoDB"),
        ("mongodb+srv://me:hunter2@host", "MongoDB"),
    ] {
        let message = refusal(url);
        let expected = format!("this version has no backend for {database};");
        assert!(message.contains(&expected), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_unknown_scheme_names_the_known_ones() {
    let message = refusal("mysql://me:hunter2@host/db");
    assert!(
        message.contains("mysql: is not the scheme of a store"),
        "{message}"
    );
    assert!(
        message.contains("memory:") && message.contains("sqlite:"),
        "{message}"
    );
    assert!(!message.contains("hunter2"), "{message}");
    let message = refusal("me:hunter2@host");
    assert!(
        !message.contains("hunter2") && !message.contains("me:h"),
        "{message}"
    );
}

#[cfg(not(feature = "memory"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature_memory() {
    assert!(refusal("memory:").contains("the feature memory"));
}

#[cfg(not(feature = "sqlite"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature_sqlite() {
    assert!(refusal("sqlite:x").contains("the feature sqlite"));
}

#[cfg(feature = "memory")]
#[test]
fn memory_takes_neither_a_name_nor_options() {
    assert!(refusal("memory:name").contains("followed by nothing"));
    assert!(refusal("memory:?readers=1").contains("it has none"));
}
