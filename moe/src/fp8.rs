//! The e4m3fn number format: one sign, four exponent (bias 7) and three mantissa bits, no infinities.
//!
//! Codes 0x7f and 0xff are NaN, the largest value is 448 (0x7e), subnormals are multiples of 2^-9. Encoding works on
//! the bits of the f32, without branches, so that the compiler can vectorise it.

/// The largest finite e4m3fn value.
pub(crate) const MAX: f32 = 448.0;

const NAN_CODE: u32 = 0x7f;
const ABS_MASK: u32 = 0x7fff_ffff;
const INFINITY_BITS: u32 = 0x7f80_0000;

/// The value of every code.
pub(crate) static DECODED: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode(code as u32);
        code += 1;
    }
    table
};

/// The scale of one block: its largest finite magnitude over 448, or 1 where that is not a normal f32.
pub(crate) fn block_scale(block: &[f32]) -> f32 {
    let larger = |amax: f32, x: f32| {
        let abs = if x.abs() < f32::INFINITY { x.abs() } else { 0.0 };
        if abs > amax { abs } else { amax }
    };
    // Independent lanes, because the compiler may not reorder a chain of float comparisons into vectors.
    let (groups, rest) = block.as_chunks::<16>();
    let mut lanes = [0.0; 16];
    for group in groups {
        for (lane, &x) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, x);
        }
    }
    let amax = lanes.iter().chain(rest).fold(0.0, |amax, &x| larger(amax, x));
    let scale = amax / MAX;
    if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
}

/// Rounds to the nearest code, ties to even, saturating at 448; NaN to NaN.
#[inline]
pub(crate) fn encode(x: f32) -> u8 {
    // Adding 2^14 leaves one unit of 2^-9 in the last place, so the FPU itself rounds subnormals to nearest even.
    const SUBNORMAL_SHIFT: f32 = 16_384.0;
    // The smallest normal magnitude, 2^-6, as f32 bits.
    const MIN_NORMAL_BITS: u32 = (127 - 6) << 23;
    let sign = (x.to_bits() >> 24) & 0x80;
    let abs = x.to_bits() & ABS_MASK;
    let bits = if abs > MAX.to_bits() { MAX.to_bits() } else { abs };
    // Keep 3 of 23 mantissa bits; a carry out of the mantissa is the next exponent, as it should be.
    let normal = ((bits + 0x7_ffff + ((bits >> 20) & 1)) >> 20).wrapping_sub((127 - 7) << 3);
    let subnormal = (f32::from_bits(bits) + SUBNORMAL_SHIFT).to_bits() - SUBNORMAL_SHIFT.to_bits();
    let finite = if bits < MIN_NORMAL_BITS { subnormal } else { normal };
    let code = if abs > INFINITY_BITS { NAN_CODE } else { finite };
    (sign | code) as u8
}

const fn decode(code: u32) -> f32 {
    let sign = (code & 0x80) << 24;
    let exponent = (code >> 3) & 0xf;
    let mantissa = code & 0x7;
    let magnitude = if code & 0x7f == NAN_CODE {
        f32::NAN
    } else if exponent == 0 {
        mantissa as f32 / 512.0
    } else {
        f32::from_bits(((exponent + 127 - 7) << 23) | (mantissa << 20))
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every non-negative finite value, ascending: codes 0x00 to 0x7e.
    fn magnitudes() -> Vec<f64> {
        (0..=0x7e).map(|code| f64::from(DECODED[code])).collect()
    }

    /// The nearest code by search in float64, ties to the even code.
    fn nearest(x: f32) -> u8 {
        let abs = f64::from(x.abs().min(500.0));
        let distance = |code: &usize| (magnitudes()[*code] - abs).abs();
        let best = (0..=0x7e_usize)
            .min_by(|a, b| distance(a).total_cmp(&distance(b)).then((a % 2).cmp(&(b % 2))))
            .expect("there are codes");
        best as u8 | if x.is_sign_negative() { 0x80 } else { 0 }
    }

    #[test]
    fn the_table_has_the_published_landmarks() {
        // OCP 8-bit floating point specification, E4M3: largest 448, smallest normal 2^-6, smallest subnormal 2^-9.
        assert_eq!(DECODED[0x7e], 448.0);
        assert_eq!(DECODED[0x08], 0.015_625);
        assert_eq!(DECODED[0x07], 7.0 / 512.0);
        assert_eq!(DECODED[0x01], 1.0 / 512.0);
        assert_eq!(DECODED[0x38], 1.0);
        assert!(DECODED[0x7f].is_nan() && DECODED[0xff].is_nan());
        assert!(magnitudes().is_sorted_by(|a, b| a < b));
        for code in 0..=0x7e {
            assert_eq!(DECODED[code | 0x80].to_bits(), DECODED[code].to_bits() | 0x8000_0000);
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=u8::MAX {
            assert_eq!(encode(DECODED[usize::from(code)]), code);
        }
    }

    #[test]
    fn halfway_goes_to_even_and_its_neighbours_to_the_nearer_code() {
        for low in 0..0x7e_u8 {
            let halfway = ((DECODED[usize::from(low)] + DECODED[usize::from(low) + 1]) / 2.0).to_bits();
            let even = low + low % 2;
            for (bits, code) in [(halfway - 1, low), (halfway, even), (halfway + 1, low + 1)] {
                assert_eq!(encode(f32::from_bits(bits)), code, "between codes {low} and {}", low + 1);
                assert_eq!(encode(-f32::from_bits(bits)), code | 0x80);
            }
        }
    }

    #[test]
    fn encoding_agrees_with_a_search_over_the_whole_range_of_f32() {
        // A stride that is odd and large visits all exponents and varied mantissas.
        for bits in (0..=u32::MAX).step_by(65_537 * 3) {
            let x = f32::from_bits(bits);
            if x.is_finite() {
                assert_eq!(encode(x), nearest(x), "{x:e}");
            }
        }
    }

    #[test]
    fn beyond_448_saturates_and_nan_stays_nan() {
        for x in [448.1, 463.9, 464.0, 480.0, 1e30, f32::MAX, f32::INFINITY] {
            assert_eq!(encode(x), 0x7e);
            assert_eq!(encode(-x), 0xfe);
        }
        assert_eq!(encode(f32::NAN), 0x7f);
        assert_eq!(encode(-f32::NAN), 0xff);
        assert_eq!(encode(f32::from_bits(0x7f80_0001)), 0x7f);
        assert_eq!((encode(0.0), encode(-0.0)), (0x00, 0x80));
        assert_eq!(encode(f32::MIN_POSITIVE / 2.0), 0x00);
    }
}
