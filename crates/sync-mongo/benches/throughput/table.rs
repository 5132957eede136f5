use std::time::Duration;

use sync_bench::{Ratios, median};

/// What the pairs measured, and the medians beside their targets.
pub(crate) struct Table {
    pub(crate) ratios: Ratios,
    bytes: Vec<f64>,
    keys: Option<(usize, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            ratios: Ratios::new("insert_many", rows),
            bytes: Vec::new(),
            keys: None,
        }
    }

    pub(crate) fn bytes(&mut self, bytes: f64) {
        self.bytes.push(bytes);
    }

    pub(crate) fn keys(&mut self, rows: usize, times: Vec<Duration>) {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        self.keys = Some((rows, times.iter().map(millis).collect()));
    }

    pub(crate) fn print(self) {
        self.ratios.print();
        let bytes = median(self.bytes);
        println!("\non disk, indexes included: {bytes:.0} bytes per operation");
        if let Some((rows, millis)) = self.keys {
            let millis = median(millis);
            println!("scan_keys, {rows} keys: {millis:.0} ms (target: 1200 for 1000000)");
        }
    }
}
