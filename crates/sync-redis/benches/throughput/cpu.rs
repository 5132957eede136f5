//! Processor time, which a busy machine changes less than the time on the wall.

use std::fs;

use sync_redis::redis::{Client, Connection, cmd};

/// The time that this process and the server have used.
pub(crate) struct Cpu(Connection);

impl Cpu {
    pub(crate) fn of(url: &str) -> Self {
        Self(Client::open(url).unwrap().get_connection().unwrap())
    }

    /// Seconds of this process, and of the server.
    pub(crate) fn used(&mut self) -> [f64; 2] {
        let info: String = cmd("INFO").arg("cpu").query(&mut self.0).unwrap();
        let field = |name: &str| -> f64 {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().parse().unwrap()
        };
        let server = field("used_cpu_user:") + field("used_cpu_sys:");
        // In hundredths of a second, behind the name, which may hold anything.
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .map(|n| n.parse::<f64>().unwrap())
            .sum();
        [ticks / 100.0, server]
    }

    /// Microseconds of this process and of the server for each of `operations` that `work` does.
    pub(crate) fn each(&mut self, operations: usize, work: impl FnOnce()) -> [f64; 2] {
        let before = self.used();
        work();
        let after = self.used();
        [0, 1].map(|who: usize| (after[who] - before[who]) * 1e6 / operations as f64)
    }
}
