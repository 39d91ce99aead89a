//! Files of JSON lines: one event per line, in the wire form.
//!
//! There are two ways to read such a file:
//!
//! - [`JsonLinesSource`] is an [`EventSource`](crate::EventSource). It presents the file as a log
//!   with one partition, and a pipeline reads the events from the file itself.
//! - [`Replay`] sends the lines into an [`EventSink`](crate::EventSink), as if the events happened
//!   now. It gives an id to each line without one. The id follows from the file's name, the line's
//!   number and its bytes. Sending a file again therefore adds nothing, and two equal lines of one
//!   file remain two events. A line without a time gets the time of the line before plus one
//!   millisecond. A line that is not a valid event is sent unchanged, and the pipeline rejects it
//!   with a reason.

mod file;
mod lines;
mod record;
mod replay;
mod source;

pub use record::Origin;
pub use replay::{Progress, Replay, Replayed, Speed};
pub use source::JsonLinesSource;
