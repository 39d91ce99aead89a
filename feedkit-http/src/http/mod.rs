//! The path of a request: routes, caller, admission, body, events.
//!
//! | module | what it contains |
//! |---|---|
//! | `routes`, `paths` | the endpoint of each path |
//! | `outermost` | adds to each answer: request id, problem details, headers, log line, metrics |
//! | `caller` | the caller: request id, client address, and later the user |
//! | `identify` | finds the user by the request's token |
//! | `admission`, `allowance` | rate limits, and the limit of events that wait for the log |
//! | `body` | reads and decompresses a body, within limits |
//! | `decode` | decodes a body into events |
//! | `events`, `batch` | the two routes for writes |
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
