//! The time of day as nccl-tests writes it, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, `YYYY-MM-DD HH:MM:SS`.
#[must_use]
pub(super) fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    told(now.as_secs())
}

/// Seconds since 1970 as a date: days are counted from 1 March of the year 0, so that a leap day ends a year.
fn told(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn dates_of_known_seconds() {
        assert_eq!(told(0), "1970-01-01 00:00:00");
        assert_eq!(told(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(told(1_798_761_599), "2026-12-31 23:59:59");
    }
}
