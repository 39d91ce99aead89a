//! The suite of codecs.

use bytes::Bytes;

use super::sentence::Sentence;
use crate::codec::{Codec, Place};
use crate::source::Record;
use crate::traffic::TrafficOptions;
use crate::{Offset, Partition};

/// Tests the contract of [`Codec`] with lines of traffic, complete and damaged. A codec for another
/// format rejects most of them. `samples` are records in the codec's own format, which it must
/// decode.
///
/// # Panics
///
/// Panics with the sentence of the contract that does not hold, or if the codec panics.
pub fn codec(codec: &dyn Codec, samples: &[Bytes]) {
    let config = TrafficOptions::default().count(500).malformed(0.2);
    let place = Place { log: 3, partition: Partition(1) };
    let record =
        |offset, value: &Bytes| Record { offset, time: config.start, key: None, value: value.clone() };
    let says = Sentence("a codec returns the event in a record of its format");
    for (offset, sample) in (0..).zip(samples) {
        let decoded = codec.decode(&place, &record(offset, sample));
        says.holds(decoded.is_ok(), format_args!("{sample:?} gives {decoded:?}"));
    }
    let says = Sentence("the same record at the same place always gives the same event, or the same error");
    let lines = config.traffic().map(|item| item.value).chain(samples.iter().cloned());
    for (offset, line) in (0 as Offset..).zip(lines) {
        for (i, damaged) in damaged(&line).into_iter().enumerate() {
            let record = record(offset, &damaged);
            let first = codec.decode(&place, &record);
            says.equal(&format!("damage {i} of {line:?}, again"), codec.decode(&place, &record), first);
        }
    }
}

/// Returns the bytes cut off, and with some of them changed.
fn damaged(line: &Bytes) -> Vec<Bytes> {
    let mut all = vec![line.clone(), line.slice(..line.len() / 2), line.slice(line.len() / 3..)];
    for (part, byte) in [(2, 0xff), (3, b'"'), (5, 0), (7, b'\\'), (11, b'{')] {
        let mut bytes = line.to_vec();
        let at = bytes.len() / part;
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        all.push(bytes.into());
    }
    all
}
