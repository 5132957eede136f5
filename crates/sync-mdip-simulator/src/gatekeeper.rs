//! A log behind HTTP.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;
use tiny_http::{Method, Request, Server, StatusCode};

use crate::Log;

/// Requests answered at the same time.
const WORKERS: usize = 4;
/// The longest request body that is read: 4 MiB, the deployed Gatekeeper's default.
const BODY: u64 = 4 << 20;

/// A server on the loopback that answers the index export from a [`Log`]: `POST
/// /api/v1/index/export`, and `GET /api/v1/ready`. It stops when it is dropped.
///
/// The log can be changed at any time ([`change`](Self::change)), and a request sees all of a
/// change or none of it. Faults of the log (another epoch, hidden rows, a rewound log, raw rows)
/// are methods of [`Log`]; faults of the server are methods here and end by themselves or with the
/// next call.
///
/// ```no_run
/// use sync_mdip_simulator::{Gatekeeper, Log};
///
/// let gatekeeper = Gatekeeper::start(Log::new())?;
/// let did = gatekeeper.change(|log| log.create("hyperswarm"));
/// gatekeeper.fail_next(2);
/// println!("{did} is served at {}", gatekeeper.url());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Gatekeeper {
    url: String,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// An answer that a test makes up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, sent with the content type of JSON.
    pub body: Vec<u8>,
}

struct Shared {
    server: Server,
    log: RwLock<Log>,
    faults: Mutex<Faults>,
    requests: AtomicU64,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Faults {
    fail: u32,
    delay: Duration,
    replies: VecDeque<Reply>,
}

impl Gatekeeper {
    /// Serves `log` on a free port of 127.0.0.1.
    pub fn start(log: Log) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), log)
    }

    /// Serves `log` at `address`, which is one of the loopback; port 0 is a free one.
    pub fn start_at(address: SocketAddr, log: Log) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::other("not an address of the loopback"));
        }
        let server = Server::http(address).map_err(io::Error::other)?;
        let address = server
            .server_addr()
            .to_ip()
            .ok_or_else(|| io::Error::other("no IP address"))?;
        let shared = Arc::new(Shared {
            server,
            log: RwLock::new(log),
            faults: Mutex::default(),
            requests: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        });
        let mut gatekeeper = Self {
            url: format!("http://{address}"),
            shared,
            workers: Vec::new(),
        };
        for _ in 0..WORKERS {
            let shared = Arc::clone(&gatekeeper.shared);
            let worker = thread::Builder::new()
                .name("simulated-gatekeeper".to_owned())
                .spawn(move || shared.serve())?;
            gatekeeper.workers.push(worker);
        }
        Ok(gatekeeper)
    }

    /// `http://ADDRESS:PORT`, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Reads or changes the log while no request is answered.
    pub fn change<R>(&self, change: impl FnOnce(&mut Log) -> R) -> R {
        change(
            &mut self
                .shared
                .log
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Answers the next `requests` exports with 503.
    pub fn fail_next(&self, requests: u32) {
        self.shared.faults().fail = requests;
    }

    /// Waits before each export from now on.
    pub fn delay(&self, delay: Duration) {
        self.shared.faults().delay = delay;
    }

    /// Answers the next export with `reply`; several are sent one after another.
    pub fn reply_next(&self, reply: Reply) {
        self.shared.faults().replies.push_back(reply);
    }

    /// How many exports were requested so far, failed ones included.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        for _ in &self.workers {
            self.shared.server.unblock();
        }
        for worker in self.workers.drain(..) {
            // A worker that panicked has printed its message.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn serve(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            if let Ok(mut request) = self.server.recv() {
                let reply = self.answer(&mut request);
                let mut writer = request.into_writer();
                // The client may be gone.
                let _ = writer
                    .write_all(&reply.message())
                    .and_then(|()| writer.flush());
            }
        }
    }

    fn answer(&self, request: &mut Request) -> Reply {
        match (request.method(), request.url()) {
            (Method::Get, "/api/v1/ready") => Reply::new(200, "true"),
            (Method::Post, "/api/v1/index/export") => self.export(request),
            _ => Reply::error(404, "not found"),
        }
    }

    fn export(&self, request: &mut Request) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut body = Vec::new();
        let read = request.as_reader().take(BODY + 1).read_to_end(&mut body);
        if read.is_err() || body.len() as u64 > BODY {
            return Reply::error(413, "request entity too large");
        }
        let (delay, made_up) = {
            let mut faults = self.faults();
            let delay = faults.delay;
            let made_up = if faults.fail > 0 {
                faults.fail -= 1;
                Some(Reply::unavailable())
            } else {
                faults.replies.pop_front()
            };
            (delay, made_up)
        };
        self.wait(delay);
        made_up.unwrap_or_else(|| {
            let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
            match log.export(&body) {
                Ok(answer) => Reply::new(200, answer),
                Err(refusal) => Reply::error(400, &refusal.to_string()),
            }
        })
    }

    /// Waits, unless the server stops.
    fn wait(&self, delay: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < delay && !self.stopping.load(Ordering::Relaxed) {
            let left = delay.saturating_sub(begun.elapsed());
            thread::sleep(left.min(Duration::from_millis(10)));
        }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reply {
    /// A status and a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }

    /// The whole answer. The server's own writing sends head and body apart, and the system then
    /// keeps the body back until the client has acknowledged the head: 40 ms for each request.
    fn message(&self) -> Vec<u8> {
        let status = StatusCode(self.status);
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.status,
            status.default_reason_phrase(),
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }

    fn error(status: u16, error: &str) -> Self {
        Self::new(status, json!({ "error": error }).to_string())
    }

    /// What the deployed Gatekeeper answers while it has no database.
    fn unavailable() -> Self {
        let message = "Gatekeeper database is unavailable while exporting index";
        let body = json!({ "error": "database_unavailable", "message": message });
        Self::new(503, body.to_string())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
