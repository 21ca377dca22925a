//! Seconds since 1970 as a calendar date, for formats that store one.

/// A point in time, UTC, in the proleptic Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) year: u16,
    /// From 1.
    pub(crate) month: u8,
    /// From 1.
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

const DAY: i64 = 86_400;

impl Calendar {
    /// The date of `time`, in seconds since 1970, limited to the years `first` to `last` because
    /// the format can express no others.
    pub(crate) fn within_years(time: i64, first: u16, last: u16) -> Self {
        let earliest = days_before_year(first.into()) * DAY;
        let latest = days_before_year(i64::from(last) + 1) * DAY - 1;
        Self::of(time.clamp(earliest, latest))
    }

    #[expect(
        clippy::cast_sign_loss,
        reason = "the year is limited by the caller, all else is 0 to 59"
    )]
    fn of(time: i64) -> Self {
        let days = time.div_euclid(DAY);
        let second_of_day = time.rem_euclid(DAY);
        // Years are counted from March, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Self {
            year: (year_of_era + era * 400 + i64::from(month <= 2)) as u16,
            month: month as u8,
            day: day as u8,
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
        }
    }
}

/// Days from 1970-01-01 to the first day of `year`.
fn days_before_year(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    365 * (year - 1970) + leap_days - 477
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(c: Calendar) -> String {
        let Calendar {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = c;
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }

    #[test]
    fn dates_are_those_of_date_u() {
        for (time, expected) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_795_454_399, "2026-11-23 17:19:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(text(Calendar::of(time)), expected);
        }
    }

    #[test]
    fn years_outside_the_format_are_limited() {
        let dos = |time| text(Calendar::within_years(time, 1980, 2107));
        assert_eq!(dos(0), "1980-01-01 00:00:00");
        assert_eq!(dos(i64::MAX), "2107-12-31 23:59:59");
        assert_eq!(dos(i64::MIN), "1980-01-01 00:00:00");
    }
}
