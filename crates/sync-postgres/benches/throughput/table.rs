use std::collections::BTreeMap;

/// What the pairs measured, and the medians beside their targets.
#[derive(Default)]
pub(crate) struct Table {
    rates: BTreeMap<usize, Vec<(f64, f64)>>,
    ratios: BTreeMap<String, (f64, Vec<f64>)>,
    keys: Vec<f64>,
    reads: BTreeMap<&'static str, Vec<f64>>,
    bytes: Option<i64>,
}

impl Table {
    pub(crate) fn rates(&mut self, page: usize, raw: f64, ours: f64) {
        self.rates.entry(page).or_default().push((raw, ours));
    }

    pub(crate) fn bytes(&mut self, bytes: i64) {
        self.bytes = Some(bytes);
    }

    pub(crate) fn ratio(&mut self, name: &str, ratio: f64, target: f64) {
        self.ratios
            .entry(name.to_owned())
            .or_insert_with(|| (target, Vec::new()))
            .1
            .push(ratio);
    }

    pub(crate) fn keys(&mut self, millis: f64) {
        self.keys.push(millis);
    }

    pub(crate) fn read(&mut self, name: &'static str, millis: f64) {
        self.reads.entry(name).or_default().push(millis);
    }

    pub(crate) fn print(self) {
        for (page, rates) in self.rates {
            let (raw, ours): (Vec<_>, Vec<_>) = rates
                .iter()
                .map(|(raw, ours)| (format!("{raw:.0}"), format!("{ours:.0}")))
                .unzip();
            println!("the loop, pages of {page}: {} rows/s", raw.join(", "));
            println!("ours,     pages of {page}: {} rows/s", ours.join(", "));
        }
        println!(
            "\n{:<28} {:>8} {:>8}   pairs",
            "ours / the loop's insert", "median", "target"
        );
        for (name, (target, ratios)) in self.ratios {
            let pairs: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let median = median(ratios);
            let verdict = if median >= target { "" } else { "  BELOW" };
            println!(
                "{name:<28} {median:>8.2} {target:>8.2}   {}{verdict}",
                pairs.join(" ")
            );
        }
        println!("\nscan_keys, 25,000 keys: {:.2} ms", median(self.keys));
        for (name, millis) in self.reads {
            println!("{name}: {:.2} ms", median(millis));
        }
        if let Some(bytes) = self.bytes {
            println!("{bytes} bytes of table and indexes for each operation");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
