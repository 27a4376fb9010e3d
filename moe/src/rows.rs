//! Token rows as they cross the wire: FP8 e4m3 with block scales on the way out, BF16 on the way back.
//!
//! A dispatch row is `[origin 16 B][scales 4 B x ceil(hidden / 128)][codes 1 B x hidden]`, 7,408 B at hidden 7168
//! (DeepEP low-latency kernels: 7168 + 56 * 4 + 16). The origin belongs to the wire layer; the functions here write
//! and read what follows it. A combine row is `hidden` BF16 values, 14,336 B at hidden 7168. All little-endian.
//!
//! Every rounding is to nearest, ties to even, and depends on its own block only, so a row has the same bytes
//! whatever batch it was quantised in.

use crate::fp8;

/// Elements that share one FP8 scale.
pub const BLOCK: usize = 128;

/// Bytes of row origin that the wire layer puts before a dispatch row's scales.
pub const ORIGIN_BYTES: usize = 16;

/// Bytes of one dispatch row on the wire, origin included: `16 + 4 * ceil(hidden / 128) + hidden`.
#[must_use]
pub const fn fp8_row_bytes(hidden: usize) -> usize {
    ORIGIN_BYTES + 4 * hidden.div_ceil(BLOCK) + hidden
}

/// Bytes of one combine row on the wire: `2 * hidden`.
#[must_use]
pub const fn bf16_row_bytes(hidden: usize) -> usize {
    2 * hidden
}

/// Appends the FP8 form of the row `x` to `out`: its block scales (f32), then its e4m3fn codes, no origin.
///
/// The scale of a block is `amax / 448`, with `amax` the largest finite magnitude in it, so that the largest element
/// uses the largest code. Where that would not be a normal f32 (a block of zeros, or of magnitudes below 5.3e-36),
/// the scale is 1 and every finite element becomes zero. A code is `e4m3fn(x / scale)`, saturating at 448: an
/// infinity becomes the block's largest magnitude and a NaN stays NaN; neither disturbs its neighbours.
pub fn quantise_fp8(x: &[f32], out: &mut Vec<u8>) {
    let scales_at = out.len();
    let codes_at = scales_at + 4 * x.len().div_ceil(BLOCK);
    out.resize(codes_at + x.len(), 0);
    let (scales, codes) = out[scales_at..].split_at_mut(codes_at - scales_at);
    for ((block, codes), scale_bytes) in
        x.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)).zip(scales.chunks_exact_mut(4))
    {
        let scale = fp8::block_scale(block);
        scale_bytes.copy_from_slice(&scale.to_le_bytes());
        for (code, &value) in codes.iter_mut().zip(block) {
            *code = fp8::encode(value / scale);
        }
    }
}

/// Decodes one dispatch row without its origin: `out[i] = code[i] * scale[i / 128]`.
///
/// # Panics
/// If `row` is not `fp8_row_bytes(hidden) - 16` bytes or `out` is not `hidden` long: the wire layer checks lengths
/// before it hands rows on.
pub fn dequantise_fp8(row: &[u8], hidden: usize, out: &mut [f32]) {
    assert_eq!(row.len(), fp8_row_bytes(hidden) - ORIGIN_BYTES, "FP8 row length at hidden {hidden}");
    assert_eq!(out.len(), hidden, "output length of an FP8 row");
    let (scales, codes) = row.split_at(row.len() - hidden);
    for ((out, codes), scale) in out.chunks_mut(BLOCK).zip(codes.chunks(BLOCK)).zip(scales.as_chunks::<4>().0)
    {
        let scale = f32::from_le_bytes(*scale);
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = fp8::DECODED[usize::from(code)] * scale;
        }
    }
}

/// `x` rounded to BF16, as its 16 bits: to nearest, ties to even.
///
/// A magnitude that rounds past the largest BF16 becomes infinite, infinities stay, and a NaN stays a (quiet) NaN of
/// the same sign.
#[inline]
#[must_use]
pub const fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { quiet } else { rounded }) as u16
}

/// `x` rounded to BF16 and back, the value that survives a combine row.
#[inline]
#[must_use]
pub const fn round_bf16(x: f32) -> f32 {
    f32::from_bits((bf16_bits(x) as u32) << 16)
}

/// Appends the BF16 form of `x` to `out`.
pub fn to_bf16(x: &[f32], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + bf16_row_bytes(x.len()), 0);
    for (bytes, &value) in out[start..].as_chunks_mut::<2>().0.iter_mut().zip(x) {
        *bytes = bf16_bits(value).to_le_bytes();
    }
}

/// Decodes a BF16 row into `out`, exactly.
///
/// # Panics
/// If `row` is not `2 * out.len()` bytes.
pub fn from_bf16(row: &[u8], out: &mut [f32]) {
    assert_eq!(row.len(), bf16_row_bytes(out.len()), "BF16 row length");
    for (out, &bytes) in out.iter_mut().zip(row.as_chunks::<2>().0) {
        *out = widen(bytes);
    }
}

/// Adds a weighted BF16 row: `acc[i] += weight * row[i]`, a multiplication and an addition in f32, never fused.
///
/// # Panics
/// If `row` is not `2 * acc.len()` bytes.
pub fn add_bf16(row: &[u8], weight: f32, acc: &mut [f32]) {
    assert_eq!(row.len(), bf16_row_bytes(acc.len()), "BF16 row length");
    for (acc, &bytes) in acc.iter_mut().zip(row.as_chunks::<2>().0) {
        *acc += weight * widen(bytes);
    }
}

