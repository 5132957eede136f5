use std::collections::BTreeMap;

use sync_bench::{Ratios, median};

/// What the pairs measured, and the medians beside their targets.
pub(crate) struct Table {
    pub(crate) ratios: Ratios,
    keys: Vec<f64>,
    reads: BTreeMap<&'static str, Vec<f64>>,
    bytes: Option<i64>,
}

impl Table {
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            ratios: Ratios::new("the loop", rows),
            keys: Vec::new(),
            reads: BTreeMap::new(),
            bytes: None,
        }
    }

    pub(crate) fn bytes(&mut self, bytes: i64) {
        self.bytes = Some(bytes);
    }

    pub(crate) fn keys(&mut self, millis: f64) {
        self.keys.push(millis);
    }

    pub(crate) fn read(&mut self, name: &'static str, millis: f64) {
        self.reads.entry(name).or_default().push(millis);
    }

    pub(crate) fn print(self) {
        self.ratios.print();
        println!("\nscan_keys, 25,000 keys: {:.2} ms", median(self.keys));
        for (name, millis) in self.reads {
            println!("{name}: {:.2} ms", median(millis));
        }
        if let Some(bytes) = self.bytes {
            println!("{bytes} bytes of table and indexes for each operation");
        }
    }
}
