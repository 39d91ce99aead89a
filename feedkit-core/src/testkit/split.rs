//! Seeded traffic as records in four partitions, the batches decoded from them, and a model of
//! them.

use super::Model;
use crate::codec::{Codec, JsonCodec, Place};
use crate::effect::{LikePolicy, LoggedEvent};
use crate::history::{CommitBatch, Rejected};
use crate::source::Record;
use crate::traffic::TrafficOptions;
use crate::{Epoch, Offset, Partition};

/// The log that the records belong to.
pub const LOG: u128 = 7;

/// Returns the records of the traffic in four partitions, divided by user.
pub fn partitions(config: &TrafficOptions) -> Vec<Vec<Record>> {
    let mut partitions = vec![Vec::new(); 4];
    for item in config.traffic() {
        let hash: usize = item.key.bytes().map(usize::from).sum();
        let records = &mut partitions[hash % 4];
        let offset = records.len() as Offset;
        records.push(Record { offset, time: item.time, key: None, value: item.value });
    }
    partitions
}

/// Returns a model that was fed all records.
pub fn model(partitions: &[Vec<Record>], policy: LikePolicy) -> Model {
    let mut model = Model::new(JsonCodec::default(), LOG).with_like_policy(policy);
    for (p, records) in (0..).zip(partitions) {
        records.iter().for_each(|r| model.feed(Partition(p), r));
    }
    model
}

/// Creates a batch of `records` that begins at `from`.
///
/// # Panics
///
/// Panics if there is no record.
pub fn batch(partition: Partition, epoch: Epoch, from: Offset, records: &[Record]) -> CommitBatch {
    let place = Place { log: LOG, partition };
    let (mut events, mut rejected) = (Vec::new(), Vec::new());
    for record in records {
        match JsonCodec::default().decode(&place, record) {
            Ok(event) => events.push(LoggedEvent { offset: record.offset, event }),
            Err(fault) => rejected.push(Rejected::new(record, fault)),
        }
    }
    let last = records.last().expect("a batch has a record");
    let (to, now, last) = (last.offset + 1, last.time, Some(last.mark()));
    CommitBatch { partition, epoch, log: LOG, from, to, at_end: false, events, rejected, last, now }
}
