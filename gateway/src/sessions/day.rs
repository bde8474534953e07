//! Days of the calendar in UTC, counted from 1970.

use std::fmt;

/// A day: how many have passed since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

const MS_OF_A_DAY: i64 = 86_400_000;
/// The years that are written with four digits.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

impl Day {
    /// The day of a time in milliseconds UTC.
    pub fn of(ms: i64) -> Self {
        Self(ms.div_euclid(MS_OF_A_DAY))
    }

    /// So many days earlier.
    pub fn before(self, days: i64) -> Self {
        Self(self.0.saturating_sub(days).max(0))
    }

    /// Days from `earlier` to this one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Reads `YYYY-MM-DD`; `None` for what is no day.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let mut number = |digits: usize| -> Option<i64> {
            let part = parts.next()?;
            let plain = part.len() == digits && part.bytes().all(|c| c.is_ascii_digit());
            plain.then(|| part.parse().ok())?
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        if !YEARS.contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let parsed = Self(days(year, month, day));
        // The 31st of a shorter month is another day.
        (parsed.date() == (year, month, day)).then_some(parsed)
    }

    /// Year, month and day; the usual arithmetic with years that begin in March.
    fn date(self) -> (i64, i64, i64) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, month, day)
    }
}

fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_days_are_named() {
        for (ms, text) in [
            (0, "1970-01-01"),
            (1_795_358_914_783, "2026-11-22"),
            (951_782_400_000, "2000-02-29"),
        ] {
            assert_eq!(Day::of(ms).to_string(), text);
            assert_eq!(Day::parse(text), Some(Day::of(ms)));
        }
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "x",
            "1969-12-31",
            "2026-04-31",
        ] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_day_reads_back(day in 0..2_900_000_i64) {
            prop_assert_eq!(Day::parse(&Day(day).to_string()), Some(Day(day)));
        }

        #[test]
        fn any_text_is_a_day_or_none(text in ".{0,12}") {
            let _ = Day::parse(&text);
        }
    }
}
