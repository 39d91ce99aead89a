//! The time partitions of the raw events: months in UTC.

use std::fmt;

use feedkit_core::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A month, such as the number 202611. Its table is then `events_202611`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimePartition {
    number: i32,
    /// In milliseconds since 1970.
    start: i64,
    end: i64,
}

impl TimePartition {
    /// The month of `time`.
    pub(super) fn month_of(time: Timestamp) -> Self {
        let time = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = TimeZone::UTC.to_datetime(time).date();
        Self::beginning(date.first_of_month())
    }

    /// The month with this number; `None` if there is no such month.
    pub(super) fn numbered(number: i32) -> Option<Self> {
        let year = i16::try_from(number / 100).ok()?;
        let month = i8::try_from(number % 100).ok()?;
        Date::new(year, month, 1).ok().map(Self::beginning)
    }

    fn beginning(first: Date) -> Self {
        let millis = |date: Date| {
            let start = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0));
            start.map_or(i64::MAX, |t| t.as_millisecond())
        };
        let number = i32::from(first.year()) * 100 + i32::from(first.month());
        let next = first.last_of_month().tomorrow();
        TimePartition { number, start: millis(first), end: next.map_or(i64::MAX, millis) }
    }

    pub(super) fn contains(self, time: Timestamp) -> bool {
        (self.start..self.end).contains(&time.as_millis())
    }

    pub(super) fn number(self) -> i32 {
        self.number
    }

    /// The first instant after the month.
    pub(super) fn end(self) -> Timestamp {
        Timestamp::from_millis(self.end)
    }
}

impl fmt::Display for TimePartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "events_{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_touch_and_do_not_overlap() {
        let mut month = TimePartition::month_of(Timestamp::EPOCH);
        assert_eq!((month.number(), month.start), (197_001, 0));
        for _ in 0..2000 {
            assert_eq!(TimePartition::numbered(month.number()), Some(month));
            assert!(month.contains(Timestamp::from_millis(month.end - 1)) && !month.contains(month.end()));
            let next = TimePartition::month_of(month.end());
            assert!(next.start == month.end && next.number > month.number);
            month = next;
        }
        assert_eq!(TimePartition::numbered(202_613), None);
    }
}
