/// Notices cursors that come round again, however long the round is, with one of them in memory:
/// Brent's way, which compares each with the one that came at the last power of two.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    mark: Option<String>,
    since: u64,
    power: u64,
}

impl Round {
    /// Takes the next cursor, and answers whether it was there before. A round of n cursors is
    /// noticed before its cursors have come four times.
    pub(super) fn comes_again(&mut self, cursor: &str) -> bool {
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
    fn a_round_of_any_length_is_noticed_wherever_it_begins() {
        for (before, length) in [(0, 1), (0, 2), (3, 1), (5, 7), (100, 64), (1, 1000)] {
            let mut round = Round::default();
            let cursor = |n: usize| {
                if n < before {
                    n
                } else {
                    before + (n - before) % length
                }
            };
            let noticed = (0..100_000).find(|n| round.comes_again(&cursor(*n).to_string()));
            let noticed = noticed.unwrap_or(usize::MAX);
            assert!(noticed >= before + length, "{before}, {length}: {noticed}");
            assert!(
                noticed <= 4 * (before + length),
                "{before}, {length}: {noticed}"
            );
        }
    }

    #[test]
    fn cursors_that_differ_are_no_round() {
        let mut round = Round::default();
        assert!((0..10_000).all(|n| !round.comes_again(&n.to_string())));
    }
}
