//! The digest of a token's output: what nodes report instead of values, and what references are compared by.

use twox_hash::XxHash3_64;

/// XXH3-64 (seed 0) of the values' little-endian bytes, in order. An empty row of a payload-free run has the digest of no bytes.
#[must_use]
pub fn token_digest(values: &[f32]) -> u64 {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    XxHash3_64::oneshot(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_xxh3_of_the_bytes_and_sees_one_flipped_bit() {
        // The published XXH3-64 of the empty input with seed 0.
        assert_eq!(token_digest(&[]), 0x2d06_8005_38d3_94c2);
        assert_eq!(token_digest(&[1.0, -2.5]), XxHash3_64::oneshot(&[0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]));
        assert_ne!(token_digest(&[0.0]), token_digest(&[-0.0]));
        assert_ne!(token_digest(&[1.0, 2.0]), token_digest(&[2.0, 1.0]));
    }
}
