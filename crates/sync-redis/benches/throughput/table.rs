use std::collections::BTreeMap;

use sync_bench::{Ratios, median};

/// Processor time of ours and of the driver, each as that of the client and of the server.
type Both = ([f64; 2], [f64; 2]);

/// What the pairs measured, and the medians beside their targets.
pub(crate) struct Table {
    pub(crate) ratios: Ratios,
    keys: Vec<f64>,
    bytes: BTreeMap<&'static str, Vec<f64>>,
    cpu: BTreeMap<usize, Vec<Both>>,
    reads: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            ratios: Ratios::new("the pipeline", rows),
            keys: Vec::new(),
            bytes: BTreeMap::new(),
            cpu: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    pub(crate) fn keys(&mut self, millis: f64) {
        self.keys.push(millis);
    }

    pub(crate) fn cpu(&mut self, page: usize, ours: [f64; 2], raw: [f64; 2]) {
        self.cpu.entry(page).or_default().push((ours, raw));
    }

    pub(crate) fn bytes(&mut self, who: &'static str, each: f64) {
        self.bytes.entry(who).or_default().push(each);
    }

    pub(crate) fn read(&mut self, name: &'static str, ours: f64, raw: f64) {
        let (all_ours, all_raw) = self.reads.entry(name).or_default();
        all_ours.push(ours);
        all_raw.push(raw);
    }

    pub(crate) fn print(self, keys: usize) {
        self.ratios.print();
        println!("\nprocessor time of an insert, µs: this process + the server");
        for (page, runs) in self.cpu {
            for ([ours, its_server], [raw, raw_server]) in runs {
                let ratio = (raw + raw_server) / (ours + its_server);
                println!(
                    "pages of {page:<5} ours {ours:.2} + {its_server:.2}   \
                     the pipeline {raw:.2} + {raw_server:.2}   ratio {ratio:.2}"
                );
            }
        }
        let millis = median(self.keys);
        println!("\nscan_keys, {keys} keys: {millis:.0} ms (target for 1,000,000: 400)");
        for (who, each) in self.bytes {
            println!("memory, {who}: {:.0} bytes an operation", median(each));
        }
        println!("\n{:<28} {:>8} {:>8}", "warm read, ms", "ours", "driver");
        for (name, (ours, raw)) in self.reads {
            println!("{name:<28} {:>8.2} {:>8.2}", median(ours), median(raw));
        }
    }
}
