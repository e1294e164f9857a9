//! One rate against an objective, and what is known of a rate.

use super::arm::{Arm, real};
use super::nats::Nats;
use crate::plan::{Objective, Plan};

/// Rates above the allowed one that are bet on, as its multiples.
pub const WORSE: [f64; 4] = [1.5, 2.0, 5.0, 20.0];
/// Rates below the allowed one that are bet on, as its multiples.
pub const BETTER: [f64; 5] = [0.01, 0.1, 0.3, 0.5, 0.7];

/// A step of the e-process against "the rate is at least what is allowed": promotion is a test too
/// (C2 (3)), and too little traffic never passes.
pub fn step_better(logs: &mut [Nats; BETTER.len()], arm: Arm, allowed: f64) {
    for (log, multiple) in logs.iter_mut().zip(BETTER) {
        *log = log.plus(ratio(arm, allowed, allowed * multiple));
    }
}

/// Logarithm of the likelihood ratio of two rates.
pub(super) fn ratio(arm: Arm, null: f64, other: f64) -> f64 {
    real(arm.bad) * f64::ln(other / null) + real(arm.good()) * f64::ln((1.0 - other) / (1.0 - null))
}

/// How many requests [`step_better`] needs on average at a rate, at `alpha`; infinite at or above what
/// is allowed. Wald: `ln(1/alpha) / KL(rate, allowed)`, plus the price of the mixture.
pub fn needed(rate: f64, allowed: f64, alpha: f64) -> f64 {
    if rate >= allowed {
        return f64::INFINITY;
    }
    let gain = |other: f64| {
        let bad = if rate > 0.0 { rate * f64::ln(other / allowed) } else { 0.0 };
        bad + (1.0 - rate) * f64::ln((1.0 - other) / (1.0 - allowed))
    };
    let best = BETTER.iter().map(|multiple| gain(allowed * multiple)).fold(f64::NEG_INFINITY, f64::max);
    if best <= 0.0 { f64::INFINITY } else { (f64::ln(1.0 / alpha) + f64::ln(5.0)) / best }
}

/// How many requests of the lane the test for relative harm needs on average, at the lane's and
/// stable's rates and the lane's share of the traffic; infinite when there is no harm above the margin.
pub fn needed_harm(lane: f64, stable: f64, share: f64, plan: &Plan, objective: &Objective) -> f64 {
    let m = |ratio: f64| 1.0 - share + share * ratio;
    let gain = |ratio: f64| {
        let all = lane + stable * (1.0 - share) / share;
        lane * f64::ln(ratio / plan.margin) - all * f64::ln(m(ratio) / m(plan.margin))
    };
    let ratios = super::RATIOS.iter().filter(|ratio| **ratio > plan.margin);
    let best = ratios.clone().map(|ratio| gain(*ratio)).fold(0.0, f64::max);
    let needed = super::family::needed(plan, objective) - super::trial::HARM.ln();
    let limit = needed + f64::ln(real(super::RATIOS.len() as u64));
    if best <= 0.0 { f64::INFINITY } else { limit / best }
}

/// Whether a rate is above what is allowed, at all times at once with probability `1 - alpha`.
pub fn is_above(arm: Arm, allowed: f64, dispersion: f64, alpha: f64) -> bool {
    is_rate_above(arm.rate(), real(arm.n), allowed, dispersion, alpha)
}

/// The same for a rate that was measured on `n` requests.
pub fn is_rate_above(rate: f64, n: f64, allowed: f64, dispersion: f64, alpha: f64) -> bool {
    let n = n / dispersion.max(1.0);
    n > 0.0 && rate > allowed && mixture(n, rate.min(1.0) * n)(allowed) >= f64::ln(1.0 / alpha)
}

/// A confidence sequence for a rate: with probability `1 - alpha` it holds the true rate at all times
/// at once. Beta-binomial mixture with a Beta(1/2, 1/2) prior (Robbins 1970; Howard, Ramdas, McAuliffe,
/// Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021). Counts are
/// divided by the dispersion.
pub fn interval(arm: Arm, dispersion: f64, alpha: f64) -> (f64, f64) {
    interval_at(arm.rate(), real(arm.n), dispersion, alpha)
}

/// The same for a rate that was measured on `n` requests.
pub fn interval_at(rate: f64, n: f64, dispersion: f64, alpha: f64) -> (f64, f64) {
    let n = n / dispersion.max(1.0);
    if n <= 0.0 || rate.is_nan() {
        return (0.0, 1.0);
    }
    let rate = rate.clamp(0.0, 1.0);
    let bad = rate * n;
    let limit = f64::ln(1.0 / alpha);
    let mixture = mixture(n, bad);
    let beyond = |p: f64| mixture(p) >= limit;
    (if bad > 0.0 { bisect(0.0, rate, &beyond) } else { 0.0 }, if bad < n { bisect(1.0, rate, &beyond) } else { 1.0 })
}

/// The border between `out`, which is beyond the limit, and `inside`, which is not.
fn bisect(mut out: f64, mut inside: f64, beyond: &impl Fn(f64) -> bool) -> f64 {
    for _ in 0..40 {
        let middle = out.midpoint(inside);
        if beyond(middle) { out = middle } else { inside = middle }
    }
    out
}

/// Logarithm of the mixture's likelihood ratio against a rate.
fn mixture(n: f64, bad: f64) -> impl Fn(f64) -> f64 {
    let log_beta = |a: f64, b: f64| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    let mixed = log_beta(bad + 0.5, n - bad + 0.5) - log_beta(0.5, 0.5);
    move |p| {
        let bad_at = if bad > 0.0 { bad * p.ln() } else { 0.0 };
        let good_at = if n > bad { (n - bad) * (-p).ln_1p() } else { 0.0 };
        mixed - bad_at - good_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_rate_and_shrinks() {
        let (low, high) = interval(Arm::new(100, 2), 1.0, 0.05);
        assert!(low < 0.02 && 0.02 < high, "{low} {high}");
        let (lower, higher) = interval(Arm::new(10_000, 200), 1.0, 0.05);
        assert!(low < lower && higher < high && lower < 0.02 && 0.02 < higher);
        assert_eq!(interval(Arm::default(), 1.0, 0.05), (0.0, 1.0));
        let (_, all) = interval(Arm::new(10, 10), 1.0, 0.05);
        assert!((all - 1.0).abs() < 1e-9);
    }

    #[test]
    fn too_little_traffic_does_not_pass() {
        let mut logs = [Nats::default(); BETTER.len()];
        step_better(&mut logs, Arm::new(500, 0), 0.01);
        assert!(super::super::nats::log_mean_exp(&logs, 1.0) < f64::ln(1000.0));
        step_better(&mut logs, Arm::new(600, 0), 0.01);
        assert!(super::super::nats::log_mean_exp(&logs, 1.0) > f64::ln(1000.0));
    }

    #[test]
    fn what_promotion_needs_is_about_walds_number() {
        let needed = |rate| needed(rate, 0.01, 0.001);
        assert!((700.0..1100.0).contains(&needed(0.0)), "{}", needed(0.0));
        assert!((900.0..1500.0).contains(&needed(0.001)), "{}", needed(0.001));
        assert!(needed(0.01).is_infinite());
    }
}
