//! Redis servers of one's own, a proxy that loses replies, and a pipeline to count with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedkit_core::counters::{CounterChunk, chunks};
use feedkit_core::memory::{MemoryHistory, MemoryLog};
use feedkit_core::pipeline::{Backoff, CounterFollower, PipelineHandle};
use feedkit_core::testkit::conformance::support;
use feedkit_core::testkit::{ManualClock, Model, TrafficConfig};
use feedkit_core::trending::Trending;
use feedkit_core::{CounterStore, EventSink, History, JsonCodec, Pipeline, Positions, Result, Timestamp};
use feedkit_store::redis::{Redis, RedisSettings};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far more than anything here takes on a machine at work.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether Redis is installed here; says so if not, and fails where everything must run.
pub fn is_installed() -> bool {
    match Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
        Ok(_) => true,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "redis-server cannot be run: {error}");
            eprintln!("skipped: feedkit-store: redis-server cannot be run: {error}");
            false
        }
    }
}

/// A server of one's own; `return`s from the test where there is none.
macro_rules! server {
    ($($argument:expr),*) => {
        match $crate::redis::support::is_installed() {
            true => $crate::redis::support::Server::start(&[$($argument),*]).await,
            false => return,
        }
    };
}
pub(crate) use server;

/// A private Redis, which ends with its owner.
pub struct Server {
    pub dir: tempfile::TempDir,
    pub port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Server {
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        // Another program may take the port before Redis does.
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let child = spawn(dir.path(), port, &arguments);
            let mut server = Server { dir, port, arguments: arguments.clone(), child };
            if server.is_up().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings::single(self.url()))
    }

    pub async fn redis(&self) -> Redis {
        Redis::connect(self.settings()).await.unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it without a chance to save.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same place.
    pub async fn start_again(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.dir.path(), self.port, &self.arguments);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    async fn is_up(&mut self) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        for _ in 0..3000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await {
                let pong: redis::RedisResult<redis::Value> =
                    redis::cmd("PING").query_async(&mut connection).await;
                // A server with users answers that it wants one.
                if pong.is_ok() || pong.is_err_and(|e| e.code() == Some("NOAUTH")) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// What a command, given as words, answers.
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(dir: &Path, port: u16, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Settings for a machine that may be busy.
pub fn patient(mut settings: RedisSettings) -> RedisSettings {
    settings.response_timeout = Duration::from_secs(30);
    settings.connect_timeout = Duration::from_secs(30);
    settings.rebuild_patience = Duration::ZERO;
    settings
}

/// A key prefix that no other test uses.
pub fn own_prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}-{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The only chunk of an entry of partition 0.
pub fn chunk(from: u64, to: u64, effects: &[(&str, &str, &str)]) -> CounterChunk {
    let mut chunks = chunks(&support::entry(from, to, effects), 17, &Trending::default());
    assert_eq!(chunks.len(), 1);
    chunks.remove(0)
}

/// Waits until `reached` says so, for as long as a broken test may take.
pub async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while tokio::time::Instant::now() < deadline {
        if reached().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never came about: {what}");
}

/// What becomes of the bytes from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    Pass,
    /// The next reply is dropped, and its connection closed.
    Cut,
    /// No reply comes through, but commands do.
    Swallow,
}

/// Stands between a client and a server.
pub struct Proxy {
    pub port: u16,
    replies: Arc<std::sync::Mutex<Replies>>,
    pub cut: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn before(server: &Server) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target: SocketAddr = (Ipv4Addr::LOCALHOST, server.port).into();
        let replies = Arc::new(std::sync::Mutex::new(Replies::Pass));
        let cut = Arc::new(AtomicU64::new(0));
        let (mode, count) = (replies.clone(), cut.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(target).await else { continue };
                connections.spawn(carry(client, server, mode.clone(), count.clone()));
            }
        });
        Proxy { port, replies, cut, task }
    }

    pub fn replies(&self, replies: Replies) {
        *self.replies.lock().unwrap() = replies;
    }

    pub fn settings(&self) -> RedisSettings {
        patient(RedisSettings::single(format!("redis://127.0.0.1:{}/", self.port)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    client: TcpStream,
    server: TcpStream,
    mode: Arc<std::sync::Mutex<Replies>>,
    cut: Arc<AtomicU64>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let commands = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
    let answers = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let read = from_server.read(&mut buffer).await?;
            let now = {
                let mut mode = mode.lock().unwrap();
                let now = *mode;
                if now == Replies::Cut {
                    *mode = Replies::Pass;
                }
                now
            };
            match now {
                _ if read == 0 => return Ok(()),
                Replies::Pass => to_client.write_all(&buffer[..read]).await?,
                Replies::Swallow => {}
                Replies::Cut => {
                    cut.fetch_add(1, Ordering::SeqCst);
                    return Ok::<_, std::io::Error>(());
                }
            }
        }
    };
    tokio::select! {
        _ = commands => {}
        _ = answers => {}
    }
}

