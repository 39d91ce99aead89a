//! The suite of event sinks.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::log::{LogHarness, read_all, send};
use super::sentence::{Sentence, drop_half_way};
use crate::sink::NewRecord;
use crate::source::Record;
use crate::{ErrorKind, Partition, Position, Result};

/// Tests the contract of [`EventSink`](crate::EventSink). The suite reads the records back through
/// the sources of the same log.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold.
pub async fn sink<L: LogHarness>(fresh: impl AsyncFn() -> L) {
    outcomes_say_where_each_record_lies(&fresh().await).await;
    equal_keys_keep_their_order(&fresh().await).await;
    an_empty_batch_touches_nothing(&fresh().await).await;
    records_come_back_as_they_were(&fresh().await).await;
    sends_at_once_all_have_their_outcomes(&fresh().await).await;
    a_dropped_send_takes_whole_records(&fresh().await).await;
    a_refused_record_does_not_keep_others_out(&fresh().await).await;
    what_was_acknowledged_survives(&mut fresh().await).await;
}

fn record(key: Option<&str>, value: &str) -> NewRecord {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    NewRecord { key: key.map(bytes), value: bytes(value) }
}

async fn send_batch(says: Sentence, log: &impl LogHarness, batch: Vec<NewRecord>) -> Vec<Result<Position>> {
    says.ends("send", log.sink().send(batch)).await
}

/// Returns the record that an outcome acknowledges.
fn acknowledged<'r>(
    says: Sentence,
    held: &'r BTreeMap<Partition, Vec<Record>>,
    outcome: &Result<Position>,
) -> &'r Record {
    let position = match outcome {
        Ok(position) => *position,
        Err(error) => says.broken(format_args!("a record was not written: {error:?}")),
    };
    let found = held
        .get(&position.partition)
        .and_then(|records| records.iter().find(|r| r.offset + 1 == position.offset));
    match found {
        Some(record) => record,
        None => says.broken(format_args!("there is no record just before {position}")),
    }
}

async fn outcomes_say_where_each_record_lies(log: &impl LogHarness) {
    let says = Sentence(
        "send returns exactly one outcome for each record, in the order of the batch, with the position just after the record",
    );
    let batch: Vec<_> = (0..200)
        .map(|i| record((i % 5 != 0).then(|| format!("user-{}", i % 23)).as_deref(), &format!("value {i}")))
        .collect();
    for part in batch.chunks(67) {
        let outcomes = send_batch(says, log, part.to_vec()).await;
        says.equal("outcomes", outcomes.len(), part.len());
        let held = read_all(says, log).await;
        for (sent, outcome) in part.iter().zip(&outcomes) {
            let found = acknowledged(says, &held, outcome);
            says.equal("the record there", (&found.key, &found.value), (&sent.key, &sent.value));
        }
    }
    let held = read_all(says, log).await;
    says.equal("records held", held.values().map(Vec::len).sum::<usize>(), batch.len());
}

async fn equal_keys_keep_their_order(log: &impl LogHarness) {
    let says = Sentence(
        "records with equal keys go to one partition, and those of one batch keep their order there",
    );
    for round in 0..3 {
        let batch: Vec<_> =
            (0..90).map(|i| record(Some(&format!("user-{}", i % 9)), &format!("{round} {i:03}"))).collect();
        for outcome in send_batch(says, log, batch).await {
            says.ok("sending a record", outcome);
        }
    }
    let held = read_all(says, log).await;
    let mut homes: BTreeMap<Bytes, Partition> = BTreeMap::new();
    let mut last: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for (partition, found) in held.iter().flat_map(|(p, records)| records.iter().map(move |r| (*p, r))) {
        let Some(key) = found.key.clone() else { says.broken("a record lost its key") };
        let home = *homes.entry(key.clone()).or_insert(partition);
        says.holds(
            home == partition,
            format_args!("the key {key:?} is in the partitions {home} and {partition}"),
        );
        if let Some(before) = last.insert(key.clone(), found.value.clone()) {
            says.holds(
                before < found.value,
                format_args!("under the key {key:?}, {before:?} comes before {:?}", found.value),
            );
        }
    }
    says.equal("keys", homes.len(), 9);
}

async fn an_empty_batch_touches_nothing(log: &impl LogHarness) {
    let says = Sentence("an empty batch gives an empty result and changes nothing");
    send(says, log, "a", &["1"]).await;
    let before = read_all(says, log).await;
    says.equal("outcomes", send_batch(says, log, Vec::new()).await.len(), 0);
    says.equal("log", read_all(says, log).await, before);
}

