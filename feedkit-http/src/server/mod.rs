//! A server with bounded connections, which needs no gateway.
//!
//! | file | what it contains |
//! |---|---|
//! | `server` | accepts connections, and ends them in order |
//! | `options` | the limits |
//! | `connection` | serves one connection, and ends it when it is quiet or stuck |
//! | `streams` | the tasks of HTTP/2 streams |
//! | `watched` | a socket that counts what moves on it |
//! | `metrics` | connections, and errors of accepting them |

mod connection;
mod metrics;
mod options;
#[expect(clippy::module_inception, reason = "it contains the type of this name")]
mod server;
mod streams;
mod watched;

pub(crate) use metrics::ServerMetrics;
pub use options::ServerOptions;
pub use server::Server;
