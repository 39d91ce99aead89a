//! The settings of a gateway, and the parts that are built from them.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::LocalRateLimiter;
use feedkit_core::{Error, EventPolicy, RateLimiter, Result};
use feedkit_http::jwt::{self, FileJwks, JwksSource, JwtKeys, JwtRules, JwtVerifier};
use feedkit_http::parts::Limits;
use feedkit_http::{GatewayOptions, LiveOptions};
use ipnet::IpNet;

use crate::settings::{ByteSize, Secret, choice};

crate::settings! {
    /// The address of the server, and how much each client may write.
    pub struct FrontSection in "" {
        /// The address to listen on, `HOST:PORT`. With port 0, the system picks a free port.
        listen: std::net::SocketAddr = std::net::SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Maximum number of events per minute from one user, and from one client address; 0 means
        /// no limit. A batch of n events counts as n. A token with the scope `events:write:any` may
        /// write a thousand times as many.
        rate_limit: u32 = 100,
    }
}

crate::settings! {
    /// Limits of requests and connections.
    pub struct GatewaySection in "gateway" {
        /// Maximum size of a request's body, as sent and after decompression.
        max_body_bytes: ByteSize = GatewayOptions::default().max_body_bytes.into(),
        /// Maximum size of a batch's body, as sent and after decompression.
        max_batch_bytes: ByteSize = GatewayOptions::default().max_batch_bytes.into(),
        /// Maximum size of all incomplete bodies in memory, without the first 64 KiB of each.
        /// Beyond it, requests get status 503.
        max_buffered_bytes: ByteSize = GatewayOptions::default().max_buffered_bytes.into(),
        /// Maximum number of events in one batch.
        max_batch_events: usize = GatewayOptions::default().max_batch_events,
        /// Maximum number of events that wait for the log at the same time. Beyond it, requests get
        /// status 503.
        max_in_flight: usize = GatewayOptions::default().max_in_flight,
        /// How long the head of a request may take to arrive.
        header_timeout: Duration = GatewayOptions::default().header_timeout,
        /// How long the body of a request may take to arrive.
        body_timeout: Duration = GatewayOptions::default().body_timeout,
        /// How long the log may take to acknowledge events, and how long a store may take to
        /// answer.
        answer_timeout: Duration = GatewayOptions::default().answer_timeout,
        /// Maximum number of open connections. Further connections wait to be accepted.
        max_connections: usize = GatewayOptions::default().max_connections,
        /// Proxies whose `X-Forwarded-For` header is trusted: networks such as 10.0.0.0/8, or
        /// addresses.
        trusted_proxies: Vec<IpNet> = GatewayOptions::default().trusted_proxies,
        /// Whether reads need a token. (`me`, alerts and sockets always need one.)
        reads_need_token: bool = GatewayOptions::default().reads_need_token,
        /// Origins, such as `https://feed.example`, from which browsers may open sockets. The
        /// server's own origin is always allowed.
        origins: Vec<String> = GatewayOptions::default().origins.into_iter().collect(),
        /// How long a request with `after=POSITION` waits until that write is visible.
        after_deadline: Duration = GatewayOptions::default().after_deadline,
        /// How long answers from the history are cached.
        cache_ttl: Duration = GatewayOptions::default().cache_ttl,
        /// How long a stopping server still accepts connections while it reports that it is not
        /// ready. Load balancers need this time to notice.
        drain: Duration = GatewayOptions::default().drain,
        /// How long stopping may take in total.
        shutdown_deadline: Duration = GatewayOptions::default().shutdown_deadline,
    }
}

