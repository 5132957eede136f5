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

#[cfg(not(feature = "mongo"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature_mongo() {
    for url in [
        "mongodb://me:hunter2@host/db",
        "mongodb+srv://me:hunter2@host/db",
    ] {
        let message = refusal(url);
        assert!(message.contains("the feature mongo"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[cfg(not(feature = "postgres"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature_postgres() {
    for scheme in ["postgres", "postgresql"] {
        let message = refusal(&format!("{scheme}://me:hunter2@host/db"));
        assert!(message.contains("the feature postgres"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_scheme_whose_feature_is_off_names_the_feature_redis() {
    for scheme in ["redis", "rediss", "valkey", "valkeys"] {
        let message = refusal(&format!("{scheme}://:hunter2@host"));
        assert!(message.contains("the feature redis"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
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
