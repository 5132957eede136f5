//! The server, or the nodes of a cluster, with the connections to them.
//!
//! The `redis` crate has a client for clusters. These are the reasons why it is not used:
//!
//! - **A page must not be sent twice.** That client sends a command again after a lost connection,
//!   whether or not the server may have carried it out. With its retries switched off, its error does
//!   not say whether anything was sent. Here a [connection](Connection) counts the bytes that left, and
//!   [`Access`] says which calls may be repeated.
//! - **A page under `WATCH` needs a connection that no other call uses**, to the node that has the
//!   space. That client sends all calls over its own multiplexed connections and lends none.
//! - **It makes its own streams.** Their bytes cannot be counted, and TLS comes from a process-wide
//!   crypto provider instead of the one that [`Transport`] names.
//! - A single server needs all of this too, so one module serves both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};
use sync_kit::backoff::{Backoff, Policy};
use tokio::sync;
use tokio::time::sleep;

use crate::config::{Address, RedisConfig};
use crate::connection::Connection;
use crate::error::Failure;
use crate::slots::{self, Range};
use crate::stream::Transport;

/// How often a call follows redirections before the cluster's map is taken for inconsistent.
const REDIRECTIONS: u32 = 8;
/// Connections to each server that may be lent at once.
const LENT: usize = 4;
/// The bound of the first pause before a call is tried again, and of the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Where the keys are, and the connections to it.
pub(crate) struct Servers {
    config: RedisConfig,
    transport: Transport,
    map: Mutex<Arc<Map>>,
    /// Held by the one call that asks the cluster anew.
    refresh: sync::Mutex<()>,
}

struct Map {
    /// Empty where there is one server, which has everything.
    ranges: Vec<(Range, Arc<Node>)>,
    /// Never empty.
    nodes: Vec<Arc<Node>>,
}

/// One server.
pub(crate) struct Node {
    address: Address,
    writer: Reconnecting,
    readers: Vec<Reconnecting>,
    next: AtomicUsize,
    lender: Lender,
}

/// Connections that are each used by one page at a time.
struct Lender {
    /// Those that are not lent, without a transaction and without a watched key.
    idle: Mutex<Vec<Connection>>,
    /// How many more may be lent.
    left: AtomicUsize,
}

/// A connection that no other call uses. It ends with this, unless it is given back.
pub(crate) struct Lent {
    node: Arc<Node>,
    connection: Option<Connection>,
}

/// A connection that is made when it is needed, and anew when it has ended.
#[derive(Default)]
struct Reconnecting(sync::Mutex<Option<Connection>>);

/// What a call is sent over, and what may be done where it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Sent again where its outcome is unknown, because it changes nothing, or the same once more.
    Repeatable,
    /// A page: never sent twice, unless the first one certainly did not arrive.
    Page,
}

/// One command, or several at once.
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl<'a> From<&'a Cmd> for Call<'a> {
    fn from(command: &'a Cmd) -> Self {
        Self::One(command)
    }
}

impl<'a> From<&'a mut Cmd> for Call<'a> {
    fn from(command: &'a mut Cmd) -> Self {
        Self::One(command)
    }
}

impl<'a> From<&'a Pipeline> for Call<'a> {
    fn from(pipeline: &'a Pipeline) -> Self {
        Self::Many(pipeline)
    }
}

impl Servers {
    pub(crate) fn new(config: RedisConfig) -> sync_core::Result<Self> {
        let transport = Transport::of(&config)?;
        let node = |address: &Address| Arc::new(Node::new(address.clone(), config.readers));
        let map = Map {
            ranges: Vec::new(),
            nodes: config.hosts.iter().map(node).collect(),
        };
        Ok(Self {
            config,
            transport,
            map: Mutex::new(Arc::new(map)),
            refresh: sync::Mutex::new(()),
        })
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.config
    }

    /// How to make a connection apart from the others, and to which servers.
    pub(crate) fn transport(&self) -> (Transport, Vec<Address>) {
        let nodes = self.nodes();
        let addresses = nodes.iter().map(|node| node.address.clone()).collect();
        (self.transport.clone(), addresses)
    }

