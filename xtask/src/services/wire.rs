//! Whether a server answers, asked in its own protocol and without its driver.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::bson::{self, Document, Value};
use super::server::Server;

/// How long a server may take to take a connection, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read. Those of servers have some thousand bytes.
const LONGEST: usize = 1 << 20;

/// What a server that answers says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Probe {
    /// `PostgreSQL 18.4`; none where it tells only those who have logged in.
    pub(super) version: Option<String>,
    /// Its process, where it says.
    pub(super) process: Option<u32>,
}

/// Asks the server at `address`, a host and a port, once.
pub(super) fn probe(server: Server, address: &str, password: Option<&str>) -> Result<Probe> {
    let mut stream = connect(address)?;
    match server {
        Server::Postgres => postgres(&mut stream),
        Server::Redis => redis(&mut stream, password),
        Server::Mongo => mongo(&mut stream),
    }
}

pub(super) fn connect(address: &str) -> Result<TcpStream> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}

/// Makes the server a replica set of itself.
pub(super) fn initiate(address: &str, set: &str) -> Result<()> {
    let answer = Mongo::connect(address)?.command(initiation(address, set))?;
    let ok = bson::find(&answer, "ok")?;
    // It may have been told before, by an attempt whose answer did not arrive.
    let already = bson::find(&answer, "codeName")?;
    ensure!(
        ok == Some(Value::Number(1.0))
            || already == Some(Value::String("AlreadyInitialized".to_owned())),
        "the replica set was not taken: {:?}",
        bson::find(&answer, "errmsg")?
    );
    Ok(())
}

pub(super) fn initiation(address: &str, set: &str) -> Document {
    let member = Document::default().int("_id", 0).string("host", address);
    let config = Document::default()
        .string("_id", set)
        .array("members", vec![member]);
    Document::default().document("replSetInitiate", config)
}

/// Whether the server is the primary of its set: before that it takes no writes.
pub(super) fn is_primary(address: &str) -> Result<bool> {
    let answer = Mongo::connect(address)?.command(Document::default().int("hello", 1))?;
    Ok(bson::find(&answer, "isWritablePrimary")? == Some(Value::Boolean(true)))
}

/// Opens a session as far as the server allows without a password. Refusing one is an answer, unless
/// it says that it is not ready.
fn postgres(stream: &mut (impl Read + Write)) -> Result<Probe> {
    stream.write_all(&postgres_startup())?;
    let mut probe = Probe::default();
    loop {
        let [kind, length @ ..] = array::<5>(stream)?;
        let length = usize::try_from(u32::from_be_bytes(length))?;
        let body = length
            .checked_sub(4)
            .context("a message without a length")?;
        let body = bytes(stream, body)?;
        match (kind, body.as_slice()) {
            // The session is open: what follows are its parameters.
            (b'R', [0, 0, 0, 0]) => {}
            (b'R' | b'Z', _) => break,
            (b'S', parameter) => {
                let mut words = parameter.split(|&byte| byte == 0);
                if words.next() == Some(b"server_version") {
                    let number = String::from_utf8_lossy(words.next().unwrap_or_default());
                    let number = number.split(' ').next().unwrap_or_default().to_owned();
                    probe.version = Some(format!("PostgreSQL {number}"));
                }
            }
            (b'E', fields) => {
                // Class 57 is the operator's doing: starting, stopping, recovering.
                let unready = fields
                    .split(|&byte| byte == 0)
                    .any(|field| field.starts_with(b"C57"));
                ensure!(!unready, "it is starting or stopping");
                return Ok(probe);
            }
            _ => {}
        }
    }
    stream.write_all(&[b'X', 0, 0, 0, 4])?;
    Ok(probe)
}

/// Protocol 3.0, and pairs of a name and a value.
pub(super) fn postgres_startup() -> Vec<u8> {
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap_or(u32::MAX);
    let mut message = length.to_be_bytes().to_vec();
    message.extend([0, 3, 0, 0]);
    message.extend(parameters);
    message
}

