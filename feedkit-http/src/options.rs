//! The limits of a gateway. Each has a safe default.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use feedkit_core::EventPolicy;

/// The options of a gateway.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// Which events are accepted: kinds, clock skew, horizon.
    pub events: EventPolicy,
    /// Maximum size of a request's body in bytes, before and after decompression. Default: 256 KiB.
    pub max_body_bytes: usize,
    /// Maximum size of a batch's body in bytes, before and after decompression. Default: 4 MiB.
    pub max_batch_bytes: usize,
    /// Maximum size in bytes of all incomplete bodies in memory, without the first 64 KiB of each.
    /// More get a 503. Default: 128 MiB.
    pub max_buffered_bytes: usize,
    /// Maximum number of events in one batch. Default: 1,000.
    pub max_batch_events: usize,
    /// Maximum number of events that wait for the log at the same time, at least a whole batch.
    /// More get a 503. Default: 20,000.
    pub max_in_flight: usize,
    /// How long a request's head may take to arrive, and how long a connection without requests is
    /// kept. Default: 10 s.
    pub header_timeout: Duration,
    /// How long a request's body may take to arrive. Default: 30 s.
    pub body_timeout: Duration,
    /// How long the log may take to acknowledge, and a store to answer. Default: 5 s.
    pub answer_timeout: Duration,
    /// Maximum number of open connections. More wait to be accepted. Default: 10,000.
    pub max_connections: usize,
    /// Proxies whose `X-Forwarded-For` is trusted. Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether reads need a token. (`me`, alerts and sockets always need one.) Default: no.
    pub reads_need_token: bool,
    /// Origins, such as `https://feed.example`, whose pages may open sockets. Pages of the
    /// gateway's own host always may.
    pub origins: BTreeSet<String>,
    /// How long a read with `after=POSITION` waits for that write. Default: 5 s.
    pub after_deadline: Duration,
    /// How long historical answers are cached. Default: 2 s.
    pub cache_ttl: Duration,
    /// The limits of sockets and streams.
    pub live: LiveOptions,
    /// How long a stopping gateway still accepts connections while it reports that it is not ready.
    /// Load balancers need this time to notice. Default: 0.
    pub drain: Duration,
    /// How long the gateway may take to stop. Default: 10 s.
    pub shutdown_deadline: Duration,
}

/// The limits of WebSockets and event streams.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LiveOptions {
    /// How long a socket may take to authenticate. Default: 10 s.
    pub auth_timeout: Duration,
    /// How often a silent socket is pinged. A socket that is silent for twice as long is closed.
    /// Default: 20 s.
    pub ping_every: Duration,
    /// Maximum number of bytes of notifications that wait for clients, in the window that all
    /// clients share. A client that still needs a notification that has left the window is closed
    /// with 4009. The answers that wait for single clients may take as much again. Default: 32 MiB.
    pub window_bytes: usize,
    /// How long a client may read nothing while frames wait for it. It is then closed with 4009.
    /// Default: 30 s.
    pub stall_timeout: Duration,
    /// Maximum number of bytes that wait for one client alone: answers and counts. A client with
    /// more is closed with 4009. Default: 256 KiB.
    pub max_client_bytes: usize,
    /// Maximum size of a frame from a client in bytes. Default: 16 KiB.
    pub max_frame_bytes: usize,
    /// Maximum number of channels per client. Default: 100.
    pub max_channels: usize,
    /// Maximum number of frames from a client within ten seconds. A client that sends more is
    /// closed with 4029. Default: 100.
    pub max_frames: u32,
    /// Maximum number of open sockets and streams. More get a 503, or are closed with 4029.
    /// Default: 10,000.
    pub max_clients: usize,
    /// Maximum number of sockets and streams per user. More are closed with 4029. Default: 20.
    pub max_clients_of_user: usize,
    /// How many notifications are kept in memory for recovery. Older ones are read from the log.
    /// Default: 10,000.
    pub tail: usize,
    /// Maximum number of notifications that one recovery reads. With more, `recovered` is false.
    /// Default: 1,000.
    pub max_recovery: usize,
    /// How often changed counts are sent. Default: 250 ms.
    pub counts_every: Duration,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        GatewayOptions {
            events: EventPolicy::default(),
            max_body_bytes: 256 * 1024,
            max_batch_bytes: 4 * 1024 * 1024,
            max_buffered_bytes: 128 * 1024 * 1024,
            max_batch_events: 1000,
            max_in_flight: 20_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(5),
            max_connections: 10_000,
            trusted_proxies: Vec::new(),
            reads_need_token: false,
            origins: BTreeSet::new(),
            after_deadline: Duration::from_secs(5),
            cache_ttl: Duration::from_secs(2),
            live: LiveOptions::default(),
            drain: Duration::ZERO,
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}

impl Default for LiveOptions {
    fn default() -> Self {
        LiveOptions {
            auth_timeout: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
            window_bytes: 32 * 1024 * 1024,
            stall_timeout: Duration::from_secs(30),
            max_client_bytes: 256 * 1024,
            max_frame_bytes: 16 * 1024,
            max_channels: 100,
            max_frames: 100,
            max_clients: 10_000,
            max_clients_of_user: 20,
            tail: 10_000,
            max_recovery: 1000,
            counts_every: Duration::from_millis(250),
        }
    }
}
