use std::collections::BTreeMap;

pub(crate) struct ColdRead {
    pub(crate) name: &'static str,
    pub(crate) millis: f64,
}

/// What the pairs measured, and the medians beside their targets.
#[derive(Default)]
pub(crate) struct Table {
    raw: BTreeMap<usize, Vec<f64>>,
    ratios: BTreeMap<String, (f64, Vec<f64>)>,
    keys: Vec<f64>,
    cold: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>,
}

impl Table {
    pub(crate) fn raw_insert(&mut self, page: usize, rate: f64) {
        self.raw.entry(page).or_default().push(rate);
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

    pub(crate) fn cold_read(&mut self, name: &'static str, ours: f64, raw: f64) {
        let (all_ours, all_raw) = self.cold.entry(name).or_default();
        all_ours.push(ours);
        all_raw.push(raw);
    }

    pub(crate) fn print(self) {
        for (page, rates) in self.raw {
            let pairs: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
            println!("the loop, pages of {page}: {} rows/s", pairs.join(", "));
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
