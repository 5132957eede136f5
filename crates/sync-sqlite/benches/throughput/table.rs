use std::collections::BTreeMap;

use sync_bench::{Ratios, median};

/// What the pairs measured, and the medians beside their targets.
pub(crate) struct Table {
    pub(crate) ratios: Ratios,
    keys: Vec<f64>,
    cold: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            ratios: Ratios::new("the loop", rows),
            keys: Vec::new(),
            cold: BTreeMap::new(),
        }
    }

    pub(crate) fn keys(&mut self, millis: f64) {
        self.keys.push(millis);
    }

    pub(crate) fn cold_read(&mut self, name: &'static str, ours: f64, raw: f64) {
        let (all_ours, all_raw) = self.cold.entry(name).or_default();
        all_ours.push(ours);
        all_raw.push(raw);
    }

    pub(crate) fn print(self) {
        self.ratios.print();
        let keys = median(self.keys);
        println!("\nscan_keys, 25,000 keys: {keys:.2} ms (target: under 5)");
        println!(
            "\n{:<28} {:>8} {:>8}",
            "cold second handle, ms", "ours", "loop"
        );
        for (name, (ours, raw)) in self.cold {
            println!("{name:<28} {:>8.2} {:>8.2}", median(ours), median(raw));
        }
    }
}
