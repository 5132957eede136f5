//! What generated operations say.

use crate::operation::date;

/// 2024-02-01, in milliseconds.
const BEGINNING: u64 = 1_706_745_600_000;
/// Milliseconds between two operations.
const STEP: u64 = 20_000;
/// How much earlier than its neighbours a late operation is dated, in milliseconds.
const LATE: u64 = 30 * 86_400_000;

/// Everything random about one operation, which only depends on the seed and the operation's
/// number, so that the operation can be made again.
pub(super) struct Draw {
    random: fastrand::Rng,
    /// When it was signed, in milliseconds.
    time: u64,
}

impl Draw {
    pub(super) fn new(seed: u64, number: u32, late: u16) -> Self {
        // Neighbouring seeds have to differ in more than their last bits.
        let number = u64::from(number);
        let mut random =
            fastrand::Rng::with_seed(seed ^ (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let time = BEGINNING + number * STEP + random.u64(..STEP);
        let back = random.u64(..LATE);
        let time = if random.u16(..1000) < late {
            time.saturating_sub(back).max(BEGINNING)
        } else {
            time
        };
        Self { random, time }
    }

    pub(super) fn signed(&self) -> String {
        date(self.time)
    }

    /// Where the event says that it was seen: registry, ordinal, and whether it names its content
    /// id.
    pub(super) fn place(&mut self) -> (&'static str, String, bool) {
        if self.random.bool() {
            ("local", "[0]".to_owned(), false)
        } else {
            let index = self.random.u8(..100);
            ("hyperswarm", format!("[{},{index}]", self.time), true)
        }
    }

    /// A little earlier: clients make an operation before they sign it.
    pub(super) fn created(&mut self) -> String {
        date(self.time - self.random.u64(..60_000))
    }

    pub(super) fn registry(&mut self, local: bool) -> &'static str {
        match self.random.u8(..4) {
            _ if local => "local",
            0 => "TBTC",
            _ => "hyperswarm",
        }
    }

    /// A JSON object, mostly plain, sometimes with values that are hard to canonicalise.
    pub(super) fn data(&mut self) -> String {
        let filler = "x".repeat(self.random.usize(..400));
        let n = self.random.u32(..1_000_000);
        if self.random.u8(..8) > 0 {
            return format!(r#"{{"kind":"credential","n":{n},"text":"{filler}"}}"#);
        }
        let random = &mut self.random;
        let text = pick(
            random,
            &[
                "quote \\\" and \\\\",
                "\\u0000\\u001f\\n",
                "é €\u{fb33} 😀",
                "\\/",
            ],
        );
        let number = pick(
            random,
            &[
                "0",
                "-0",
                "-1.5",
                "1e+21",
                "1e-7",
                "5e-324",
                "333333333.33333329",
            ],
        );
        let whole = random.u64(..1 << 53);
        let index = random.u8(..);
        format!(
            r#"{{"text":"{text}","😀":1,"\ufb33":2,"{index}":"an index","number":{number},"whole":{whole},"list":[true,null,[],{{}}],"n":{n},"filler":"{filler}"}}"#
        )
    }
}

fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    random.choice(from).copied().unwrap_or_default()
}
