//! The settings of a gateway, and what is made of them.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use feedkit_core::access::LocalRateLimiter;
use feedkit_core::{Error, EventPolicy, RateLimiter, Result};
use feedkit_http::jwt::{self, FileJwks, JwksSource, JwtKeys, JwtRules, JwtVerifier};
use feedkit_http::parts::Limits;
use feedkit_http::settings::{LiveSettings, Settings};
use ipnet::IpNet;

use crate::settings::{ByteSize, Secret, choice};

crate::settings! {
    /// Where requests are taken, and how many.
    pub struct FrontSection in "" {
        /// Where to listen. Port 0 takes any that is free.
        listen: std::net::SocketAddr = std::net::SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Events that a user, and a client address, may write a minute; 0 is without limit.
        /// A batch of n costs n. Who has the scope `events:write:any` may write a thousand times as many.
        rate_limit: u32 = 100,
    }
}

crate::settings! {
    /// Bounds of requests and connections.
    pub struct GatewaySection in "gateway" {
        /// Bytes of one request's body, on the wire and again when decompressed.
        max_body_bytes: ByteSize = Settings::default().max_body_bytes.into(),
        /// Bytes of a batch's body, on the wire and again when decompressed.
        max_batch_bytes: ByteSize = Settings::default().max_batch_bytes.into(),
        /// Bytes of all bodies that wait in memory for their rest, beyond the first 64 KiB of each; beyond, the answer is
        /// 503.
        max_buffered_bytes: ByteSize = Settings::default().max_buffered_bytes.into(),
        /// Events of one batch.
        max_batch_events: usize = Settings::default().max_batch_events,
        /// Events that wait for the log at the same time; beyond, the answer is 503.
        max_in_flight: usize = Settings::default().max_in_flight,
        /// How long a request's head may take to arrive.
        header_timeout: Duration = Settings::default().header_timeout,
        /// How long a body may take to arrive.
        body_timeout: Duration = Settings::default().body_timeout,
        /// How long the log's acknowledgement, or a store's answer, may take.
        answer_timeout: Duration = Settings::default().answer_timeout,
        /// Connections at the same time; those beyond wait to be accepted.
        max_connections: usize = Settings::default().max_connections,
        /// Proxies whose `X-Forwarded-For` is believed: networks such as 10.0.0.0/8, or addresses.
        trusted_proxies: Vec<IpNet> = Settings::default().trusted_proxies,
        /// Whether reads need a token. (`me`, alerts and sockets always do.)
        reads_need_token: bool = Settings::default().reads_need_token,
        /// Origins, such as `https://feed.example`, that browsers may open sockets from, besides the server's own.
        origins: Vec<String> = Settings::default().origins.into_iter().collect(),
        /// How long `after=POSITION` waits for a write to be visible.
        after_deadline: Duration = Settings::default().after_deadline,
        /// How long historical answers are kept.
        cache_ttl: Duration = Settings::default().cache_ttl,
        /// How long a server that stops stays unready before it accepts no more, for load balancers to notice.
        drain: Duration = Settings::default().drain,
        /// How long it may take to stop in all.
        shutdown_deadline: Duration = Settings::default().shutdown_deadline,
    }
}

