//! Shares with their bounds, and medians.

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
}

// === impl Share ===

impl Share {
    /// Counts what fits.
    pub fn of<T>(all: impl IntoIterator<Item = T>, fits: impl Fn(&T) -> bool) -> Self {
        let mut share = Self::default();
        for one in all {
            share.of += 1;
            share.count += u64::from(fits(&one));
        }
        share
    }

    /// The share; 0 of none.
    pub fn value(self) -> f64 {
        if self.of == 0 { 0.0 } else { real(self.count) / real(self.of) }
    }

    /// Upper end of the one-sided 95% interval (Clopper and Pearson 1934).
    pub fn upper(self) -> f64 {
        if self.count >= self.of {
            return 1.0;
        }
        let (mut low, mut high) = (self.value(), 1.0_f64);
        for _ in 0..60 {
            let middle = low.midpoint(high);
            if self.at_most(middle) > 0.05 { low = middle } else { high = middle }
        }
        high
    }

    /// Lower end of the one-sided 95% interval.
    pub fn lower(self) -> f64 {
        1.0 - Self { count: self.of - self.count.min(self.of), of: self.of }.upper()
    }

    /// Chance of at most `count` at a rate.
    fn at_most(self, rate: f64) -> f64 {
        let (n, log_p, log_q) = (real(self.of), rate.ln(), (-rate).ln_1p());
        let term = |k: f64| {
            libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0) + k * log_p + (n - k) * log_q
        };
        (0..=self.count).map(|k| term(real(k)).exp()).sum()
    }
}

/// Median and another percentile; nothing of nothing.
pub fn quantiles(mut times: Vec<f64>, percent: usize) -> Option<(f64, f64)> {
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len().saturating_sub(1) * part / 100).copied();
    at(50).zip(at(percent))
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts")]
pub fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_tables() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-4;
        assert!(close(Share { count: 0, of: 3_000 }.upper(), 0.000_998), "the rule of three");
        assert!(close(Share { count: 5, of: 100 }.upper(), 0.102_253));
        assert!(close(Share { count: 99, of: 100 }.lower(), 0.953_440));
        assert_eq!(Share { count: 4, of: 4 }.upper(), 1.0);
    }
}
