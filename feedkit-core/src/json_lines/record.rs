//! Turns one line into a record.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::lines::NumberedLine;
use crate::sink::NewRecord;
use crate::wire::{self, UnknownFields};
use crate::{EventId, Timestamp};

/// How far before the first sighting of a source its lines without a time begin. Each takes one
/// millisecond, and the lead keeps them out of the future.
const LEAD: Duration = Duration::from_secs(86_400);

/// The origin of some lines. It determines the ids and times of lines that have none.
#[derive(Debug, Clone)]
pub struct Origin {
    seed: u64,
    first_seen: Timestamp,
    /// The time of the previous line.
    last: Timestamp,
}

impl Origin {
    /// The source `name`, first seen at `first_seen`. Equal arguments give equal ids.
    pub fn new(name: &str, first_seen: Timestamp) -> Self {
        let seed = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
        Origin { seed, first_seen, last: first_seen.saturating_sub(LEAD) }
    }

    /// The record for the next line, and its event's time. The caller passes the lines in order.
    pub(super) fn record(&mut self, line: &NumberedLine) -> (NewRecord, Timestamp) {
        let follows = Timestamp::from_millis(self.last.as_millis().saturating_add(1)).min(self.first_seen);
        let Ok(event) = wire::parse(&line.bytes, UnknownFields::Ignore) else {
            return (NewRecord { key: None, value: line.bytes.clone() }, self.last);
        };
        let mut added = String::new();
        if event.id.is_none() {
            added.push_str(&format!("\"id\":\"{}\",", self.id(line)));
        }
        let own_time: Option<Timestamp> = event.timestamp.as_ref().and_then(|t| t.parse().ok());
        if event.timestamp.is_none() {
            added.push_str(&format!("\"timestamp\":\"{follows}\","));
        }
        let time = own_time.unwrap_or(follows);
        // The pipeline rejects an event from the future. The next line must not follow it there.
        if own_time.is_none_or(|t| t <= self.first_seen) {
            self.last = time;
        }
        let key = event.user_id.as_ref().map(|user| Bytes::copy_from_slice(user.as_bytes()));
        let value = if added.is_empty() { line.bytes.clone() } else { with(&line.bytes, &added) };
        (NewRecord { key, value }, time)
    }

    /// An id whose time increases by a millisecond per line, so that the ids are in the order of
    /// the lines.
    fn id(&self, line: &NumberedLine) -> EventId {
        let since = i64::try_from(line.number).unwrap_or(i64::MAX);
        let start = self.first_seen.saturating_sub(LEAD).as_millis();
        let time = Timestamp::from_millis(start.saturating_add(since)).min(self.first_seen);
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..].copy_from_slice(&line.number.to_le_bytes());
        let place = xxhash_rust::xxh3::xxh3_64(&seed);
        EventId::derived(time, xxh3_128_with_seed(&line.bytes, place))
    }
}

/// The JSON object `json` with the members `added` in front. A member whose value is `null` is
/// removed.
fn with(json: &Bytes, added: &str) -> Bytes {
    let open = json.iter().position(|b| *b == b'{').unwrap_or(0);
    let (head, rest) = json.split_at((open + 1).min(json.len()));
    let has_null = memchr::memmem::find(rest, b"null").is_some();
    if has_null && let Ok(mut object) = serde_json::from_slice::<serde_json::Map<_, _>>(json) {
        object.retain(|_, value: &mut serde_json::Value| !value.is_null());
        let rest = serde_json::to_vec(&object).unwrap_or_default();
        return join(b"{", added, rest.get(1..).unwrap_or_default());
    }
    join(head, added, rest)
}

fn join(head: &[u8], added: &str, rest: &[u8]) -> Bytes {
    let empty = rest.trim_ascii_start().first() == Some(&b'}');
    let added = if empty { added.trim_end_matches(',') } else { added };
    [head, added.as_bytes(), rest].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Timestamp = Timestamp::from_millis(1_795_500_000_000);

    fn records(name: &str, lines: &[&str]) -> Vec<(NewRecord, Timestamp)> {
        let mut origin = Origin::new(name, SEEN);
        let numbered = lines.iter().enumerate();
        numbered
            .map(|(i, l)| NumberedLine { number: i as u64, bytes: Bytes::copy_from_slice(l.as_bytes()) })
            .map(|line| origin.record(&line))
            .collect()
    }

    fn field(record: &NewRecord, name: &str) -> String {
        let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        value[name].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_same_line_at_the_same_place_has_the_same_id() {
        let like = r#"{"userId":"u","postId":"p","type":"like"}"#;
        let once = records("a", &[like, like]);
        assert_eq!(once, records("a", &[like, like]));
        let id = |i: usize| field(&once[i].0, "id");
        assert_ne!(id(0), id(1));
        assert_ne!(id(0), field(&records("b", &[like])[0].0, "id"));
        assert!(id(0) < id(1));
        assert_eq!(once[0].0.key.as_deref(), Some(&b"u"[..]));
    }

    #[test]
    fn lines_without_a_time_follow_the_one_before() {
        let lines = [
            r#"{"userId":"u"}"#,
            r#"{"userId":"u","timestamp":"2021-01-17T07:56:33Z"}"#,
            r#"{"userId":"u","timestamp":null}"#,
            r#"{"userId":"u","timestamp":"2100-01-01T00:00:00Z"}"#,
            "nonsense",
            r#"  {}"#,
        ];
        let records = records("a", &lines);
        let t = |i: usize| field(&records[i].0, "timestamp");
        assert_eq!(t(0), SEEN.saturating_sub(LEAD - Duration::from_millis(1)).to_string());
        assert_eq!(t(2), "2021-01-17T07:56:33.001Z");
        assert_eq!(t(3), "2100-01-01T00:00:00Z");
        assert_eq!(&records[4].0.value[..], b"nonsense");
        assert_eq!(t(5), "2021-01-17T07:56:33.002Z");
    }

    #[test]
    fn what_has_all_is_left_as_it_is() {
        let line = r#"{"id":"01935d8e-7a00-7000-8000-000000000000","userId":"u","timestamp":"2021-01-17T07:56:33Z","x":[1]}"#;
        assert_eq!(&records("a", &[line])[0].0.value[..], line.as_bytes());
    }
}
