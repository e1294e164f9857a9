//! How far a share that was drawn may lie from the true one.

/// Standard deviations of a two-sided bound that holds in 99.9% of all draws.
const Z: f64 = 3.290_5;

/// The bound of Wilson's score interval (1927) around `hits` of `draws`: a true share outside of it
/// would show such a count less than once in a thousand times.
pub fn bound(hits: u64, draws: u64) -> (f64, f64) {
    let (hits, draws) = (hits as f64, draws as f64);
    if draws == 0.0 {
        return (0.0, 1.0);
    }
    let share = hits / draws;
    let scale = 1.0 + Z * Z / draws;
    let middle = (share + Z * Z / (2.0 * draws)) / scale;
    let half = Z / scale * (share * (1.0 - share) / draws + Z * Z / (4.0 * draws * draws)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::bound;

    #[test]
    fn the_bound_is_wilsons() {
        // Computed with statsmodels 0.14: proportion_confint(100, 2000, alpha=0.001, method="wilson").
        let (low, high) = bound(100, 2000);
        assert!((low - 0.036_3).abs() < 5e-4 && (high - 0.068_5).abs() < 5e-4, "{low} {high}");
        assert_eq!(bound(0, 0), (0.0, 1.0));
        assert!(bound(0, 1000).0 < 1e-12 && bound(1000, 1000).1 > 0.999_999);
    }
}
