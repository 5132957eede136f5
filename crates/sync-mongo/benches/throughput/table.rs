use std::collections::BTreeMap;
use std::time::Duration;

/// What the pairs measured, and the medians beside their targets.
#[derive(Default)]
pub(crate) struct Table {
    raw: BTreeMap<usize, Vec<f64>>,
    ratios: BTreeMap<String, (Option<f64>, Vec<f64>)>,
    bytes: Vec<f64>,
    keys: Option<(usize, Vec<f64>)>,
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

    pub(crate) fn bytes(&mut self, bytes: f64) {
        self.bytes.push(bytes);
    }

    pub(crate) fn keys(&mut self, rows: usize, times: Vec<Duration>) {
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        self.keys = Some((rows, times.iter().map(millis).collect()));
    }

    pub(crate) fn print(self) {
        for (page, rates) in self.raw {
            let pairs: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
            println!("insert_many, pages of {page}: {} rows/s", pairs.join(", "));
        }
        println!(
            "\n{:<28} {:>8} {:>8}   pairs",
            "ours / insert_many", "median", "target"
        );
        for (name, (target, ratios)) in self.ratios {
            let pairs: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let median = median(ratios);
            let verdict = match target {
                Some(target) if median < target => "  BELOW",
                _ => "",
            };
            let target = target.map_or_else(String::new, |target| format!("{target:.2}"));
            println!(
                "{name:<28} {median:>8.2} {target:>8}   {}{verdict}",
                pairs.join(" ")
            );
        }
        let bytes = median(self.bytes);
        println!("\non disk, indexes included: {bytes:.0} bytes per operation");
        if let Some((rows, millis)) = self.keys {
            let millis = median(millis);
            println!("scan_keys, {rows} keys: {millis:.0} ms (target: 1200 for 1000000)");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
