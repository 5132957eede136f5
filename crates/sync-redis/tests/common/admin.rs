//! The test's own access to a server, or to every node of a cluster.

use std::collections::HashSet;

use sync_redis::redis::{Client, Cmd, Connection, RedisError, RedisResult, Value, cmd};

/// Connections to every server that has keys.
pub(crate) struct Admin(Vec<Connection>);

impl Admin {
    /// Connects to what a URL with one or several hosts names.
    pub(crate) fn connect(url: &str) -> RedisResult<Self> {
        // The driver reads one host.
        let seed = url.split(',').next().unwrap_or(url);
        let mut first = Client::open(seed)?.get_connection()?;
        let slots = cmd("CLUSTER").arg("SLOTS").query::<Value>(&mut first);
        let Ok(Value::Array(ranges)) = slots else {
            return Ok(Self(vec![first]));
        };
        let nodes: HashSet<_> = ranges.iter().filter_map(primary).collect();
        let connections = nodes.into_iter().map(|(host, port)| {
            let login = login(url);
            Client::open(format!("redis://{login}{host}:{port}"))?.get_connection()
        });
        connections.collect::<RedisResult<_>>().map(Self)
    }

    /// Every connection.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.0.iter_mut()
    }

    /// Removes every key under the prefix.
    pub(crate) fn remove(&mut self, prefix: &str) -> RedisResult<()> {
        for connection in self.all() {
            for key in keys(connection, prefix)? {
                cmd("UNLINK").arg(key).exec(connection)?;
            }
        }
        Ok(())
    }

    /// Copies every key to the same name under another prefix, in place of the keys there.
    pub(crate) fn copy(&mut self, from: &str, to: &str) -> RedisResult<()> {
        self.remove(to)?;
        let mut dumps = Vec::new();
        for connection in self.all() {
            for key in keys(connection, from)? {
                let dump: Vec<u8> = cmd("DUMP").arg(&key).query(connection)?;
                dumps.push((key, dump));
            }
        }
        for (key, dump) in dumps {
            let rest = key.strip_prefix(from.as_bytes()).unwrap_or_default();
            let name = [to.as_bytes(), rest].concat();
            let mut restore = cmd("RESTORE");
            self.anywhere(restore.arg(name).arg(0).arg(dump))?;
        }
        Ok(())
    }

    /// Runs a command on whichever server has its key.
    pub(crate) fn anywhere(&mut self, command: &Cmd) -> RedisResult<()> {
        let mut done = Ok(());
        for connection in self.all() {
            done = command.exec(connection);
            if done.is_ok() {
                break;
            }
        }
        done
    }
}

fn keys(connection: &mut Connection, prefix: &str) -> Result<Vec<Vec<u8>>, RedisError> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(format!("{prefix}:*"));
        let (next, keys): (String, Vec<Vec<u8>>) =
            scan.arg("COUNT").arg(1_000).query(connection)?;
        found.extend(keys);
        if next == "0" {
            return Ok(found);
        }
        cursor = next;
    }
}

/// The primary of a range of slots.
fn primary(range: &Value) -> Option<(String, i64)> {
    let Value::Array(range) = range else {
        return None;
    };
    let Some(Value::Array(node)) = range.get(2) else {
        return None;
    };
    match node.as_slice() {
        [Value::BulkString(host), Value::Int(port), ..] => {
            Some((String::from_utf8_lossy(host).into_owned(), *port))
        }
        _ => None,
    }
}

/// `USER:PASSWORD@` of a URL, or nothing.
fn login(url: &str) -> String {
    let authority = url.split("://").nth(1).unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    user.map(|user| format!("{user}@")).unwrap_or_default()
}
