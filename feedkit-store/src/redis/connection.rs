//! Connections that come back by themselves.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use feedkit_core::pipeline::Backoff;
use feedkit_core::{Error, Result};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, RedisResult, TlsCertificates,
    Value,
};

use super::failure::{explain, is_lost, is_worth_another_try};
use super::options::RedisOptions;

/// Tries over a new connection when one turns out to be lost.
const RETRIES: usize = 2;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(100) };
/// Calls that wait for their turn to be written; beyond that callers wait.
const QUEUE: usize = 256;

/// All connections to one Redis, or one cluster.
pub(super) struct Connections {
    slots: Vec<Slot>,
    next: AtomicUsize,
    deadline: Duration,
}

/// Which node of a cluster a command is for. A single Redis takes them all.
#[derive(Debug, Clone, Copy)]
pub(super) enum To<'a> {
    /// The master that has this key.
    Key(&'a str),
    /// All masters; the answer is a map by address.
    Masters,
}

/// One connection, or the way there.
struct Slot {
    endpoint: Endpoint,
    current: Mutex<Option<Connecting>>,
    /// When an answer last came, or the connection was made: milliseconds after `started`.
    heard: AtomicU64,
    started: Instant,
    /// A connection on which no answer came for so long, while answers were waited for, is given up. A host that
    /// is gone does not say so; and a cluster's connection (redis 1.8) can lock itself up while a master fails
    /// over, after which it answers nothing any more.
    silence: Duration,
}

/// Whoever waits for a connection drives it on; what all have given up waits for the next.
type Connecting = Shared<BoxFuture<'static, RedisResult<Connection>>>;

#[derive(Clone)]
enum Endpoint {
    Single { client: Client, config: AsyncConnectionConfig, limit: Duration },
    Cluster { client: ClusterClient, limit: Duration },
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connections {
    /// Connects with the first call.
    pub(super) fn new(options: &RedisOptions) -> Result<Self> {
        options.check()?;
        let endpoint = Endpoint::new(options).map_err(|error| explain("redis", error))?;
        // A cluster's connection has one for each node inside.
        let count = if options.cluster { 1 } else { options.connections };
        let slot = || Slot {
            endpoint: endpoint.clone(),
            current: Mutex::default(),
            heard: AtomicU64::new(0),
            started: Instant::now(),
            silence: 2 * options.response_timeout,
        };
        Ok(Connections {
            slots: (0..count).map(|_| slot()).collect(),
            next: AtomicUsize::new(0),
            deadline: options.response_timeout,
        })
    }

    /// Sends a command and waits for its answer, as long as the options say.
    pub(super) async fn send(&self, doing: &str, command: Cmd, to: To<'_>) -> Result<Value> {
        self.send_raw(command, to, self.deadline).await.map_err(|error| explain(doing, error))
    }

    /// The same with Redis's own error, and no longer than `deadline`.
    pub(super) async fn send_raw(&self, command: Cmd, to: To<'_>, deadline: Duration) -> RedisResult<Value> {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()];
        let tries = async {
            let mut waits = BACKOFF.waits();
            for _ in 0..RETRIES {
                match slot.send(&command, to).await {
                    Err(error) if is_worth_another_try(&error) => waits.sleep().await,
                    other => return other,
                }
            }
            slot.send(&command, to).await
        };
        let timed_out = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        let answer = tokio::time::timeout(deadline, tries).await.unwrap_or_else(|_| timed_out());
        match &answer {
            Err(error) if error.is_timeout() => slot.was_silent(),
            _ => slot.answered(),
        }
        answer
    }
}

impl Slot {
    async fn send(&self, command: &Cmd, to: To<'_>) -> RedisResult<Value> {
        let connecting = self.connecting();
        let sent = match connecting.clone().await {
            Ok(connection) => connection.send(command, to).await,
            Err(error) => {
                self.forget(&connecting);
                return Err(error);
            }
        };
        if sent.as_ref().is_err_and(is_lost) && !matches!(self.endpoint, Endpoint::Cluster { .. }) {
            self.forget(&connecting);
        }
        sent.and_then(Value::extract_error)
    }

    fn connecting(&self) -> Connecting {
        let mut current = self.current.lock();
        let connect = || {
            self.answered();
            self.endpoint.clone().connect().boxed().shared()
        };
        current.get_or_insert_with(connect).clone()
    }

    /// The next call connects anew, unless another has done so meanwhile.
    fn forget(&self, connecting: &Connecting) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|now| now.ptr_eq(connecting)) {
            *current = None;
        }
    }

    fn answered(&self) {
        self.heard.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn was_silent(&self) {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        if self.started.elapsed().saturating_sub(heard) >= self.silence {
            *self.current.lock() = None;
        }
    }
}

impl Endpoint {
    fn new(options: &RedisOptions) -> RedisResult<Self> {
        let infos: Vec<ConnectionInfo> = options
            .urls
            .iter()
            .map(|url| {
                let info = url.as_str().into_connection_info()?.set_tcp_settings(tcp(options));
                Ok(match &options.password {
                    Some(password) => {
                        let redis = info.redis_settings().clone().set_password(password);
                        info.set_redis_settings(redis)
                    }
                    None => info,
                })
            })
            .collect::<RedisResult<_>>()?;
        if options.urls.iter().any(|url| url.starts_with("rediss:")) {
            // With two providers built in, rustls asks which; feedkit's is ring. A program may have chosen before.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates =
            options.tls_ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        let limit = options.connect_timeout;
        if options.cluster {
            let mut builder = ClusterClient::builder(infos)
                .tcp_settings(tcp(options))
                .connection_timeout(limit)
                .response_timeout(options.response_timeout)
                .retries(RETRIES as u32)
                .min_retry_wait(10)
                .max_retry_wait(100);
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Endpoint::Cluster { client: builder.build()?, limit });
        }
        let info =
            infos.into_iter().next().ok_or((redis::ErrorKind::InvalidClientConfig, "no URL is given"))?;
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(options.response_timeout))
            .set_pipeline_buffer_size(QUEUE);
        Ok(Endpoint::Single { client, config, limit })
    }

    async fn connect(self) -> RedisResult<Connection> {
        let timed_out = |_| redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        match self {
            Endpoint::Single { client, config, limit } => {
                let connect = client.get_multiplexed_async_connection_with_config(&config);
                let connection = tokio::time::timeout(limit, connect).await.map_err(timed_out)??;
                Ok(Connection::Single(connection))
            }
            Endpoint::Cluster { client, limit } => {
                let connect = client.get_async_connection();
                let connection = tokio::time::timeout(limit, connect).await.map_err(timed_out)??;
                Ok(Connection::Cluster(connection))
            }
        }
    }
}

/// Nagle's algorithm is on by default, and holds small commands back.
fn tcp(options: &RedisOptions) -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(Duration::from_secs(15)))
        .set_user_timeout(Duration::from_secs(15).max(4 * options.response_timeout))
}

impl Connection {
    async fn send(self, command: &Cmd, to: To<'_>) -> RedisResult<Value> {
        match self {
            Connection::Single(mut connection) => connection.req_packed_command(command).await,
            Connection::Cluster(mut connection) => {
                let routing = match to {
                    To::Key(key) => RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(
                        Route::with_key(key, SlotAddr::Master),
                    )),
                    To::Masters => RoutingInfo::MultiNode((
                        MultipleNodeRoutingInfo::AllMasters,
                        Some(ResponsePolicy::Special),
                    )),
                };
                connection.route_command(command.clone(), routing).await
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// An error for a setting that cannot be right.
pub(super) fn misconfigured(message: impl Into<String>) -> Error {
    Error::fatal(message)
}