fn redis(stream: &mut (impl Read + Write), password: Option<&str>) -> Result<Probe> {
    if let Some(password) = password {
        stream.write_all(&redis_command(&["AUTH", password]))?;
        let answer = line(stream)?;
        ensure!(answer == "+OK", "it refuses the password");
    }
    stream.write_all(&redis_command(&["INFO", "server"]))?;
    let answer = line(stream)?;
    let Some(length) = answer.strip_prefix('$') else {
        // `-NOAUTH` comes from a server that is there; `-LOADING` from one that is not ready.
        ensure!(
            answer.starts_with("-NOAUTH"),
            "it answers {}",
            answer.split(' ').next().unwrap_or_default()
        );
        return Ok(Probe::default());
    };
    let body = bytes(stream, length.parse()?)?;
    Ok(redis_info(&String::from_utf8_lossy(&body)))
}

/// A session with a Redis or Valkey server.
pub(super) struct Redis {
    stream: TcpStream,
}

impl Redis {
    pub(super) fn connect(address: &str, password: &str) -> Result<Self> {
        let stream = connect(address)?;
        let mut redis = Self { stream };
        redis.ask(&["AUTH", password])?;
        Ok(redis)
    }

    /// The answer to a command that is answered by a text.
    pub(super) fn ask(&mut self, words: &[&str]) -> Result<String> {
        self.stream.write_all(&redis_command(words))?;
        let answer = line(&mut self.stream)?;
        if let Some(text) = answer.strip_prefix('+') {
            return Ok(text.to_owned());
        }
        // What follows the command's name may be a secret.
        let name = words.first().copied().unwrap_or_default();
        let length = answer
            .strip_prefix('$')
            .with_context(|| format!("{name}: it answers {answer}"))?;
        let mut body = bytes(&mut self.stream, length.parse::<usize>()? + 2)?;
        body.truncate(body.len() - 2);
        Ok(String::from_utf8(body)?)
    }
}

/// A command as the protocol's array of strings.
pub(super) fn redis_command(words: &[&str]) -> Vec<u8> {
    let strings = words
        .iter()
        .map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let strings: String = strings.collect();
    format!("*{}\r\n{strings}", words.len()).into_bytes()
}

/// What the section `server` says. Valkey names a version of Redis as well, for old clients.
pub(super) fn redis_info(text: &str) -> Probe {
    let field = |name: &str| {
        text.lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .find_map(|(found, value)| (found == name).then_some(value))
    };
    let valkey = field("valkey_version").map(|number| format!("Valkey {number}"));
    let redis = || field("redis_version").map(|number| format!("Redis {number}"));
    Probe {
        version: valkey.or_else(redis),
        process: field("process_id").and_then(|id| id.parse().ok()),
    }
}

fn mongo(stream: &mut TcpStream) -> Result<Probe> {
    let mut mongo = Mongo { stream };
    let answer = mongo.command(Document::default().int("buildInfo", 1))?;
    Ok(Probe {
        version: match bson::find(&answer, "version")? {
            Some(Value::String(number)) => Some(format!("MongoDB {number}")),
            _ => None,
        },
        process: None,
    })
}

/// A session with a MongoDB server, over a connection or a borrowed one.
struct Mongo<S> {
    stream: S,
}

impl Mongo<TcpStream> {
    fn connect(address: &str) -> Result<Self> {
        Ok(Self {
            stream: connect(address)?,
        })
    }
}

impl<S: Read + Write> Mongo<S> {
    fn command(&mut self, command: Document) -> Result<Vec<u8>> {
        self.stream.write_all(&command.message(1))?;
        let [a, b, c, d, ..] = array::<{ bson::HEADER }>(&mut self.stream)?;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d]))?;
        let body = length
            .checked_sub(bson::HEADER)
            .context("a message shorter than its header")?;
        let body = bytes(&mut self.stream, body)?;
        Ok(bson::answer(&body)?.to_vec())
    }
}

/// A line without its end.
fn line(stream: &mut impl Read) -> Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        ensure!(line.len() < LONGEST, "a line without an end");
        line.extend(array::<1>(stream)?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line)?)
}

fn array<const N: usize>(stream: &mut impl Read) -> Result<[u8; N]> {
    let mut array = [0; N];
    stream.read_exact(&mut array).context("no answer")?;
    Ok(array)
}

fn bytes(stream: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    ensure!(length <= LONGEST, "an answer of {length} bytes");
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).context("an answer cut off")?;
    Ok(bytes)
}