    /// Every server that has keys.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.map().nodes.clone()
    }

    pub(crate) fn is_cluster(&self) -> bool {
        !self.map().ranges.is_empty()
    }

    /// Asks the first server that answers, without trying for long.
    pub(crate) async fn any(&self, command: &Cmd) -> Result<(Arc<Node>, Value), Failure> {
        let mut last = None;
        for node in self.nodes() {
            match self.on(&node, Access::Repeatable, command).await {
                Ok(value) => return Ok((node, value)),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or(Failure::NoAnswer))
    }

    /// Asks `node`, which is a node of a cluster, where the keys are.
    pub(crate) async fn learn(&self, node: &Node) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        let answer = self.on(node, Access::Repeatable, command.arg("SLOTS"));
        self.settle(slots::ranges(answer.await?, &node.address));
        Ok(())
    }

    /// Sends a call to the server that has `slot`, and again where that is harmless and helps,
    /// until the configured time has passed.
    pub(crate) async fn call(
        &self,
        slot: u16,
        access: Access,
        call: impl Into<Call<'_>>,
    ) -> Result<Value, Failure> {
        let call = call.into();
        let mut backoff = Backoff::new(Policy {
            deadline: self.config.patience,
            first: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
        });
        let mut redirections = 0;
        loop {
            let node = self.node(slot);
            let failure = match self.on(&node, access, call).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if failure.code() == Some("MOVED") && redirections < REDIRECTIONS {
                redirections += 1;
                self.refresh(&node).await;
                continue;
            }
            let pause = backoff.pause().filter(|_| passes(&failure, access));
            let Some(pause) = pause else {
                return Err(failure);
            };
            if failure.code() == Some("READONLY") {
                // The name may by now lead to the server that took over.
                node.disconnect().await;
            }
            sleep(pause).await;
            if self.is_cluster() {
                self.refresh(&node).await;
            }
        }
    }

    /// Sends a call to `node`, once. While a server runs another client's script it makes callers wait,
    /// and after a few seconds refuses their calls: callers of this wait in both cases.
    pub(crate) async fn on(
        &self,
        node: &Node,
        access: Access,
        call: impl Into<Call<'_>>,
    ) -> Result<Value, Failure> {
        let (call, began) = (call.into(), Instant::now());
        loop {
            match self.once(node, access, call).await {
                Err(failure)
                    if failure.code() == Some("BUSY") && began.elapsed() < self.config.timeout =>
                {
                    sleep(LONGEST_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn once(&self, node: &Node, access: Access, call: Call<'_>) -> Result<Value, Failure> {
        let over = match access {
            Access::Page => &node.writer,
            Access::Repeatable => node.reader(),
        };
        let connection = over.get(self, &node.address).await?;
        match call {
            Call::One(command) => connection.command(command).await,
            Call::Many(pipeline) => connection.pipeline(pipeline).await,
        }
    }

    /// A connection to `node` for the caller alone, if there is another one.
    pub(crate) async fn lend(&self, node: &Arc<Node>) -> Result<Option<Lent>, Failure> {
        if !node.lender.has_another() {
            return Ok(None);
        }
        // From here on it is counted as lent, until this is dropped.
        let mut lent = Lent {
            node: Arc::clone(node),
            connection: node.lender.take(),
        };
        if lent.connection.is_none() {
            let opened = Connection::open(&self.config, &self.transport, &node.address).await?;
            lent.connection = Some(opened);
        }
        Ok(Some(lent))
    }

    /// The server that has `slot`.
    pub(crate) fn node(&self, slot: u16) -> Arc<Node> {
        let map = self.map();
        let has_it = |(range, _): &&(Range, _)| (range.first..=range.last).contains(&slot);
        let found = map.ranges.iter().find(has_it).map(|(_, node)| node);
        // Of a slot that no node has, any node says so.
        let node = found.or_else(|| map.nodes.first());
        node.map_or_else(
            || Arc::new(Node::new(self.seed(), self.config.readers)),
            Arc::clone,
        )
    }

    fn seed(&self) -> Address {
        self.config.hosts.first().cloned().unwrap_or(Address {
            host: String::new(),
            port: 0,
        })
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks any node where the keys are, the one that just failed last.
    async fn refresh(&self, failed: &Node) {
        let before = self.map();
        let _alone = self.refresh.lock().await;
        if !Arc::ptr_eq(&before, &self.map()) {
            return;
        }
        let mut nodes = self.nodes();
        nodes.sort_by_key(|node| node.address == failed.address);
        let seeds = self.config.hosts.iter();
        let known: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
        let seeds = seeds.filter(|seed| !known.contains(seed)).cloned();
        nodes.extend(seeds.map(|seed| Arc::new(Node::new(seed, 1))));
        for node in nodes {
            if self.learn(&node).await.is_ok() && self.is_cluster() {
                return;
            }
        }
    }

    /// Takes over what a node said, and keeps the connections to nodes that stay.
    fn settle(&self, ranges: Vec<Range>) {
        if ranges.is_empty() {
            return;
        }
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let ranges = ranges
            .into_iter()
            .map(|range| {
                let is_it = |node: &&Arc<Node>| node.address == range.primary;
                let known = nodes.iter().find(is_it).cloned();
                let node = known.unwrap_or_else(|| {
                    let node = map.nodes.iter().find(is_it).cloned();
                    let node = node.unwrap_or_else(|| {
                        Arc::new(Node::new(range.primary.clone(), self.config.readers))
                    });
                    nodes.push(Arc::clone(&node));
                    node
                });
                (range, node)
            })
            .collect();
        *map = Arc::new(Map { ranges, nodes });
    }
}

/// Whether the same call may succeed later, and may be sent again.
fn passes(failure: &Failure, access: Access) -> bool {
    match failure {
        Failure::NoHost(..) | Failure::NoConnection(_) => true,
        Failure::NotSent(error) => error.is_io_error(),
        Failure::Lost(_) => access == Access::Repeatable,
        // The time for an answer is over; or time changes nothing.
        Failure::NoAnswer | Failure::Handshake(..) => false,
        Failure::Refused(_) => matches!(
            failure.code(),
            Some("ASK" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "TRYAGAIN")
        ),
    }
}

impl Node {
    fn new(address: Address, readers: usize) -> Self {
        Self {
            address,
            writer: Reconnecting::default(),
            readers: (0..readers.max(1))
                .map(|_| Reconnecting::default())
                .collect(),
            next: AtomicUsize::new(0),
            lender: Lender {
                idle: Mutex::default(),
                left: AtomicUsize::new(LENT),
            },
        }
    }

    /// The readers in turn.
    fn reader(&self) -> &Reconnecting {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.readers
            .get(next % self.readers.len().max(1))
            .unwrap_or(&self.writer)
    }

    async fn disconnect(&self) {
        for connection in self.readers.iter().chain([&self.writer]) {
            // Calls that wait for their answers get them.
            connection.0.lock().await.take();
        }
        self.lender.lock().clear();
    }
}

impl Lender {
    /// Counts another one as lent, unless all are.
    fn has_another(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let counted = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        counted.is_ok()
    }

    /// One that is still open.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain(Connection::is_open);
        idle.pop()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// Sends several commands at once, and waits for the answer of each.
    pub(crate) async fn answers(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Failure> {
        match &self.connection {
            Some(connection) => connection.answers(pipeline).await,
            // It is there for as long as this is.
            None => Err(Failure::NoConnection(self.node.address.clone())),
        }
    }

    /// Leaves the connection to the next one. Nothing may be left on it: no transaction, no watched
    /// key, no answer that is on its way.
    pub(crate) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.node.lender.lock().push(connection);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.node.lender.left.fetch_add(1, Ordering::SeqCst);
    }
}

impl Reconnecting {
    async fn get(&self, servers: &Servers, address: &Address) -> Result<Connection, Failure> {
        let mut current = self.0.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&servers.config, &servers.transport, address).await?;
        *current = Some(connection.clone());
        Ok(connection)
    }
}
