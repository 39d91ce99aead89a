//! A gateway's bounds. Each has a default that is safe.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;

use feedkit_core::EventPolicy;

/// A gateway's options.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GatewayOptions {
    /// Which events are taken: kinds, skew, horizon.
    pub events: EventPolicy,
    /// Bytes of one request's body, on the wire and again when decompressed.
    pub max_body_bytes: usize,
    /// Bytes of a batch's body, on the wire and again when decompressed.
    pub max_batch_bytes: usize,
    /// Bytes of all bodies that wait in memory for their rest, beyond the first 64 KiB of each; beyond, 503.
    pub max_buffered_bytes: usize,
    /// Events of one batch.
    pub max_batch_events: usize,
    /// Events that wait for the log at the same time, at least a whole batch; beyond, 503.
    pub max_in_flight: usize,
    /// How long a request's head may take to arrive, and a connection without requests is kept.
    pub header_timeout: Duration,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long an acknowledgement of the log, or an answer of a store, may take.
    pub answer_timeout: Duration,
    /// Connections at the same time; those beyond wait to be accepted.
    pub max_connections: usize,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether reads need a token. (`me`, alerts and sockets always do.)
    pub reads_need_token: bool,
    /// Origins, such as `https://feed.example`, that browsers may open sockets from, besides the gateway's own host.
    pub origins: BTreeSet<String>,
    /// How long `after=POSITION` waits.
    pub after_deadline: Duration,
    /// How long historical answers are kept.
    pub cache_ttl: Duration,
    /// Bounds of sockets and streams.
    pub live: LiveOptions,
    /// How long a gateway that stops stays unready before it accepts no more, for load balancers to notice.
    pub drain: Duration,
    /// How long it may take to stop in all.
    pub shutdown_deadline: Duration,
}

/// Bounds of WebSockets and event streams.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LiveOptions {
    /// How long a socket may take to authenticate.
    pub auth_timeout: Duration,
    /// How often a silent socket is pinged; one that answers nothing for twice as long is closed.
    pub ping_every: Duration,
    /// Bytes that wait to be sent to one client; beyond, 4009.
    pub max_client_bytes: usize,
    /// Bytes of one frame from a client.
    pub max_frame_bytes: usize,
    /// Channels of one client.
    pub max_channels: usize,
    /// Frames a client may send within ten seconds; beyond, 4029.
    pub max_frames: u32,
    /// Sockets and streams at the same time; beyond, 503 or 4029.
    pub max_clients: usize,
    /// Sockets and streams of one user; beyond, 4029.
    pub max_clients_of_user: usize,
    /// Notifications kept in memory for recovery; what is older is read from the log.
    pub tail: usize,
    /// Notifications that a recovery reads at most; beyond, `recovered` is false.
    pub max_recovery: usize,
    /// How often changed counts are sent.
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
