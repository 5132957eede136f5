//! A relay that does something to what a client sends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// What happens to the next bytes, on whichever connection they come.
pub(crate) enum Rule {
    Pass,
    /// The connection ends after so many more bytes.
    Cut(usize),
    /// Done before the next end of a transaction arrives, and after everything before it has.
    BeforeExec(Box<dyn FnOnce() + Send>),
}

#[derive(Clone)]
pub(crate) struct Gate {
    address: SocketAddr,
    rule: Arc<Mutex<Rule>>,
}

impl Gate {
    pub(crate) fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            rule: Arc::new(Mutex::new(Rule::Pass)),
        };
        let rule = Arc::clone(&gate.rule);
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let rule = Arc::clone(&rule);
                thread::spawn(move || pass(&client, &server, |bytes| rule.apply(bytes)));
                thread::spawn(move || pass(&back, &forth, |bytes| Step::all(bytes)));
            }
        });
        gate
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn set(&self, rule: Rule) {
        *self.rule.lock().unwrap() = rule;
    }
}

/// Bytes that are passed on, the act that follows, and whether the connection goes on.
struct Step<'a> {
    pass: &'a [u8],
    then: Option<Box<dyn FnOnce() + Send>>,
    rest: Option<&'a [u8]>,
}

impl<'a> Step<'a> {
    fn all(bytes: &'a [u8]) -> Self {
        Self {
            pass: bytes,
            then: None,
            rest: Some(&[]),
        }
    }
}

trait Apply {
    fn apply<'a>(&self, bytes: &'a [u8]) -> Step<'a>;
}

impl Apply for Mutex<Rule> {
    fn apply<'a>(&self, bytes: &'a [u8]) -> Step<'a> {
        let mut rule = self.lock().unwrap();
        match std::mem::replace(&mut *rule, Rule::Pass) {
            Rule::Pass => Step::all(bytes),
            Rule::Cut(left) if left > bytes.len() => {
                *rule = Rule::Cut(left - bytes.len());
                Step::all(bytes)
            }
            Rule::Cut(left) => Step {
                pass: &bytes[..left],
                then: None,
                rest: None,
            },
            Rule::BeforeExec(act) => {
                let found = bytes.windows(EXEC.len()).position(|window| window == EXEC);
                if let Some(at) = found {
                    Step {
                        pass: &bytes[..at],
                        then: Some(act),
                        rest: Some(&bytes[at..]),
                    }
                } else {
                    *rule = Rule::BeforeExec(act);
                    Step::all(bytes)
                }
            }
        }
    }
}

fn pass(from: &TcpStream, to: &TcpStream, step: impl for<'a> Fn(&'a [u8]) -> Step<'a>) {
    let (mut reader, mut writer) = (from, to);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        let step = step(&buffer[..read]);
        if writer.write_all(step.pass).is_err() {
            break;
        }
        if let Some(act) = step.then {
            // What was passed on has arrived by then.
            thread::sleep(Duration::from_millis(100));
            act();
        }
        match step.rest {
            Some(rest) if writer.write_all(rest).is_ok() => {}
            _ => break,
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
