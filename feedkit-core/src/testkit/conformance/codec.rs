//! The suite of codecs.

use bytes::Bytes;

use super::sentence::Sentence;
use crate::codec::{Codec, Place};
use crate::source::Record;
use crate::traffic::TrafficOptions;
use crate::{Offset, Partition};

/// Tries [`Codec`]'s contract with lines of traffic, whole and damaged; a codec of another form refuses most of
/// them. `samples` are bytes of its own form that it must read.
///
/// # Panics
///
/// With the sentence that does not hold, or as the codec does.
pub fn codec(codec: &dyn Codec, samples: &[Bytes]) {
    let config = TrafficOptions::default().count(500).malformed(0.2);
    let place = Place { log: 3, partition: Partition(1) };
    let record =
        |offset, value: &Bytes| Record { offset, time: config.start, key: None, value: value.clone() };
    let says = Sentence("a codec gives the event in a record of its form");
    for (offset, sample) in (0..).zip(samples) {
        let decoded = codec.decode(&place, &record(offset, sample));
        says.holds(decoded.is_ok(), format_args!("{sample:?} gives {decoded:?}"));
    }
    let says = Sentence("the same record at the same place always gives the same event, or the same refusal");
    let lines = config.traffic().map(|item| item.value).chain(samples.iter().cloned());
    for (offset, line) in (0 as Offset..).zip(lines) {
        for (i, damaged) in damaged(&line).into_iter().enumerate() {
            let record = record(offset, &damaged);
            let first = codec.decode(&place, &record);
            says.equal(&format!("damage {i} of {line:?}, again"), codec.decode(&place, &record), first);
        }
    }
}

/// The bytes, cut, and with some of them changed.
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
