//! Time partitions: months of raw events, days of the journal.

use std::fmt;

use feedkit_core::{Error, Result, Timestamp};
use hashbrown::HashSet;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use parking_lot::{Mutex, MutexGuard};

/// A month of raw events or a day of the journal, in UTC. Its number is 202611 or 20261124.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TimePartition {
    kind: Kind,
    number: i32,
    /// In milliseconds since 1970.
    start: i64,
    end: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    EventsMonth,
    JournalDay,
}

impl TimePartition {
    /// The month of the ids that were made at `time`.
    pub(super) fn month_of(time: Timestamp) -> Result<TimePartition> {
        let first = date_of(time)?.first_of_month();
        Self::between(Kind::EventsMonth, first, first.last_of_month().tomorrow().ok())
    }

    /// The day of a commit made at `time`.
    pub(super) fn day_of(time: Timestamp) -> Result<TimePartition> {
        let day = date_of(time)?;
        Self::between(Kind::JournalDay, day, day.tomorrow().ok())
    }

    /// The month or day whose table has this name.
    pub(super) fn named(table: &str) -> Option<TimePartition> {
        let parsed = |digits: &str, parts: i32| -> Option<Date> {
            let number: i32 = digits.parse().ok()?;
            let (month, day) = if parts == 3 { (number / 100, number % 100) } else { (number, 1) };
            Date::new((month / 100).try_into().ok()?, (month % 100).try_into().ok()?, day.try_into().ok()?)
                .ok()
        };
        let start = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
        let time = |date| Some(Timestamp::from_millis(start(date)?.as_millisecond()));
        match table.strip_prefix("events_") {
            Some(digits) => TimePartition::month_of(time(parsed(digits, 2)?)?).ok(),
            None => TimePartition::day_of(time(parsed(table.strip_prefix("journal_")?, 3)?)?).ok(),
        }
    }

    fn between(kind: Kind, first: Date, next: Option<Date>) -> Result<TimePartition> {
        let outside = || Error::data(format!("{first} is outside the calendar"));
        let millis = |date: Date| {
            let start = TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0));
            start.map(|t| t.as_millisecond()).map_err(|_| outside())
        };
        let (year, month, day) = (i32::from(first.year()), i32::from(first.month()), i32::from(first.day()));
        if year < 1 {
            return Err(outside());
        }
        let number = match kind {
            Kind::EventsMonth => year * 100 + month,
            Kind::JournalDay => (year * 100 + month) * 100 + day,
        };
        Ok(TimePartition { kind, number, start: millis(first)?, end: millis(next.ok_or_else(outside)?)? })
    }

    pub(super) fn contains(self, time: Timestamp) -> bool {
        (self.start..self.end).contains(&time.as_millis())
    }

    /// The first instant after the month or day.
    pub(super) fn end(self) -> Timestamp {
        Timestamp::from_millis(self.end)
    }
}

impl TimePartition {
    /// The statement that makes its table, from its number.
    pub(super) fn add_statement(self) -> &'static str {
        match self.kind {
            Kind::EventsMonth => "SELECT feedkit_add_events_month($1)",
            Kind::JournalDay => "SELECT feedkit_add_journal_day($1)",
        }
    }

    pub(super) fn number(self) -> i32 {
        self.number
    }
}

impl fmt::Display for TimePartition {
    /// The name of its table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::EventsMonth => write!(f, "events_{}", self.number),
            Kind::JournalDay => write!(f, "journal_{}", self.number),
        }
    }
}

fn date_of(time: Timestamp) -> Result<Date> {
    let instant = jiff::Timestamp::from_millisecond(time.as_millis())
        .map_err(|_| Error::data(format!("the time {time} is outside the calendar")))?;
    Ok(TimeZone::UTC.to_datetime(instant).date())
}

/// The time partitions that are known to exist, so that the database is asked only once for each.
#[derive(Debug, Default)]
pub(super) struct TimePartitions(Mutex<HashSet<TimePartition>>);

impl TimePartitions {
    /// Forgets all of them, after one was dropped.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// Those of `leaves` that are not known.
    pub(super) fn missing(&self, leaves: &[TimePartition]) -> Vec<TimePartition> {
        let known = self.lock();
        leaves.iter().copied().filter(|leaf| !known.contains(leaf)).collect()
    }

    /// Adds `leaves` to those that are known.
    pub(super) fn add(&self, leaves: Vec<TimePartition>) {
        self.lock().extend(leaves);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<TimePartition>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_touch_do_not_overlap_and_know_their_names() {
        for of in [TimePartition::month_of, TimePartition::day_of] {
            let mut leaf = of(Timestamp::EPOCH).unwrap();
            assert_eq!(leaf.start, 0);
            for _ in 0..2000 {
                assert_eq!(TimePartition::named(&leaf.to_string()), Some(leaf));
                assert!(leaf.contains(Timestamp::from_millis(leaf.end - 1)) && !leaf.contains(leaf.end()));
                let next = of(leaf.end()).unwrap();
                assert!(next.start == leaf.end && next > leaf);
                leaf = next;
            }
        }
        assert_eq!(TimePartition::named("events_202613"), None);
        assert_eq!(TimePartition::named("events_comments"), None);
        assert!(TimePartition::month_of(Timestamp::from_millis((1 << 48) - 1)).is_err());
        assert!(TimePartition::day_of(Timestamp::from_millis(i64::MIN)).is_err());
    }
}
