use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sync_core::{Error, ErrorKind, Result};
use sync_kit::fault::Faults;

use crate::NAME;

/// The port of a URL that names none.
const PORT: u16 = 6379;

/// The most bytes of a prefix.
const PREFIX_BYTES: usize = 64;

/// How to reach a server or a cluster.
///
/// ```
/// use std::time::Duration;
/// use sync_redis::RedisConfig;
///
/// let config = RedisConfig::from_url("redis://me:secret@127.0.0.1:6379/2")?
///     .prefix("registry")?
///     .timeout(Duration::from_secs(10));
/// # Ok::<(), sync_redis::sync_core::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisConfig {
    pub(crate) hosts: Vec<Address>,
    pub(crate) tls: bool,
    pub(crate) root_certificates: Option<Vec<u8>>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: i64,
    pub(crate) prefix: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) patience: Duration,
    pub(crate) readers: usize,
    /// Hooks of tests.
    pub(crate) faults: Faults,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl RedisConfig {
    /// The server at `host` and `port`, with the defaults of the methods below. A node of a cluster means
    /// the whole cluster.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            hosts: vec![Address {
                host: host.into(),
                port,
            }],
            tls: false,
            root_certificates: None,
            username: None,
            password: None,
            database: 0,
            prefix: "sync".to_owned(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            patience: Duration::from_secs(2),
            readers: 2,
            faults: Faults::default(),
        }
    }

    /// Reads `redis://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE`. The rest has the defaults of the
    /// methods below.
    ///
    /// - `rediss:` is TLS; `valkey:` and `valkeys:` are the same as `redis:` and `rediss:`.
    /// - Several hosts are nodes of one cluster, and one that answers is enough.
    /// - `:PASSWORD@` is a password without a user. Both are percent-encoded where needed.
    /// - [`Config`](ErrorKind::Config) for any other text. The message repeats none of it.
    pub fn from_url(url: &str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| refused("a Redis URL begins with redis:// or rediss://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            _ => return Err(refused("a Redis URL begins with redis:// or rediss://")),
        };
        if rest.contains(['?', '#']) {
            return Err(refused("this Redis URL takes no options"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let hosts: Vec<Address> = hosts.split(',').map(address).collect::<Result<_>>()?;
        let mut config = Self::new("", PORT);
        config.hosts = hosts;
        config.tls = tls;
        if let Some(user) = user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            config.username = Some(decode(name)?).filter(|name| !name.is_empty());
            config.password = Some(decode(password)?).filter(|password| !password.is_empty());
        }
        let database = path.strip_suffix('/').unwrap_or(path);
        if !database.is_empty() {
            let digits = database.bytes().all(|byte| byte.is_ascii_digit());
            let number = database.parse().ok().filter(|_| digits);
            config.database =
                number.ok_or_else(|| refused("the path of a Redis URL is a database's number"))?;
        }
        Ok(config)
    }

    /// The ACL user, where it is not the default one.
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The number of the database. A cluster has only 0. Default: 0.
    pub fn database(mut self, database: u16) -> Self {
        self.database = i64::from(database);
        self
    }

    /// Whether to encrypt the connection and to verify the server, by the web's certificate authorities
    /// or those of [`root_certificates`](Self::root_certificates). Default: false.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// The certificates, as PEM, of the authorities that are trusted instead of the web's.
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates = Some(pem.into());
        self
    }

    /// The beginning of the names of all keys: each prefix is an installation of its own. 1 to 64
    /// letters, digits, `.`, `_`, `-`, `:` and `/`. Default: `sync`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self> {
        let prefix = prefix.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/".contains(&byte);
        if prefix.is_empty() || prefix.len() > PREFIX_BYTES || !prefix.bytes().all(plain) {
            return Err(refused(
                "a prefix is 1 to 64 letters, digits, and any of . _ - : /",
            ));
        }
        self.prefix = prefix;
        Ok(self)
    }

    /// How long a connection may take to be made. Default: 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the server may take to answer. While it writes a large page it answers no other
    /// client. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a call is retried while a server is away, loads its data, or hands its slots over,
    /// before it fails. Default: 2 seconds.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Connections for reading, to each server. Default: 2; 0 means 1.
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Sets the hooks of a test. Boundaries are where a space's name is written to the list (`register`),
    /// where the page is sent (`commit`), and where it was acknowledged and the caller has no answer
    /// yet (`committed`). A page that is tried without the script has one more for each command. Ways
    /// to write are `watched` and `script`, and the reason why a page that was tried under `WATCH` was
    /// left to the script.
    #[cfg(feature = "fault-injection")]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("hosts", &self.hosts)
            .field("tls", &self.tls)
            .field("username", &self.username)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("patience", &self.patience)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn address(text: &str) -> Result<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or_else(|| refused("an IPv6 address of a Redis URL is in brackets"))?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    if host.is_empty() {
        return Err(refused("a Redis URL names a host"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .map_err(|_| refused("a port of a Redis URL is a number up to 65535"))?,
        _ => return Err(refused("a port of a Redis URL is a number up to 65535")),
    };
    let host = decode(host)?;
    Ok(Address { host, port })
}

/// Decodes `%XX`. The crate passes over a `%` without digits, which here is a mistake of the writer.
fn decode(text: &str) -> Result<String> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(is_escape) {
        return Err(refused("a % in a Redis URL is followed by two digits"));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| refused("a Redis URL's percent-encoding is UTF-8"))
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::Config)
        .with_message(message)
        .of_backend(NAME)
}

#[cfg(test)]
mod tests;