async fn records_come_back_as_they_were(log: &impl LogHarness) {
    let says = Sentence("a record is read back with the bytes that were sent");
    let values: Vec<Bytes> = vec![
        Bytes::from_static(b"\0\xff\xfe"),
        Bytes::from(vec![b'x'; 100_000]),
        Bytes::from_static(b" \r\n "),
        Bytes::from_static("naïve 日本語".as_bytes()),
    ];
    let batch: Vec<_> = values.iter().map(|v| NewRecord::keyed([0, 255], v.clone())).collect();
    let outcomes = send_batch(says, log, batch).await;
    let held = read_all(says, log).await;
    for (value, outcome) in values.iter().zip(&outcomes) {
        let found = acknowledged(says, &held, outcome);
        says.holds(
            found.value == value,
            format_args!("{} bytes came back as {}", value.len(), found.value.len()),
        );
        says.equal("key", found.key.as_deref(), Some(&[0, 255][..]));
    }
}

async fn sends_at_once_all_have_their_outcomes(log: &impl LogHarness) {
    let says = Sentence(
        "calls of send at the same time each return their own outcomes, and flush waits until every record has one",
    );
    let batch = |name: &str| (0..50).map(|i| record(Some("k"), &format!("{name}{i:02}"))).collect::<Vec<_>>();
    let (one, two, three) = (batch("a"), batch("b"), batch("c"));
    let sent = async {
        tokio::join!(
            log.sink().send(one.clone()),
            log.sink().send(two.clone()),
            log.sink().send(three.clone()),
        )
    };
    let (a, b, c) = says.ends("sends at once", sent).await;
    says.ok("flush", says.ends("flush", log.sink().flush()).await);
    let held = read_all(says, log).await;
    let mut places = std::collections::BTreeSet::new();
    for (sent, outcome) in one.iter().chain(&two).chain(&three).zip(a.iter().chain(&b).chain(&c)) {
        let found = acknowledged(says, &held, outcome);
        says.equal("the record there", &found.value, &sent.value);
        places.insert(outcome.as_ref().ok().copied());
    }
    says.equal("places", places.len(), 150);
    let order: Vec<_> = held.values().flatten().map(|r| r.value.clone()).collect();
    for batch in [one, two, three] {
        let of_batch: Vec<_> = order.iter().filter(|v| batch.iter().any(|r| r.value == **v)).collect();
        says.holds(of_batch.is_sorted(), "a batch's records do not keep their order");
    }
}

async fn a_dropped_send_takes_whole_records(log: &impl LogHarness) {
    let says = Sentence(
        "if the future is dropped, the outcome of every record is uncertain, and no record is written in part",
    );
    let value = |i: usize| format!("{i:02}").repeat(500);
    for round in 0..10 {
        let batch = (0..5).map(|i| record(Some("k"), &value(round * 5 + i))).collect();
        drop_half_way(log.sink().send(batch)).await;
    }
    says.ok("flush", says.ends("flush", log.sink().flush()).await);
    let mut seen = std::collections::BTreeSet::new();
    for found in read_all(says, log).await.into_values().flatten() {
        let whole = (0..50).any(|i| found.value == value(i));
        says.holds(whole, format_args!("a record of {} bytes that was not sent", found.value.len()));
        says.holds(seen.insert(found.value), "a record was written twice");
    }
}

async fn a_refused_record_does_not_keep_others_out(log: &impl LogHarness) {
    let says = Sentence("the error of one record does not keep the others from being written");
    let Some(refused) = log.refused() else { return };
    let batch = vec![record(Some("a"), "1"), refused, record(Some("a"), "2")];
    let outcomes = send_batch(says, log, batch).await;
    says.equal("outcomes", outcomes.len(), 3);
    let held = read_all(says, log).await;
    says.equal("the first", &acknowledged(says, &held, &outcomes[0]).value[..], b"1");
    says.equal("the last", &acknowledged(says, &held, &outcomes[2]).value[..], b"2");
    let kind = outcomes[1].as_ref().map_err(crate::Error::kind).copied();
    says.equal("the refused record", kind, Err(ErrorKind::Invalid));
    says.equal("records held", held.values().map(Vec::len).sum::<usize>(), 2);
}

async fn what_was_acknowledged_survives(log: &mut impl LogHarness) {
    let says = Sentence("`Ok` means that the record is durable");
    send(says, log, "a", &["1", "2", "3"]).await;
    let before = read_all(says, log).await;
    if !log.reopen().await {
        return;
    }
    says.equal("log", read_all(says, log).await, before.clone());
    let position = send(says, log, "a", &["4"]).await[0];
    let says = Sentence("every position is acknowledged once");
    let last = before[&position.partition].last().map(|r| r.offset + 1);
    says.holds(Some(position.offset) > last, format_args!("{position} after {last:?}"));
}
