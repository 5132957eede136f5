use std::fmt::Write as _;

use sync_core::Result;
use sync_mongo::MongoConfig;

use crate::options::Options;
use crate::url::{StoreUrl, error};

/// Ours first, then those that are the driver's business.
const OPTIONS: [&str; 31] = [
    "collection_prefix",
    "busy_timeout",
    "commit_timeout",
    "timeout",
    "w",
    "retryWrites",
    "retryReads",
    "readPreference",
    "appName",
    "authMechanism",
    "authMechanismProperties",
    "authSource",
    "connectTimeoutMS",
    "directConnection",
    "heartbeatFrequencyMS",
    "localThresholdMS",
    "maxConnecting",
    "maxIdleTimeMS",
    "maxPoolSize",
    "minPoolSize",
    "replicaSet",
    "serverMonitoringMode",
    "serverSelectionTimeoutMS",
    "srvMaxHosts",
    "srvServiceName",
    "ssl",
    "tls",
    "tlsAllowInvalidCertificates",
    "tlsCAFile",
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
];

/// How many of the options the driver is not told of.
const OURS: usize = 8;

/// `mongodb://…/DATABASE`, with the options named above.
pub(crate) fn config(url: StoreUrl) -> Result<MongoConfig> {
    let (scheme, rest) = (url.scheme().to_owned(), url.rest().to_owned());
    let database = rest
        .strip_prefix("//")
        .and_then(|rest| rest.rsplit_once('/'))
        .map_or("", |(_, database)| database);
    if database.is_empty() {
        return Err(error(format!(
            "{scheme}: is followed by //HOST/DATABASE, and the database is missing"
        )));
    }
    let options = Options::of(url, "mongo", &OPTIONS)?;
    // What every connection string from elsewhere says is what happens anyway.
    options.choice("w", &[("majority", ())])?;
    options.choice("retryWrites", &[("true", ())])?;
    options.choice("retryReads", &[("true", ())])?;
    options.choice("readPreference", &[("primary", ())])?;
    let mut passed = format!("{scheme}:{rest}");
    let theirs = OPTIONS.iter().skip(OURS);
    let given = theirs.filter_map(|name| Some((name, options.text(name)?)));
    for (index, (name, value)) in given.enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        passed.push(separator);
        passed.push_str(name);
        passed.push('=');
        encode(value, &mut passed);
    }
    let mut config = MongoConfig::new(passed);
    if let Some(prefix) = options.text("collection_prefix") {
        config = config.collection_prefix(prefix);
    }
    if let Some(timeout) = options.duration("busy_timeout")? {
        config = config.busy_timeout(timeout);
    }
    if let Some(timeout) = options.duration("commit_timeout")? {
        config = config.commit_timeout(timeout);
    }
    if let Some(timeout) = options.duration("timeout")? {
        config = config.timeout(timeout);
    }
    Ok(config)
}

/// Writes `value` as the value of an option, which the driver decodes again.
fn encode(value: &str, into: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~,:/".contains(&byte) {
            into.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(url: &str) -> Result<MongoConfig> {
        config(StoreUrl::parse(url)?)
    }

    #[test]
    fn our_options_reach_the_configuration_and_the_others_the_driver() {
        let url = "mongodb://me:hunter2@host/db?replicaSet=rs0&collection_prefix=a_\
                   &busy_timeout=1s&commit_timeout=2s&timeout=3s&w=majority&appName=a%26b";
        let expected =
            MongoConfig::new("mongodb://me:hunter2@host/db?appName=a%26b&replicaSet=rs0")
                .collection_prefix("a_")
                .busy_timeout(Duration::from_secs(1))
                .commit_timeout(Duration::from_secs(2))
                .timeout(Duration::from_secs(3));
        let read = read(url).unwrap();
        assert_eq!(read.url(), expected.url());
        assert_eq!(format!("{read:?}"), format!("{expected:?}"));
        assert!(!format!("{read:?}").contains("hunter2"));
    }

    #[test]
    fn a_url_without_database_is_refused() {
        for url in [
            "mongodb://host",
            "mongodb://host/",
            "mongodb://me:hunter2@host/?w=majority",
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains("the database is missing"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_would_weaken_the_contract_is_refused() {
        for (option, message) in [
            ("w=1", "one of majority"),
            ("retryWrites=false", "one of true"),
            ("readPreference=secondary", "one of primary"),
            ("readConcernLevel=local", "not an option of mongo"),
            ("journal=false", "not an option of mongo"),
        ] {
            let url = format!("mongodb://host/db?{option}");
            let error = read(&url).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
