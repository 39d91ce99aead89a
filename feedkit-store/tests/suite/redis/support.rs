//! Redis servers of one's own.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedkit_core::counters::{CounterChunk, chunks};
use feedkit_core::testkit::conformance::support;
use feedkit_core::trending::Trending;
use feedkit_store::redis::{Redis, RedisSettings};
use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes on a machine at work.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
