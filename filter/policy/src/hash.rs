//! Units to slots.
//!
//! `slot = (xxh64(unit, seed = xxh64(salt, 0)) >> 32) * 10000 >> 32`. xxHash64 has a written
//! specification and implementations in every language, so anyone can compute a user's slot; the
//! seed decorrelates releases; multiply-shift keeps shares exact where `%` would not. Taking the
//! upper 32 bits avoids a 128-bit multiply, at a bias below 10,000 / 2^32 (2.4e-6).

use xxhash_rust::xxh64::xxh64;

/// Number of slots; weights are in 1/10,000.
pub const SLOTS: u32 = 10_000;

/// The seed that a salt stands for. Computed once per config.
pub fn seed_of(salt: &str) -> u64 {
    xxh64(salt.as_bytes(), 0)
}

/// The slot of a unit, 0 to 9,999, for an attempt's salt.
pub fn slot_of(unit: &[u8], salt: &str) -> u16 {
    slot_with_seed(unit, seed_of(salt))
}

/// The slot of a unit for a seed from [`seed_of`].
pub fn slot_with_seed(unit: &[u8], seed: u64) -> u16 {
    spread(xxh64(unit, seed))
}

/// Scales a uniform 64-bit value to a slot.
pub fn spread(uniform: u64) -> u16 {
    // The product is below 10,000 * 2^32, so the shifted value is below 10,000.
    (((uniform >> 32) * u64::from(SLOTS)) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_what_any_xxhash64_computes() {
        // From PyPI's xxhash: (xxh64_intdigest(unit, xxh64_intdigest(salt, 0)) >> 32) * 10000 >> 32.
        let computed_elsewhere: [(&[u8], &str, u16); 5] = [
            (b"7", "shop/summer#1", 5_155),
            (b"alice@example.com", "shop/summer#1", 6_964),
            (b"user-1", "s", 9_849),
            (b"user-2", "s", 7_633),
            (b"", "", 6_341),
        ];
        for (unit, salt, slot) in computed_elsewhere {
            assert_eq!(slot_of(unit, salt), slot, "{salt}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_slots() {
        assert_eq!(spread(0), 0);
        assert_eq!(spread(u64::MAX), 9_999);
    }
}
