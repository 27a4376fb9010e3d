//! Numbers and times as traces write them; a problem is a sentence that names the field and what to give.

use jiff::tz::TimeZone;

use crate::arrivals::MAX_TOKENS;

/// Most characters of a value that an error shows.
const SHOWN: usize = 40;

/// Digits behind the point of a second that count: times are held in nanoseconds.
const DIGITS: usize = 9;

const NANOS_PER_SECOND: f64 = 1e9;

/// Tokens; a whole number, which may be written as a float (`12.0`), as pandas does.
pub(super) fn tokens(name: &str, text: &str) -> Result<u32, String> {
    let number = match text.parse::<u64>() {
        Ok(number) => Some(number as f64),
        Err(_) => text.parse::<f64>().ok(),
    };
    match number {
        Some(number) if number > MAX_TOKENS.into() => Err(format!(
            "`{name}` is {}: more than {MAX_TOKENS} tokens are no request; leave it out",
            shown(text)
        )),
        Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(number as u32),
        _ => {
            Err(format!("`{name}` is {}: give a whole number of tokens from 1 to {MAX_TOKENS}", shown(text)))
        }
    }
}

/// Nanoseconds of a number of seconds, rounded to the nearest.
pub(super) fn seconds(name: &str, text: &str) -> Result<i64, String> {
    exact(text)
        .or_else(|| nanos(text.parse::<f64>().ok()? * NANOS_PER_SECOND))
        .ok_or_else(|| format!("`{name}` is {}: give seconds from 0 to 9.2e9", shown(text)))
}

/// Nanoseconds of a number of milliseconds.
pub(super) fn milliseconds(name: &str, text: &str) -> Result<i64, String> {
    let whole = text.parse::<u64>().ok().and_then(|whole| i64::try_from(whole.checked_mul(1_000_000)?).ok());
    whole
        .or_else(|| nanos(text.parse::<f64>().ok()? * 1e6))
        .ok_or_else(|| format!("`{name}` is {}: give milliseconds from 0 to 9.2e12", shown(text)))
}

/// Nanoseconds since 1970 of a date and time; without an offset it is in UTC.
pub(super) fn date(name: &str, text: &str) -> Result<i64, String> {
    // Behind the date, whose hyphens are none.
    let has_offset =
        text.bytes().skip("2023-11-16 ".len()).any(|byte| matches!(byte, b'+' | b'-' | b'Z' | b'z'));
    let timestamp = if has_offset {
        text.parse::<jiff::Timestamp>().ok()
    } else {
        let civil = text.parse::<jiff::civil::DateTime>().ok();
        civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok()).map(|zoned| zoned.timestamp())
    };
    timestamp.and_then(|timestamp| i64::try_from(timestamp.as_nanosecond()).ok()).ok_or_else(|| {
        format!("`{name}` is {}: give a date and time such as 2023-11-16 18:17:03.9799600", shown(text))
    })
}

/// Nanoseconds of plain decimal seconds; a float would lose digits of a Unix time.
fn exact(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty()
        || ![whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    let mut nanos = 0;
    for place in 0..DIGITS {
        nanos = nanos * 10 + i64::from(fraction.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    }
    let up = i64::from(fraction.as_bytes().get(DIGITS).is_some_and(|&digit| digit >= b'5'));
    whole.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos + up)
}

fn nanos(value: f64) -> Option<i64> {
    (value >= 0.0 && value < i64::MAX as f64).then_some(value.round() as i64)
}

/// A value in an error, cut where it is long.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "empty".to_owned();
    }
    let visible = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let start: String = text.chars().take(SHOWN).map(visible).collect();
    let rest = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
    format!("`{start}{rest}`")
}
