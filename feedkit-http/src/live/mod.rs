//! The fan-out: notifications and counts pushed to WebSockets and to streams of server-sent events.
//!
//! One reader follows the notifications topic for all clients. It keeps the last notifications in
//! memory, and appends the frame of each to a window that all clients share. Each client has a
//! position in the window. A client that reconnects with a cursor gets the notifications that it
//! missed from memory, or else from the log.
//!
//! | file | what it contains |
//! |---|---|
//! | `run` | drives the reader and the counts |
//! | `hub` | the state that all clients share |
//! | `reader` | follows the log |
//! | `registry` | the reader's position and the listeners, under one lock |
//! | `tail` | the last notifications |
//! | `recovery` | reads missed notifications from the log |
//! | `subscriptions` | one client's channels |
//! | `catch_up` | subscribes a client, and brings one with a cursor up to the present |
//! | `window` | the last frames that clients wait for, once for all of them |
//! | `outbox` | the position of one client in the window, and its own frames |
//! | `board` | the last counts, and who listens to them |
//! | `counts` | reads counts, and hands out what changed |
//! | `socket`, `session` | WebSocket: the upgrade, and the session after it |
//! | `stream` | server-sent events |
//! | `admission` | the limits of the number of clients |
//! | `frame`, `channel`, `cursor`, `ending` | the forms on the wire |

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
mod tolerance;
mod window;

pub(crate) use hub::Hub;
pub(crate) use routes::routes;
pub(crate) use run::run;
