//! Date and time of day in UTC from a Unix time. No time zones, no leap seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in UTC, split for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: u64,
    /// 1 to 12.
    pub(super) month: u64,
    /// 1 to 31.
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
    pub(super) microsecond: u32,
}

impl Civil {
    /// The present moment; the epoch if the clock stands before it.
    pub(super) fn now() -> Self {
        Self::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The moment `since_epoch` after 1970-01-01 00:00:00 UTC.
    pub(super) fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs();
        // Years are counted from March on, so that the leap day is the last of its year; eras are the 400 years
        // after which the calendar repeats. Day 0 is 0000-03-01, which is 719,468 days before the epoch.
        let days = seconds / 86_400 + 719_468;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: days / 146_097 * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: seconds / 3_600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            microsecond: since_epoch.subsec_micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, (1970, 1, 1, 0, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59, 59)),
            (951_782_400, (2000, 2, 29, 0, 0, 0)),
            (951_868_800, (2000, 3, 1, 0, 0, 0)),
            (1_704_067_199, (2023, 12, 31, 23, 59, 59)),
            (1_709_210_096, (2024, 2, 29, 12, 34, 56)),
            (4_107_542_400, (2100, 3, 1, 0, 0, 0)),
        ] {
            let c = Civil::from_unix(Duration::from_secs(seconds));
            assert_eq!((c.year, c.month, c.day, c.hour, c.minute, c.second), expected);
        }
    }
}
