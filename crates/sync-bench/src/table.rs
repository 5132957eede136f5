use std::collections::BTreeMap;
use std::time::Duration;

/// What the pairs measured: the driver's own rate, and the store's in multiples of it, with the medians
/// beside their targets.
#[derive(Debug)]
pub struct Ratios {
    driver: &'static str,
    rows: usize,
    raw: BTreeMap<usize, Vec<f64>>,
    medians: BTreeMap<String, (Option<f64>, Vec<f64>)>,
}

impl Ratios {
    /// Of a log with so many operations, against what is called `driver`.
    pub fn new(driver: &'static str, rows: usize) -> Self {
        Self {
            driver,
            rows,
            raw: BTreeMap::new(),
            medians: BTreeMap::new(),
        }
    }

    /// What one pair took with pages of this size: the driver for the log, and the store for each of
    /// these, with its target where it has one.
    pub fn add(
        &mut self,
        page: usize,
        raw: Duration,
        ours: impl IntoIterator<Item = (&'static str, Duration, Option<f64>)>,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "figures have three digits")]
        let rate = self.rows as f64 / raw.as_secs_f64();
        self.raw.entry(page).or_default().push(rate);
        for (what, time, target) in ours {
            let name = format!("{what}, pages of {page}");
            let (_, ratios) = self
                .medians
                .entry(name)
                .or_insert_with(|| (target, Vec::new()));
            ratios.push(raw.as_secs_f64() / time.as_secs_f64());
        }
    }

    /// Prints both.
    pub fn print(self) {
        let driver = self.driver;
        for (page, rates) in self.raw {
            let pairs: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
            println!("{driver}, pages of {page}: {} rows/s", pairs.join(", "));
        }
        let head = format!("ours / {driver}'s insert");
        println!("\n{head:<28} {:>8} {:>8}   pairs", "median", "target");
        for (name, (target, ratios)) in self.medians {
            let pairs: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
            let median = median(ratios);
            let verdict = match target {
                Some(target) if median < target => "  BELOW",
                _ => "",
            };
            let target = target.map_or_else(String::new, |target| format!("{target:.2}"));
            let pairs = pairs.join(" ");
            println!("{name:<28} {median:>8.2} {target:>8}   {pairs}{verdict}");
        }
    }
}

/// The middle one of the values, of an even number the higher one of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
