//! Files of events, sent into a log as if they happened now.
//!
//! One JSON object a line, in the wire form. A line without an id gets one that follows from the file's name, the
//! line's place and its bytes, so that sending a file again adds nothing, while two equal lines of one file stay
//! two events. A line without a time follows the one before by a millisecond. What is no event is sent as it is,
//! for the pipeline to reject with its reason.

mod line;
mod lines;
mod send;

pub use line::Origin;
pub use lines::{MAX_LINE, NumberedLine, number_lines};
pub use send::{Progress, Replay, Replayed, Speed};
