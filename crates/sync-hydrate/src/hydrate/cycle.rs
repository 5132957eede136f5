/// Detects a snapshot whose cursors repeat, with one cursor in memory, by Brent's algorithm: each cursor
/// is compared with the one that came at the last power of two.
#[derive(Clone, Debug, Default)]
pub(super) struct CycleDetector {
    mark: Option<String>,
    since: u64,
    power: u64,
}

impl CycleDetector {
    /// Takes the next cursor, and answers whether the cursors repeat. A cycle of n cursors is detected
    /// before it has come four times.
    pub(super) fn repeats(&mut self, cursor: &str) -> bool {
        if self.mark.as_deref() == Some(cursor) {
            return true;
        }
        self.since += 1;
        if self.since >= self.power {
            self.mark = Some(cursor.to_owned());
            self.power = self.power.saturating_mul(2).max(1);
            self.since = 0;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_of_any_length_is_detected_wherever_it_begins() {
        for (before, length) in [(0, 1), (0, 2), (3, 1), (5, 7), (100, 64), (1, 1000)] {
            let mut cycle = CycleDetector::default();
            let cursor = |n: usize| {
                if n < before {
                    n
                } else {
                    before + (n - before) % length
                }
            };
            let noticed = (0..100_000).find(|n| cycle.repeats(&cursor(*n).to_string()));
            let noticed = noticed.unwrap_or(usize::MAX);
            assert!(noticed >= before + length, "{before}, {length}: {noticed}");
            assert!(
                noticed <= 4 * (before + length),
                "{before}, {length}: {noticed}"
            );
        }
    }

    #[test]
    fn cursors_that_differ_are_no_cycle() {
        let mut cycle = CycleDetector::default();
        assert!((0..10_000).all(|n| !cycle.repeats(&n.to_string())));
    }
}
