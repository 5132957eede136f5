//! The server, or the nodes of a cluster, with the connections to them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};
use tokio::sync;
use tokio::time::sleep;

use crate::config::{Address, RedisConfig};
use crate::connection::Connection;
use crate::error::Failure;
use crate::slots::{self, Range};
use crate::stream::Transport;

/// How often a call goes where a node sends it before the cluster is taken for confused.
const MOVES: u32 = 8;
/// Connections to each server that may be lent at once.
const LENT: usize = 4;
/// The pauses before a call is tried again, each twice the one before.
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
    writer: Slot,
    readers: Vec<Slot>,
    next: AtomicUsize,
    lender: Lender,
}

/// Connections that are each used by one page at a time.
struct Lender {
    /// Those that nobody uses, without anything left on them.
    idle: Mutex<Vec<Connection>>,
    /// How many more may be lent.
    left: AtomicUsize,
}

/// A connection that nobody else uses. It ends with this, unless it is given back.
pub(crate) struct Lent {
    node: Arc<Node>,
    connection: Option<Connection>,
}

/// A connection that is made when it is needed, and anew when it has ended.
#[derive(Default)]
struct Slot(sync::Mutex<Option<Connection>>);

/// What a call is sent over, and what may be done where it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Sent again where its outcome is unknown, because it changes nothing, or the same once more.
    Repeatable,
    /// A page: never sent twice, unless the first one certainly did not arrive.
    Page,
}

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline),
}

impl Servers {
    pub(crate) fn new(config: RedisConfig) -> sync_core::Result<Self> {
        let transport = Transport::of(&config)?;
        let nodes: Vec<_> = config
            .hosts
            .iter()
            .map(|address| Arc::new(Node::new(address.clone(), config.readers)))
            .collect();
        let map = Map {
            ranges: Vec::new(),
            nodes,
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

    /// A connection of its own to any server that answers, outside of the others.
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
            match self.on(&node, Access::Repeatable, Call::One(command)).await {
                Ok(value) => return Ok((node, value)),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or(Failure::NoAnswer))
    }

    /// Asks `node`, which is a node of a cluster, where the keys are.
    pub(crate) async fn learn(&self, node: &Node) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = self
            .on(node, Access::Repeatable, Call::One(&command))
            .await?;
        self.settle(slots::ranges(answer, &node.address));
        Ok(())
    }

    /// Sends a call to the server that has `slot`, and again where that is harmless and helps,
    /// until the configuration's patience has passed.
    pub(crate) async fn call(
        &self,
        slot: u16,
        access: Access,
        call: Call<'_>,
    ) -> Result<Value, Failure> {
        let began = Instant::now();
        let (mut pause, mut moves) = (FIRST_PAUSE, 0);
        loop {
            let node = self.node(slot);
            let failure = match self.on(&node, access, call).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if failure.code() == Some("MOVED") && moves < MOVES {
                moves += 1;
                self.refresh(&node).await;
                continue;
            }
            let again = match &failure {
                Failure::NoHost(..) | Failure::NoConnection(_) => true,
                Failure::NotSent(error) => error.is_io_error(),
                Failure::Lost(_) => access == Access::Repeatable,
                // It was given time enough; or nothing changes with time.
                Failure::NoAnswer | Failure::Handshake(..) => false,
                Failure::Refused(_) => matches!(
                    failure.code(),
                    Some(
                        "ASK" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "TRYAGAIN"
                    )
                ),
            };
            if !again || began.elapsed() + pause > self.config.patience {
                return Err(failure);
            }
            if failure.code() == Some("READONLY") {
                // The name may by now lead to the server that took over.
                node.disconnect().await;
            }
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
            if self.is_cluster() {
                self.refresh(&node).await;
            }
        }
    }

    /// Sends a call to `node`, once. A server that is busy with somebody's script refuses everything
    /// after a few seconds, and before that makes callers wait: that is the same to them.
    pub(crate) async fn on(
        &self,
        node: &Node,
        access: Access,
        call: Call<'_>,
    ) -> Result<Value, Failure> {
        let began = Instant::now();
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
        let slot = match access {
            Access::Page => &node.writer,
            Access::Repeatable => node.reader(),
        };
        let connection = slot.get(self, &node.address).await?;
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
        let found = map
            .ranges
            .iter()
            .find(|(range, _)| (range.first..=range.last).contains(&slot));
        // A slot that nobody has is a matter of the node that is asked, which says so.
        let node = found.map(|(_, node)| node).or_else(|| map.nodes.first());
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
        let _turn = self.refresh.lock().await;
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

impl Node {
    fn new(address: Address, readers: usize) -> Self {
        Self {
            address,
            writer: Slot::default(),
            readers: (0..readers.max(1)).map(|_| Slot::default()).collect(),
            next: AtomicUsize::new(0),
            lender: Lender {
                idle: Mutex::default(),
                left: AtomicUsize::new(LENT),
            },
        }
    }

    /// The readers in turn.
    fn reader(&self) -> &Slot {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.readers
            .get(turn % self.readers.len().max(1))
            .unwrap_or(&self.writer)
    }

    async fn disconnect(&self) {
        for slot in self.readers.iter().chain([&self.writer]) {
            // Calls that wait for their answers get them.
            slot.0.lock().await.take();
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

impl Slot {
    async fn get(&self, servers: &Servers, address: &Address) -> Result<Connection, Failure> {
        let mut slot = self.0.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(&servers.config, &servers.transport, address).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }
}