crate::settings! {
    /// Limits of WebSockets and event streams.
    pub struct LiveSection in "gateway.live" as "live_" {
        /// How long a client may take to authenticate on a socket.
        auth_timeout: Duration = LiveOptions::default().auth_timeout,
        /// How long a socket may be silent before the server pings it. The server closes the socket
        /// if it stays silent for twice as long.
        ping_every: Duration = LiveOptions::default().ping_every,
        /// Maximum size of the notifications that wait for clients, in the window that all clients
        /// share. A client that needs one that has left the window is closed with code 4009. The
        /// answers to single clients may take as much again.
        window_bytes: ByteSize = LiveOptions::default().window_bytes.into(),
        /// How long a client may read nothing while frames wait for it. After that, it is closed
        /// with code 4009.
        stall_timeout: Duration = LiveOptions::default().stall_timeout,
        /// Maximum size of the answers and counts that wait to be sent to one client. Beyond it,
        /// the socket is closed with code 4009.
        max_client_bytes: ByteSize = LiveOptions::default().max_client_bytes.into(),
        /// Maximum size of one frame from a client.
        max_frame_bytes: ByteSize = LiveOptions::default().max_frame_bytes.into(),
        /// Maximum number of channels per client.
        max_channels: usize = LiveOptions::default().max_channels,
        /// Maximum number of frames from one client within ten seconds. Beyond it, the socket is
        /// closed with code 4029.
        max_frames: u32 = LiveOptions::default().max_frames,
        /// Maximum number of open sockets and event streams. Beyond it, a new one gets status 503,
        /// or is closed with code 4029.
        max_clients: usize = LiveOptions::default().max_clients,
        /// Maximum number of sockets and event streams per user. Beyond it, a new one is closed
        /// with code 4029.
        max_clients_of_user: usize = LiveOptions::default().max_clients_of_user,
        /// How many notifications are kept in memory for recovery. Older ones are read from the
        /// log.
        tail: usize = LiveOptions::default().tail,
        /// Maximum number of notifications that one recovery reads. If a client missed more,
        /// `recovered` is false.
        max_recovery: usize = LiveOptions::default().max_recovery,
        /// How often the server sends counts that have changed.
        counts_every: Duration = LiveOptions::default().counts_every,
    }
}

choice! {
    /// How tokens are signed.
    pub enum Algorithm {
        /// With a shared secret.
        Hs256 = "HS256",
        /// With an RSA key.
        Rs256 = "RS256",
        /// With a key on the curve P-256.
        Es256 = "ES256",
        /// With an Ed25519 key.
        EdDsa = "EdDSA",
    }
}

crate::settings! {
    /// The tokens that are accepted.
    pub struct JwtSection in "jwt" as "jwt_" {
        /// The only accepted algorithm: `HS256` (a shared secret), `RS256`, `ES256` or `EdDSA` (a
        /// public key).
        algorithm: Algorithm = Algorithm::Hs256,
        /// The file with the shared secret of HS256. The secret is the bytes of the file, without
        /// one newline at the end. It needs at least 32 bytes.
        secret: Option<Secret> = None,
        /// The file with the public key, in PEM format.
        public_key_file: Option<PathBuf> = None,
        /// The file with several public keys, as a JSON Web Key Set. A token's `kid` selects one.
        jwks_file: Option<PathBuf> = None,
        /// The URL of such a set, `https://…`. It is fetched again when keys rotate. Only for
        /// `feedkit-gateway`.
        jwks_url: Option<String> = None,
        /// The audience that a token's `aud` must name. If this is not set, `aud` is ignored.
        audience: Option<String> = None,
        /// The issuer that a token's `iss` must be. If this is not set, `iss` is ignored.
        issuer: Option<String> = None,
        /// How far clocks may differ when `exp` and `nbf` are checked.
        leeway: Duration = Duration::from_secs(5),
    }
}

