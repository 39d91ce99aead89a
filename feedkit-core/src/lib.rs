#![doc = include_str!("../README.md")]

pub mod access;
pub mod alert;
pub mod alert_log;
pub mod alerts;
pub mod backend;
pub mod cache;
pub mod clock;
pub mod codec;
pub mod counters;
pub mod counts;
pub mod effect;
mod error;
mod event;
pub mod failpoint;
pub mod follower;
mod forward;
pub mod health;
pub mod history;
mod id;
pub mod inspect;
pub mod journal;
pub mod json_lines;
pub mod lease;
pub mod memory;
pub mod notification;
pub mod outbox;
pub mod pipeline;
mod position;
pub mod queries;
#[cfg(feature = "schema")]
mod schema;
pub mod sink;
pub mod source;
pub mod supervisor;
mod time;
#[cfg(feature = "traffic")]
pub mod traffic;
pub mod trending;
pub mod wire;

#[cfg(feature = "testkit")]
pub mod testkit;

pub use access::{Authorizer, RateLimiter, TokenVerifier};
pub use alert::AlertRule;
pub use alert_log::AlertLog;
pub use alerts::Alerts;
pub use cache::AnswerCache;
pub use clock::{Clock, SystemClock};
pub use codec::{Codec, EventPolicy, InvalidEvent, JsonCodec};
pub use counters::CounterStore;
pub use counts::Counts;
pub use error::{Error, ErrorKind, Result};
pub use event::{
    Event, EventKind, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES, MAX_KIND_LEN, MAX_TEXT_CHARS,
};
pub use follower::Follower;
pub use health::{Component, Condition, Health};
pub use history::History;
pub use id::{EventId, InvalidEventId, InvalidId, MAX_ID_LEN, PostId, UserId};
pub use inspect::Inspect;
pub use outbox::Outbox;
pub use pipeline::Pipeline;
pub use position::{Epoch, Offset, ParsePositionError, Partition, Position, Positions};
pub use queries::Queries;
pub use sink::EventSink;
pub use source::EventSource;
pub use supervisor::Supervisor;
pub use time::{ParseTimestampError, Timestamp};
