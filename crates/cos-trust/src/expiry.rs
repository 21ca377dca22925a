//! Times as they are signed: RFC 3339.

use crate::TrustError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Nobody means a longer time.
const LONGEST: i64 = 100 * 366 * DAY;

/// Seconds since 1970 of an RFC 3339 time.
pub fn time_of(text: &str) -> Result<i64, TrustError> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    time.map(OffsetDateTime::unix_timestamp)
        .map_err(|_| TrustError::Time { text: text.into() })
}

/// A time as RFC 3339, in UTC; seconds since 1970 where it is beyond the years that this has.
pub fn rfc3339(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// Seconds of a length of time such as `30d`, `12h` or `90m`.
pub fn duration(text: &str) -> Result<i64, TrustError> {
    let bad = || TrustError::Time { text: text.into() };
    let (number, unit) = text
        .char_indices()
        .last()
        .map(|(end, unit)| (&text[..end], unit))
        .ok_or_else(bad)?;
    let unit = match unit {
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return Err(bad()),
    };
    let number: u32 = number.parse().map_err(|_| bad())?;
    let seconds = i64::from(number) * unit;
    if (1..=LONGEST).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        assert_eq!(time_of("2026-11-26T12:00:00Z").unwrap(), 1_795_694_400);
        assert_eq!(rfc3339(1_795_694_400), "2026-11-26T12:00:00Z");
        assert_eq!(time_of("2026-11-26T13:00:00+01:00").unwrap(), 1_795_694_400);
        for bad in ["", "2026-11-26", "tomorrow", "2026-13-01T00:00:00Z"] {
            assert!(time_of(bad).is_err(), "{bad}");
        }
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }

    #[test]
    fn lengths_are_read() {
        assert_eq!(duration("30d").unwrap(), 30 * DAY);
        assert_eq!(duration("90m").unwrap(), 5400);
        for bad in [
            "",
            "d",
            "30",
            "-1d",
            "0d",
            "1y",
            "4294967295w",
            "3 d",
            "1.5d",
            "é",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
