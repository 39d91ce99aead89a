//! Points in time, with a precision of one millisecond.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: the number of milliseconds since 1970-01-01T00:00:00Z. Its text form is RFC
/// 3339 in UTC.
///
/// ```
/// use feedkit_core::Timestamp;
///
/// let t: Timestamp = "2026-11-24T08:00:00.250+02:00".parse()?;
/// assert_eq!(t.to_string(), "2026-11-24T06:00:00.25Z");
/// # Ok::<(), feedkit_core::ParseTimestampError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time between the years 0000 and 9999.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time (such as 2026-11-24T08:00:00Z)")]
pub struct ParseTimestampError;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The latest time that RFC 3339 can express here: 9999-12-30T21:59:59.999Z, near the end of
    /// the calendar.
    pub const MAX: Timestamp = Timestamp(253_402_207_199_999);

    /// The time `millis` milliseconds after the epoch, or before it if `millis` is negative.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    /// The number of milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `by`. The result is limited to the largest possible time.
    pub fn saturating_add(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time minus `by`. The result is limited to the smallest possible time.
    pub fn saturating_sub(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The duration from `earlier` to this time, or zero if this time is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The start of the hour in UTC that contains this time.
    pub const fn hour(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(3_600_000))
    }

    /// The start of the day in UTC that contains this time.
    pub const fn day(self) -> Timestamp {
        Timestamp(self.0 - self.0.rem_euclid(86_400_000))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        // The calendar library accepts more than RFC 3339: a comma, week dates, zone annotations.
        let bytes = s.as_bytes();
        let separated = bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-';
        if !separated
            || !matches!(bytes[10], b'T' | b't' | b' ')
            || bytes.iter().any(|b| matches!(b, b'[' | b','))
        {
            return Err(ParseTimestampError);
        }
        let t: jiff::Timestamp = s.parse().map_err(|_| ParseTimestampError)?;
        // Rounds down before the epoch too, so that the order is kept.
        let (seconds, nanos) = (t.as_second(), t.subsec_nanosecond());
        Ok(Timestamp(seconds * 1000 + i64::from(nanos.div_euclid(1_000_000))))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Timestamp)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rfc_3339_and_nothing_else() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T01:00:00.0019+01:00", 1),
            ("2021-01-17T07:56:33Z", 1_610_870_193_000),
            ("1969-12-31T23:59:59.9995Z", -1),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp::from_millis(millis)), "{text}");
        }
        for text in
            ["", "now", "2021-01-17", "2021-01-17T07:56:33", "2021-13-17T07:56:33Z", "2021-W02-7T07:56:33Z"]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseTimestampError), "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads_over_the_whole_range() {
        for t in [Timestamp::EPOCH, Timestamp::MAX, Timestamp::from_millis(-62_135_596_800_000)] {
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), format!("{}ms", i64::MAX));
    }

    #[test]
    fn hours_and_days_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp::from_millis(-1).hour().as_millis(), -3_600_000);
        assert_eq!(Timestamp::from_millis(-1).day().as_millis(), -86_400_000);
        assert_eq!(Timestamp::from_millis(3_600_001).hour().as_millis(), 3_600_000);
    }
}
