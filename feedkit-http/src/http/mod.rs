//! What every request goes through, how events come in, and the server.
//!
//! | module | what is in it |
//! |---|---|
//! | `routes`, `paths` | which endpoint answers which path |
//! | `outermost` | what every answer gets: a request id, a problem instead of an error, headers, a log line, counts |
//! | `caller` | who asks: request id, client address, and later the user |
//! | `identify` | who sends the request, by its token |
//! | `admission`, `allowance` | rate limits, and how many events wait for the log at once |
//! | `body` | a body's bytes, within bounds, unpacked |
//! | `decode` | from a body to events |
//! | `events`, `batch` | the two ways in |
//! | `probes` | health and metrics |

mod access_log;
mod admission;
mod allowance;
mod batch;
mod body;
mod caller;
mod decode;
mod events;
mod identify;
mod metrics;
mod outermost;
mod paths;
mod probes;
mod routes;

pub(crate) use caller::Caller;
pub(crate) use metrics::Metrics;
pub(crate) use outermost::Outermost;
pub(crate) use routes::routes;
