//! The fan-out: notifications and counts pushed to WebSockets and to streams of server-sent events.
//!
//! One reader follows the notifications' log for all clients. It keeps the last of them in memory, and puts each
//! into the outboxes of those who listen. A client that comes back with a cursor gets what it missed from that
//! memory, else from the log.
//!
//! | file | what is in it |
//! |---|---|
//! | `run` | drives the reader and the counts |
//! | `hub` | what all clients share |
//! | `reader` | follows the log |
//! | `registry` | how far the reader is, and who listens to what: one lock, so that nothing falls between |
//! | `tail` | the last notifications |
//! | `recovery` | reads what was missed from the log |
//! | `subscriptions` | one client's channels |
//! | `catch_up` | brings a client that comes back with a cursor up to what is live |
//! | `outbox` | what waits to be sent to one client |
//! | `board` | the last counts, and who listens to them |
//! | `counts` | reads counts, and hands out what changed |
//! | `socket`, `session` | WebSocket: the upgrade, and the talk after it |
//! | `stream` | server-sent events |
//! | `admission` | how many clients there are |
//! | `frame`, `channel`, `cursor`, `ending` | what is said on the wire |

mod admission;
mod board;
mod catch_up;
mod channel;
mod counts;
mod cursor;
mod ending;
mod frame;
mod hub;
mod metrics;
mod origin;
mod outbox;
mod reader;
mod recovery;
mod registry;
mod routes;
mod run;
mod session;
mod socket;
mod stream;
mod subscriptions;
mod tail;

pub(crate) use hub::Hub;
pub(crate) use routes::routes;
pub(crate) use run::run;