/// A gateway's settings. It accepts the events that `events` allows.
pub fn settings(gateway: &GatewaySection, live: &LiveSection, events: EventPolicy) -> GatewayOptions {
    let mut settings = GatewayOptions::default();
    let GatewaySection {
        max_body_bytes,
        max_batch_bytes,
        max_buffered_bytes,
        max_batch_events,
        max_in_flight,
        header_timeout,
        body_timeout,
        answer_timeout,
        max_connections,
        trusted_proxies,
        reads_need_token,
        origins,
        after_deadline,
        cache_ttl,
        drain,
        shutdown_deadline,
    } = gateway.clone();
    settings.events = events;
    settings.max_body_bytes = max_body_bytes.as_usize();
    settings.max_batch_bytes = max_batch_bytes.as_usize();
    settings.max_buffered_bytes = max_buffered_bytes.as_usize();
    settings.max_batch_events = max_batch_events;
    settings.max_in_flight = max_in_flight;
    settings.header_timeout = header_timeout;
    settings.body_timeout = body_timeout;
    settings.answer_timeout = answer_timeout;
    settings.max_connections = max_connections;
    settings.trusted_proxies = trusted_proxies;
    settings.reads_need_token = reads_need_token;
    settings.origins = origins.into_iter().collect();
    settings.after_deadline = after_deadline;
    settings.cache_ttl = cache_ttl;
    settings.drain = drain;
    settings.shutdown_deadline = shutdown_deadline;
    settings.live = live_settings(live);
    settings
}

fn live_settings(section: &LiveSection) -> LiveOptions {
    let mut live = LiveOptions::default();
    live.auth_timeout = section.auth_timeout;
    live.ping_every = section.ping_every;
    live.window_bytes = section.window_bytes.as_usize();
    live.stall_timeout = section.stall_timeout;
    live.max_client_bytes = section.max_client_bytes.as_usize();
    live.max_frame_bytes = section.max_frame_bytes.as_usize();
    live.max_channels = section.max_channels;
    live.max_frames = section.max_frames;
    live.max_clients = section.max_clients;
    live.max_clients_of_user = section.max_clients_of_user;
    live.tail = section.tail;
    live.max_recovery = section.max_recovery;
    live.counts_every = section.counts_every;
    live
}

/// How many times the limit a client may write that writes for every user.
pub const WRITE_ANY_FACTOR: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");

/// Limiters for this process only, with `a_minute` for each key. There is no limit if that is 0.
#[derive(Clone, Default)]
pub struct LocalLimits {
    user: Option<Arc<LocalRateLimiter>>,
    address: Option<Arc<LocalRateLimiter>>,
    write_any: Option<Arc<LocalRateLimiter>>,
}

impl LocalLimits {
    /// The limiters, each with a full allowance for every key.
    pub fn new(a_minute: u32) -> Result<Self> {
        let Some(limit) = NonZeroU32::new(a_minute) else { return Ok(Self::default()) };
        let limiter = |limit| LocalRateLimiter::new(limit, Duration::from_secs(60)).map(Arc::new).map(Some);
        let many = limit.saturating_mul(WRITE_ANY_FACTOR);
        Ok(LocalLimits { user: limiter(limit)?, address: limiter(limit)?, write_any: limiter(many)? })
    }

    /// The same, as a gateway takes them.
    pub fn limits(&self) -> Limits {
        let shared = |limiter: &Option<Arc<LocalRateLimiter>>| {
            limiter.clone().map(|limiter| limiter as Arc<dyn RateLimiter>)
        };
        Limits {
            user: shared(&self.user),
            address: shared(&self.address),
            write_any: shared(&self.write_any),
            ..Limits::default()
        }
    }

    /// Forgets the keys that have their full allowance again. Call it from time to time; otherwise
    /// memory grows with every key.
    pub fn forget_idle(&self) {
        for limiter in [&self.user, &self.address, &self.write_any].into_iter().flatten() {
            limiter.forget_idle();
        }
    }
}

