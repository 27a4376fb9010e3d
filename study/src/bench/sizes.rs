//! Sizes as nccl-tests takes them: K, M and G are powers of 1024, and a sweep multiplies.

/// Most sizes of a sweep.
const SIZES_MAX: usize = 64;
/// The largest size of a rank: what is sent by all of them must fit a machine.
const SIZE_MAX: u64 = 1 << 30;

/// Bytes with an optional suffix K, M or G (powers of 1024).
///
/// # Errors
/// Anything else, nothing, and more than 1 GiB.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => 64,
    };
    let size = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(1_u64.checked_shl(shift)?));
    size.filter(|size| (1..=SIZE_MAX).contains(size))
        .ok_or_else(|| format!("`{text}`: give bytes such as 64K or 8M (K is 1024), at most 1G"))
}

/// From `min` to `max`, each `factor` times the one before.
///
/// # Errors
/// For a sweep that does not grow, and for more than 64 sizes.
pub fn sizes(min: u64, max: u64, factor: u32) -> Result<Vec<u64>, String> {
    if max < min {
        return Err(format!("sizes from {min} to {max} bytes: give -e at least what -b is"));
    }
    if factor < 2 {
        return Err("a factor of 1 never gets to the largest size: give -f 2 or more".to_owned());
    }
    let next = |size: &u64| size.checked_mul(factor.into()).filter(|&next| next <= max);
    let sizes: Vec<u64> = std::iter::successors(Some(min), next).take(SIZES_MAX).collect();
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_nccl_tests() {
        assert_eq!((parse_size("8"), parse_size("64K"), parse_size("1m")), (Ok(8), Ok(65_536), Ok(1 << 20)));
        for wrong in ["", "0", "K", "1KB", "-1", "2G", "1.5M", "99999999999999999999"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(sizes(8, 100, 2), Ok(vec![8, 16, 32, 64]));
        assert_eq!(sizes(8, 8, 2), Ok(vec![8]));
        assert!(sizes(9, 8, 2).is_err() && sizes(1, 8, 1).is_err());
    }
}
