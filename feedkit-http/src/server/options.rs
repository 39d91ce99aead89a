//! The limits of a server.

use std::time::Duration;

/// The limits of a [`Server`](super::Server).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Maximum number of open connections; more wait to be accepted. Default: 10,000.
    pub max_connections: usize,
    /// How long a request's head may take to arrive, how long a connection without requests is
    /// kept, and how long a client may take nothing of an answer. Default: 10 s.
    pub header_timeout: Duration,
    /// How long requests under way may take when the server stops. Default: 10 s.
    pub shutdown_deadline: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(10),
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}
