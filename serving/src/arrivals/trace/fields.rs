//! Numbers and times as traces write them; a problem is a sentence that names the field and what to give.

use jiff::tz::TimeZone;

use crate::arrivals::MAX_TOKENS;

/// Most characters of a value that an error shows.
const SHOWN: usize = 40;

/// What a time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A date and time, since 1970.
    Date,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// The unit of a trace whose times are usually in this one and of which `text` is the first: times since 1970 can be told by
    /// their size, whatever they are counted in.
    pub(super) fn of_first(self, text: &str) -> Self {
        match text.parse::<f64>() {
            Err(_) if text.contains(['-', '/', ':']) => Self::Date,
            Ok(time) if (1e17..4e18).contains(&time) => Self::Nanos,
            Ok(time) if (1e14..4e15).contains(&time) => Self::Micros,
            Ok(time) if (1e11..4e12).contains(&time) && self == Self::Seconds => Self::Millis,
            // The years 2014 to 2036, which as milliseconds are days 16 to 24.
            Ok(time) if (1.4e9..2.1e9).contains(&time) && self == Self::Millis => Self::Seconds,
            _ => self,
        }
    }

    /// Its name, for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Date => "dates",
            Self::Seconds => "seconds",
            Self::Millis => "milliseconds",
            Self::Micros => "microseconds",
            Self::Nanos => "nanoseconds",
        }
    }

    /// Digits behind the point that count: times are held in nanoseconds.
    const fn digits(self) -> u32 {
        match self {
            Self::Date | Self::Nanos => 0,
            Self::Micros => 3,
            Self::Millis => 6,
            Self::Seconds => 9,
        }
    }

    /// Nanoseconds of a time, rounded to the nearest.
    pub(super) fn nanos(self, name: &str, text: &str) -> Result<i64, String> {
        if self == Self::Date {
            return date(name, text);
        }
        let each = 10_i64.pow(self.digits());
        exact(text, self.digits() as usize)
            .or_else(|| nanos(text.parse::<f64>().ok()? * each as f64))
            .ok_or_else(|| {
                // Rounded down.
                let most = 9.2e18 / each as f64;
                format!("`{name}` is {}: give {} from 0 to {most:.1e}", shown(text), self.name())
            })
    }
}

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

/// Nanoseconds since 1970 of a date and time; without an offset it is in UTC.
fn date(name: &str, text: &str) -> Result<i64, String> {
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

/// A plain decimal number times `10^digits`; a float would lose digits of a Unix time.
fn exact(text: &str, digits: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty()
        || ![whole, fraction].iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    let mut rest = 0;
    for place in 0..digits {
        rest = rest * 10 + i64::from(fraction.as_bytes().get(place).map_or(0, |digit| digit - b'0'));
    }
    let up = i64::from(fraction.as_bytes().get(digits).is_some_and(|&digit| digit >= b'5'));
    whole.parse::<i64>().ok()?.checked_mul(10_i64.pow(digits as u32))?.checked_add(rest + up)
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
