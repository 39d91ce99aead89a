//! Connections that are opened again when they break.

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

/// How often a call is repeated over a new connection when its connection is lost.
const RETRIES: usize = 2;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(100) };
/// Maximum number of calls in a connection's queue. More callers wait for a place.
const QUEUE: usize = 256;

/// All connections to one Redis, or one cluster.
pub(super) struct Connections {
    slots: Vec<Slot>,
    next: AtomicUsize,
    deadline: Duration,
}

/// The node of a cluster that a command is for. A single Redis takes all commands.
#[derive(Debug, Clone, Copy)]
pub(super) enum To<'a> {
    /// The master that has this key.
    Key(&'a str),
    /// All masters. The answer is a map by address.
    Masters,
}

/// One connection, or the attempt to open it.
struct Slot {
    endpoint: Endpoint,
    current: Mutex<Option<Connecting>>,
    /// When the last answer came, or the connection was opened, in milliseconds after `started`.
    heard: AtomicU64,
    started: Instant,
    /// How long a connection may send no answer while callers wait for one. After that it is
    /// closed. A host that has gone does not say so. A cluster's connection (redis 1.8) can also
    /// lock up while a master fails over, and then never answers again.
    silence: Duration,
}

/// The callers that wait for a connection drive its opening. If all of them give up, the next
/// caller continues it.
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
    /// Does not connect: the first call does.
    pub(super) fn new(options: &RedisOptions) -> Result<Self> {
        options.check()?;
        let endpoint = Endpoint::new(options).map_err(|error| explain("redis", error))?;
        // A cluster's connection contains one connection for each node.
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

    /// Sends a command and waits for its answer, at most for the time in the options.
    pub(super) async fn send(&self, doing: &str, command: Cmd, to: To<'_>) -> Result<Value> {
        self.send_raw(command, to, self.deadline).await.map_err(|error| explain(doing, error))
    }

    /// Sends a command and waits for its answer, at most for `deadline`. The error is that of the
    /// client library.
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

    /// Makes the next call open a new connection, unless another call has opened one in the
    /// meantime.
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
            // If two providers are built in, rustls needs a choice. feedkit uses ring, unless the
            // program has chosen already.
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

/// Turns off Nagle's algorithm, which is on by default and delays small commands.
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

/// The error of an option that cannot be right.
pub(super) fn misconfigured(message: impl Into<String>) -> Error {
    Error::fatal(message)
}
