//! Relative harm: is the lane worse than stable in the same interval?

use super::arm::{Pair, real};
use super::nats::Nats;

/// Risk ratios that are bet on, in equal parts.
pub const RATIOS: [f64; 4] = [2.5, 8.0, 30.0, 150.0];

/// The same where any excess counts: beside an objective that is broken.
pub const ANY: [f64; 3] = [1.5, 3.0, 12.0];

/// One interval's step of the e-process against "the lane's risk is at most `margin` times stable's".
///
/// With rho the lane's share of requests and m(x) = 1 - rho + rho x, the bet on ratio r gains
/// `s_c ln(r / margin) + (s_c + s_b) ln(m(margin) / m(r))`. Given any rates with p_c <= margin p_b its
/// exponential has expectation at most 1: conditioned on a failure, the lane's odds to be its place
/// are at most rho margin / m(margin) (`performance-reliability.md` C2 (1) and (4); Lindon and Malek,
/// "Anytime-valid inference for multinomial count data", arXiv 2011.03567). So it holds for rates and
/// weights that drift from interval to interval, and an outage that hits both sides moves nothing.
///
/// A step is cut at `cap` from above, which can only lower the expectation: one burst, however large,
/// is one piece of evidence.
pub fn step<const N: usize>(harm: &mut [Nats; N], ratios: [f64; N], pair: &Pair, margin: f64, cap: f64) {
    let (lane, stable) = (pair.lane, pair.stable);
    if lane.n == 0 || stable.n == 0 {
        return;
    }
    let rho = real(lane.n) / real(lane.n + stable.n);
    let m = |ratio: f64| 1.0 - rho + rho * ratio;
    for (log, ratio) in harm.iter_mut().zip(ratios) {
        let ratio = ratio.max(margin);
        let gain = real(lane.bad) * f64::ln(ratio / margin);
        let cost = real(lane.bad + stable.bad) * f64::ln(m(ratio) / m(margin));
        *log = log.plus((gain - cost).min(cap));
    }
}