#[inline]
fn widen(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fp8_round_trip(x: &[f32]) -> Vec<f32> {
        let mut row = Vec::new();
        quantise_fp8(x, &mut row);
        let mut out = vec![f32::NAN; x.len()];
        dequantise_fp8(&row, x.len(), &mut out);
        out
    }

    #[test]
    fn row_sizes_are_the_published_ones() {
        // DeepEP low-latency kernels at hidden 7168.
        assert_eq!((fp8_row_bytes(7168), bf16_row_bytes(7168)), (7_408, 14_336));
        assert_eq!(fp8_row_bytes(1), 16 + 4 + 1);
        assert_eq!(fp8_row_bytes(129), 16 + 8 + 129);
        for hidden in [0, 1, 127, 128, 129, 1000, 7168] {
            let mut row = vec![9];
            quantise_fp8(&vec![1.0; hidden], &mut row);
            assert_eq!(row.len() - 1, fp8_row_bytes(hidden) - ORIGIN_BYTES);
            assert_eq!(row[0], 9, "appended, not overwritten");
        }
    }

    #[test]
    fn a_block_is_scaled_by_its_largest_element_alone() {
        let mut x = vec![0.5; 300];
        x[7] = -896.0;
        x[299] = 1e-3;
        let mut row = Vec::new();
        quantise_fp8(&x, &mut row);
        let scale = |block: usize| f32::from_le_bytes([0, 1, 2, 3].map(|i| row[4 * block + i]));
        assert_eq!([scale(0), scale(1), scale(2)], [2.0, 0.5 / 448.0, 0.5 / 448.0]);
        assert_eq!(row[12 + 7], 0xfe);
        assert_eq!(&row[12 + 128..12 + 256], &[0x7e; 128]);
        let back = fp8_round_trip(&x);
        assert_eq!((back[7], back[0], back[200]), (-896.0, 0.5, 0.5));
    }

    #[test]
    fn zero_and_tiny_blocks_have_scale_one_and_decode_to_zeros() {
        for value in [0.0, -0.0, f32::MIN_POSITIVE, -1e-40] {
            let mut row = Vec::new();
            quantise_fp8(&[value; 130], &mut row);
            assert_eq!(row[..8], [1.0_f32.to_le_bytes(); 2].concat());
            assert!(fp8_round_trip(&[value; 130]).iter().all(|&x| x == 0.0));
        }
    }

    #[test]
    fn infinity_saturates_and_nan_stays_without_disturbing_the_block() {
        let out = fp8_round_trip(&[1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 448.0, -2.0]);
        assert_eq!((out[0], out[1], out[2], out[4], out[5]), (1.0, 448.0, -448.0, 448.0, -2.0));
        assert!(out[3].is_nan());
        assert_eq!(fp8_round_trip(&[f32::MAX, -f32::MAX / 2.0])[1], -f32::MAX / 2.0);
    }

    #[test]
    fn noise_of_a_normal_row_is_that_of_three_mantissa_bits() {
        let x = crate::hidden::hidden_states(1, 0, topology::RankId(0), 16, 7168);
        let square = |x: f32| f64::from(x).powi(2);
        let noise: f64 = x
            .chunks(7168)
            .flat_map(|x| fp8_round_trip(x).into_iter().zip(x))
            .map(|(q, x)| square(q - x))
            .sum();
        let relative = (noise / x.iter().map(|&x| square(x)).sum::<f64>()).sqrt();
        assert!((0.024..0.028).contains(&relative), "{relative}");
    }

    #[test]
    fn bf16_rounds_like_an_independent_implementation() {
        for bits in (0..=u32::MAX).step_by(257 * 31).chain([0x7f80_0000, 0xff80_0000, 0x7f80_0001]) {
            let x = f32::from_bits(bits);
            assert_eq!(bf16_bits(x), half::bf16::from_f32(x).to_bits(), "{bits:#x}");
        }
        assert_eq!(round_bf16(f32::MAX), f32::INFINITY);
        assert_eq!(round_bf16(1.0 + 1.0 / 256.0), 1.0, "halfway, down to even");
        assert_eq!(round_bf16(1.0 + 3.0 / 256.0), 1.0 + 2.0 / 128.0, "halfway, up to even");
    }

    #[test]
    fn bf16_rows_add_with_their_weight() {
        let x = [1.0, -2.0, 0.375, 3.0e5];
        let mut row = Vec::new();
        to_bf16(&x, &mut row);
        assert_eq!(row.len(), bf16_row_bytes(x.len()));
        let mut acc = [1.0; 4];
        add_bf16(&row, 0.25, &mut acc);
        assert_eq!(acc, x.map(|x| 1.0 + 0.25 * round_bf16(x)));
        let mut back = [0.0; 4];
        from_bf16(&row, &mut back);
        assert_eq!(back, x.map(round_bf16));
    }

    proptest! {
        #[test]
        fn fp8_error_is_bounded_by_half_a_unit(x in prop::collection::vec(-1e6_f32..1e6, 1..400)) {
            let back = fp8_round_trip(&x);
            for (block, back) in x.chunks(BLOCK).zip(back.chunks(BLOCK)) {
                let amax = block.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
                for (x, q) in block.iter().zip(back) {
                    // Half of 2^-3 relative for normals, half of 2^-9 of the scale for subnormals; f32 slack.
                    let bound = (x.abs() / 16.0).max(amax / 448.0 / 1024.0) * 1.000_01;
                    prop_assert!((x - q).abs() <= bound, "{x} became {q}");
                }
            }
        }

        #[test]
        fn decoded_rows_are_fixed_points_of_the_codes(x in prop::collection::vec(-10.0_f32..10.0, 1..300)) {
            let once = fp8_round_trip(&x);
            let twice = fp8_round_trip(&once);
            for (a, b) in once.iter().zip(&twice) {
                prop_assert!((a - b).abs() <= a.abs() * 1e-6);
            }
        }
    }
}
