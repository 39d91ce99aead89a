//! Whatever the bytes are, reading them never panics.

use bytes::Bytes;
use feedkit_core::codec::{Codec, Defaults, EventPolicy, JsonCodec, Place};
use feedkit_core::journal::JournalEntry;
use feedkit_core::source::Record;
use feedkit_core::traffic::TrafficOptions;
use feedkit_core::wire::{self, UnknownFields};
use feedkit_core::{EventId, Partition, Position, PostId, Timestamp, UserId};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn decode(bytes: &[u8], time: i64, offset: u64) {
    let place = Place { log: 1, partition: Partition(0) };
    let time = Timestamp::from_millis(time);
    let record = Record { offset, time, key: None, value: Bytes::copy_from_slice(bytes) };
    let codec = JsonCodec::default();
    let decoded = codec.decode(&place, &record);
    assert_eq!(codec.decode(&place, &record), decoded, "the same record gives the same event");
    if let Ok(event) = decoded {
        let again = Record { value: JsonCodec::encode(&event), ..record };
        assert_eq!(codec.decode(&place, &again), Ok(event), "what was read can be written and read again");
    }
    for unknown in [UnknownFields::Refuse, UnknownFields::Ignore] {
        if let Ok(event) = wire::parse(bytes, unknown) {
            let defaults = Defaults { reference: time, id: EventId::derived(time, 0), time };
            let _ = EventPolicy::default().admit(event, &defaults);
        }
    }
}

/// JSON that comes near to an event: the right names, and any values.
fn near_json() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => select(vec!["userId", "postId", "type", "id", "timestamp", "receivedAt", "text", "attributes"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let value = prop_oneof![
        select(vec!["like", "post", "comment", "u1", "2026-01-02T03:04:05Z", "-262144-01-01T00:00:00Z"])
            .prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        Just(serde_json::json!({"a": "b"})),
        Just(serde_json::json!([1, [2]])),
    ];
    prop::collection::vec((name, value), 0..10).prop_map(|fields| {
        // By hand, since names may stand twice.
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(name.as_str())))
            .collect();
        format!("{{{}}}", fields.join(","))
    })
}

fn lines() -> Vec<Bytes> {
    TrafficOptions::default().count(300).malformed(0.3).traffic().map(|i| i.value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_a_record(bytes: Vec<u8>, time: i64, offset: u64) {
        decode(&bytes, time, offset);
    }

    #[test]
    fn as_a_record_near_to_an_event(json in near_json(), time in prop_oneof![Just(1_767_323_045_000i64), any::<i64>()]) {
        decode(json.as_bytes(), time, 0);
    }

    #[test]
    fn as_a_damaged_line(line in select(lines()), at: Index, byte: u8, cut: Index) {
        let mut bytes = line.to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        decode(&bytes, TrafficOptions::default().start.as_millis(), 0);
    }

    #[test]
    fn as_a_journal_entry(bytes: Vec<u8>, from: u64, to: u64) {
        let _ = JournalEntry::decode(Partition(0), from, to, &bytes);
    }

    #[test]
    fn as_a_journal_entry_after_its_head(flags in 0u8..4, body: Vec<u8>, from in 0u64..1000) {
        let bytes = [vec![1, flags], body].concat();
        if let Ok(entry) = JournalEntry::decode(Partition(0), from, from + 1000, &bytes) {
            prop_assert_eq!(JournalEntry::decode(Partition(0), from, from + 1000, &entry.encode()).unwrap(), entry);
        }
    }

    #[test]
    fn as_ids_times_and_positions(text: String) {
        if let Ok(id) = UserId::new(&text) {
            prop_assert_eq!(id.as_str(), &text);
        }
        prop_assert_eq!(PostId::new(&text).is_ok(), UserId::new(&text).is_ok());
        let _ = text.parse::<EventId>();
        let _ = text.parse::<Position>();
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn times_come_back_as_they_were_written(millis in -62_135_596_800_000i64..253_402_207_199_999) {
        let time = Timestamp::from_millis(millis);
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        prop_assert!(time.hour() <= time && time.since(time.hour()).as_secs() < 3600);
    }
}