/// A log and a history in memory, and traffic for them.
#[derive(Clone)]
pub struct World {
    pub log: MemoryLog,
    pub history: Arc<MemoryHistory>,
    pub clock: ManualClock,
}

/// A pipeline at work.
pub struct Running {
    pub handle: PipelineHandle,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl World {
    pub fn new() -> World {
        let clock = ManualClock::at(Timestamp::from_millis(1_735_689_600_000));
        World { log: MemoryLog::with_max_batch(4, clock.clone(), 50), history: Arc::default(), clock }
    }

    /// Counts into `counters`.
    pub fn start(&self, counters: impl CounterStore) -> Running {
        let history: Arc<dyn History> = self.history.clone();
        let follower = CounterFollower::new("counters", counters, history.clone(), Trending::default());
        let pipeline = Pipeline::builder(self.log.reader("g"), history)
            .follower(follower)
            .clock(self.clock.clone())
            .configure(|config| {
                config.group = "g".to_owned();
                config.max_batch = 100;
                config.backoff =
                    Backoff { first: Duration::from_millis(5), most: Duration::from_millis(100) };
                config.shutdown_deadline = Duration::from_secs(30);
            })
            .build();
        let shutdown = CancellationToken::new();
        Running { handle: pipeline.handle(), task: tokio::spawn(pipeline.run(shutdown.clone())), shutdown }
    }

    pub async fn send(&self, seed: u64, count: u64) {
        println!("traffic of seed {seed}");
        let config = TrafficConfig { seed, count, users: 200, posts: 150, ..Default::default() };
        let items: Vec<_> = config.traffic().collect();
        for some in items.chunks(37) {
            self.clock.set(some[some.len() - 1].time);
            for outcome in self.log.send(some.iter().map(|item| item.record()).collect()).await {
                outcome.unwrap();
            }
            tokio::task::yield_now().await;
        }
    }

    pub fn ends(&self) -> Positions {
        self.log.ends()
    }

    /// What differs from the model.
    pub async fn differences(&self, counters: &dyn CounterStore) -> Result<Vec<String>> {
        let mut model = Model::new(JsonCodec::default(), self.log.incarnation());
        for (partition, _) in self.log.ends().iter() {
            self.log.records(partition).iter().for_each(|record| model.feed(partition, record));
        }
        assert!(model.top().len() > 20, "the traffic is too thin to show anything");
        let now = Timestamp::from_millis(1_735_776_000_000);
        model.compare_counters(counters, &Trending::default(), now).await
    }

    pub async fn check(&self, counters: &dyn CounterStore) {
        assert_eq!(self.differences(counters).await.unwrap(), [] as [String; 0]);
    }

    /// Waits until the counters are the model's.
    pub async fn agrees(&self, counters: &dyn CounterStore) {
        let mut last = Ok(Vec::new());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            last = self.differences(counters).await;
            if last.as_ref().is_ok_and(Vec::is_empty) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the counters never agree with the model: {last:?}");
    }
}

impl Running {
    pub async fn reached(&self, world: &World) {
        tokio::time::timeout(PATIENCE, self.handle.reached(&world.ends())).await.unwrap().unwrap();
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}
