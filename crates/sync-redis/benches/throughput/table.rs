use std::collections::BTreeMap;

/// Processor time of ours and of the driver, each as that of the client and of the server.
type Both = ([f64; 2], [f64; 2]);

pub(crate) struct Read {
    pub(crate) name: &'static str,
    pub(crate) millis: f64,
}

/// What the pairs measured, and the medians beside their targets.
#[derive(Default)]
pub(crate) struct Table {
    raw: BTreeMap<usize, Vec<f64>>,
    ratios: BTreeMap<String, (Option<f64>, Vec<f64>)>,
    keys: Vec<f64>,
    bytes: BTreeMap<&'static str, Vec<f64>>,
    cpu: BTreeMap<usize, Vec<Both>>,
    reads: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>,
}

impl Table {
    pub(crate) fn raw_insert(&mut self, page: usize, rate: f64) {
        self.raw.entry(page).or_default().push(rate);
    }

    pub(crate) fn ratio(&mut self, name: &str, ratio: f64, target: Option<f64>) {
        self.ratios
            .entry(name.to_owned())
            .or_insert_with(|| (target, Vec::new()))
            .1
            .push(ratio);
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
        for (page, rates) in self.raw {
            let pairs: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
            println!("the pipeline, pages of {page}: {} rows/s", pairs.join(", "));
        }
        println!(
            "\n{:<28} {:>8} {:>8}   pairs",
            "ours / the pipeline's insert", "median", "target"
        );
        for (name, (target, ratios)) in self.ratios {
            let pairs: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let median = median(ratios);
            let below = target.is_some_and(|target| median < target);
            let target = target.map_or_else(String::new, |target| format!("{target:.2}"));
            println!(
                "{name:<28} {median:>8.2} {target:>8}   {}{}",
                pairs.join(" "),
                if below { "  BELOW" } else { "" }
            );
        }
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