crate::settings! {
    /// Bounds of WebSockets and event streams.
    pub struct LiveSection in "gateway.live" as "live_" {
        /// How long a socket may take to authenticate.
        auth_timeout: Duration = LiveSettings::default().auth_timeout,
        /// How often a silent socket is pinged; one that answers nothing for twice as long is closed.
        ping_every: Duration = LiveSettings::default().ping_every,
        /// Bytes that wait to be sent to one client; beyond, it is closed with 4009.
        max_client_bytes: ByteSize = LiveSettings::default().max_client_bytes.into(),
        /// Bytes of one frame from a client.
        max_frame_bytes: ByteSize = LiveSettings::default().max_frame_bytes.into(),
        /// Channels of one client.
        max_channels: usize = LiveSettings::default().max_channels,
        /// Frames a client may send within ten seconds; beyond, it is closed with 4029.
        max_frames: u32 = LiveSettings::default().max_frames,
        /// Sockets and streams at the same time; beyond, the answer is 503 or 4029.
        max_clients: usize = LiveSettings::default().max_clients,
        /// Sockets and streams of one user; beyond, 4029.
        max_clients_of_user: usize = LiveSettings::default().max_clients_of_user,
        /// Notifications kept in memory for recovery; what is older is read from the log.
        tail: usize = LiveSettings::default().tail,
        /// Notifications that a recovery reads at most; beyond, `recovered` is false.
        max_recovery: usize = LiveSettings::default().max_recovery,
        /// How often changed counts are sent.
        counts_every: Duration = LiveSettings::default().counts_every,
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
    /// Which tokens are believed.
    pub struct JwtSection in "jwt" as "jwt_" {
        /// The one algorithm that is accepted: `HS256` (a shared secret), `RS256`, `ES256` or `EdDSA` (a public key).
        algorithm: Algorithm = Algorithm::Hs256,
        /// The file with the shared secret of HS256: its raw bytes, less one newline at the end; at least 32.
        secret: Option<Secret> = None,
        /// The file with the public key, PEM.
        public_key_file: Option<PathBuf> = None,
        /// The file with several public keys, a JSON Web Key Set; a token's `kid` picks one.
        jwks_file: Option<PathBuf> = None,
        /// Where such a set is fetched from, `https://…`; fetched again as keys rotate. For `feedkit-gateway`.
        jwks_url: Option<String> = None,
        /// The audience that a token's `aud` must name. Unset, `aud` is not looked at.
        audience: Option<String> = None,
        /// The issuer that a token's `iss` must be. Unset, `iss` is not looked at.
        issuer: Option<String> = None,
        /// By how much clocks may differ when `exp` and `nbf` are checked.
        leeway: Duration = Duration::from_secs(5),
    }
}

/// A gateway's settings, taking the events that `events` lets in.
pub fn settings(gateway: &GatewaySection, live: &LiveSection, events: EventPolicy) -> Settings {
    let mut settings = Settings::default();
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

fn live_settings(section: &LiveSection) -> LiveSettings {
    let mut live = LiveSettings::default();
    live.auth_timeout = section.auth_timeout;
    live.ping_every = section.ping_every;
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

/// How many times as much those may write who write for everybody.
pub const WRITE_ANY_FACTOR: NonZeroU32 = NonZeroU32::new(1000).expect("it is not 0");

/// Limiters of this process alone, `a_minute` for each key; none when that is 0.
#[derive(Clone, Default)]
pub struct LocalLimits {
    user: Option<Arc<LocalRateLimiter>>,
    address: Option<Arc<LocalRateLimiter>>,
    write_any: Option<Arc<LocalRateLimiter>>,
}

impl LocalLimits {
    /// Each limiter, with a full allowance for everybody.
    pub fn new(a_minute: u32) -> Result<Self> {
        let Some(limit) = NonZeroU32::new(a_minute) else { return Ok(Self::default()) };
        let limiter = |limit| LocalRateLimiter::new(limit, Duration::from_secs(60)).map(Arc::new).map(Some);
        let many = limit.saturating_mul(WRITE_ANY_FACTOR);
        Ok(LocalLimits { user: limiter(limit)?, address: limiter(limit)?, write_any: limiter(many)? })
    }

    /// The same for a gateway.
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

    /// Forgets who has all the allowance back. To be called now and then: else memory grows with every key.
    pub fn forget_idle(&self) {
        for limiter in [&self.user, &self.address, &self.write_any].into_iter().flatten() {
            limiter.forget_idle();
        }
    }
}

/// Believes tokens as configured; those of HS256 when they are signed with `secret`. `fetched` makes of a URL what keys
/// are fetched with.
///
/// # Errors
///
/// [`Invalid`](feedkit_core::ErrorKind::Invalid), naming the key: keys that do not belong to the algorithm, or cannot
/// be read.
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
            return Err(Error::invalid("jwt.algorithm is HS256, and there is no jwt.secret_file"));
        }
        (Algorithm::Hs256, ..) => {
            return Err(Error::invalid("jwt.algorithm is HS256, which takes a secret and no public keys"));
        }
        (_, _, Some(key), None, None) => JwtKeys::PublicKey(read("jwt.public_key_file", key)?),
        // A file that is replaced is read again.
        (_, _, None, Some(path), None) => {
            read("jwt.jwks_file", path)?;
            JwtKeys::Source(Arc::new(FileJwks::new(path)))
        }
        (_, _, None, None, Some(url)) => JwtKeys::Source(fetched(url)?),
        _ => {
            return Err(Error::invalid(
                "jwt.algorithm takes public keys: set one of jwt.public_key_file, jwt.jwks_file, jwt.jwks_url",
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
        assert_eq!(format!("{made:?}"), format!("{:?}", Settings::default()));
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
        let usual = format!("{:#?}", Settings::default());
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