/// Verifies tokens as configured, with `secret` if the algorithm is HS256. `fetched` creates the
/// source of keys for a URL.
///
/// # Errors
///
/// [`Invalid`](feedkit_core::ErrorKind::Invalid) if a key file cannot be read or does not fit the
/// algorithm. The error names the setting.
pub fn verifier(
    jwt: &JwtSection,
    secret: Option<&Secret>,
    fetched: impl FnOnce(&str) -> Result<Arc<dyn JwksSource>>,
) -> Result<JwtVerifier> {
    let read = |key: &str, path: &Path| {
        std::fs::read(path).map_err(|e| Error::invalid(format!("{key}: {}: {e}", path.display())))
    };
    let keys = match (jwt.algorithm, secret, &jwt.public_key_file, &jwt.jwks_file, &jwt.jwks_url) {
        (Algorithm::Hs256, Some(secret), None, None, None) => JwtKeys::Secret(secret.bytes().to_vec()),
        (Algorithm::Hs256, None, None, None, None) => {
            return Err(Error::invalid("jwt.algorithm is HS256, but jwt.secret_file is not set"));
        }
        (Algorithm::Hs256, ..) => {
            return Err(Error::invalid("jwt.algorithm is HS256, which needs a secret and no public keys"));
        }
        (_, _, Some(key), None, None) => JwtKeys::PublicKey(read("jwt.public_key_file", key)?),
        // If the file is replaced, it is read again.
        (_, _, None, Some(path), None) => {
            read("jwt.jwks_file", path)?;
            JwtKeys::Source(Arc::new(FileJwks::new(path)))
        }
        (_, _, None, None, Some(url)) => JwtKeys::Source(fetched(url)?),
        _ => {
            return Err(Error::invalid(
                "jwt.algorithm needs public keys: set one of jwt.public_key_file, jwt.jwks_file, jwt.jwks_url",
            ));
        }
    };
    let mut rules = JwtRules::new(match jwt.algorithm {
        Algorithm::Hs256 => jwt::Algorithm::Hs256,
        Algorithm::Rs256 => jwt::Algorithm::Rs256,
        Algorithm::Es256 => jwt::Algorithm::Es256,
        Algorithm::EdDsa => jwt::Algorithm::EdDsa,
    });
    rules.issuer.clone_from(&jwt.issuer);
    rules.audience.clone_from(&jwt.audience);
    rules.leeway = jwt.leeway;
    JwtVerifier::new(keys, rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{File, Layers, Sections};

    type All = (FrontSection, GatewaySection, LiveSection, JwtSection);

    fn loaded(text: &str) -> Result<All, crate::Failure> {
        let file = File::parse("gateway.toml".as_ref(), text)?;
        All::load(&Layers::new::<All>(&[], Default::default(), |_| None, Some(file))?)
    }

    #[test]
    fn the_defaults_are_the_gateways_own() {
        let (_, gateway, live, _) = loaded("").unwrap();
        let made = settings(&gateway, &live, EventPolicy::default());
        assert_eq!(format!("{made:?}"), format!("{:?}", GatewayOptions::default()));
    }

    /// Each field of the gateway's settings can be set, and each key sets one.
    #[test]
    fn every_key_arrives() {
        let mut text = String::new();
        for (table, _, keys) in <(GatewaySection, LiveSection)>::described() {
            text.push_str(&format!("[{table}]\n"));
            for key in keys {
                let value = match key.kind {
                    "size" | "number" => "7",
                    "duration" => "\"7s\"",
                    "switch" => "true",
                    "list" if key.name == "origins" => "[\"https://a.example\"]",
                    "list" => "[\"10.0.0.0/8\", \"::1\"]",
                    other => panic!("{other}"),
                };
                text.push_str(&format!("{} = {value}\n", key.name));
            }
        }
        let (_, gateway, live, _) = loaded(&text).unwrap();
        let made = format!("{:#?}", settings(&gateway, &live, EventPolicy::default()));
        let usual = format!("{:#?}", GatewayOptions::default());
        let after_events = |text: &str| text.split_once("max_body_bytes").unwrap().1.to_owned();
        let (made, usual) = (after_events(&made), after_events(&usual));
        let set: std::collections::BTreeSet<_> = made.lines().filter(|line| line.contains(": ")).collect();
        for line in usual.lines().filter(|line| line.contains(": ") && !line.ends_with('{')) {
            assert!(!set.contains(line), "{line} was not set");
        }
    }

    #[test]
    fn limits_are_a_minutes_and_none_at_nought() {
        let none = LocalLimits::new(0).unwrap().limits();
        assert!(none.user.is_none() && none.address.is_none() && none.write_any.is_none());
        assert!(LocalLimits::new(u32::MAX).unwrap().limits().write_any.is_some());
    }
}
