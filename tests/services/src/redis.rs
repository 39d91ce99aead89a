use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{FromRedisValue, RedisResult, Value};
use rustix::process::{Pid, Signal, kill_process};

use crate::{free_port, skip};

/// Whether Redis is installed here; says so if not, and fails where everything must run.
pub fn is_redis_installed() -> bool {
    match Command::new("redis-server").arg("--version").stdout(Stdio::null()).status() {
        Ok(_) => true,
        Err(error) => {
            skip(&format!("redis-server cannot be run: {error}"));
            false
        }
    }
}

/// A Redis of a test's own that saves nothing by itself; it starts in a few milliseconds and runs until it is dropped.
#[derive(Debug)]
pub struct RedisServer {
    dir: tempfile::TempDir,
    /// Where it listens on this machine.
    pub port: u16,
    arguments: Vec<String>,
    child: Child,
}

impl RedisServer {
    /// Starts one with more arguments; `None` where Redis is not installed.
    pub async fn start(arguments: &[&str]) -> Option<RedisServer> {
        if !is_redis_installed() {
            return None;
        }
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
        // Another program may take the port before Redis does.
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let port = free_port();
            let child = spawn(dir.path(), port, &arguments);
            let mut server = RedisServer { dir, port, arguments: arguments.clone(), child };
            if server.is_up().await {
                return Some(server);
            }
        }
        panic!("redis-server does not start");
    }

    /// Where it is, as clients are told.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Where it dumps to.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it without a chance to save.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same place, with what its dump holds, if there is one.
    pub async fn start_again(&mut self) {
        self.kill();
        self.child = spawn(self.dir.path(), self.port, &self.arguments);
        assert!(self.is_up().await, "redis-server does not start again");
    }

    /// What a command, given as words, answers.
    pub async fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        self.try_ask(command).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        let mut words = command.split_whitespace();
        let mut cmd = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await
    }

    async fn is_up(&mut self) -> bool {
        for _ in 0..3000 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let pong = self.try_ask::<Value>("PING").await;
            // A server with users answers that it wants one.
            if pong.is_ok() || pong.is_err_and(|error| error.code() == Some("NOAUTH")) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
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
